"""The benchmarks still fit the program. Their figures are not judged here."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT, extension

FOLDER = ROOT / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py"))


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=100, cwd=FOLDER
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmark_can_be_imported(module: str) -> None:
    done = ran("-c", f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_kernel_is_compared_with_its_plain_form() -> None:
    extension("paipa_etl.formats.kernels._scan")
    done = ran("kernel.py", "--rounds", "1")
    assert "is to be dropped" in done.stdout, done.stderr
    for function in ("count_valid", "needs_care", "holds_nan", "is_finite"):
        assert f"| {function} |" in done.stdout


def test_loops_by_hand_are_compared_in_pairs() -> None:
    done = ran("pairs.py", "--pairs", "1", "--records", "300")
    assert done.stdout.count("Against the fastest: work") == 2, done.stderr
