"""Public corpora, where they are there: JSONTestSuite and the test files of xz."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, ROOT

CORPORA = Path(os.environ.get("PAIPA_ETL_CORPORA") or ROOT.parent / "shared" / "corpora")
GROUPS = ["json-.*-jsonl", "json-transform", "json-impl-defined", "codec-xz"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", GROUPS)
def test_every_case_that_tools_agree_on_has_the_same_result(group: str, tmp_path: Path) -> None:
    runner = CORPORA / "run_cases.py"
    if not runner.exists():
        pytest.skip(f"no public corpora in {CORPORA} (PAIPA_ETL_CORPORA names their folder)")
    options = ["--group", group, "--level", "must", "-j", "2"]
    done = subprocess.run(
        [sys.executable, str(runner), "--cmd", " ".join([*COMMAND, "{in}", "{out}"]), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TOTAL" in done.stdout
    assert "0/0" not in done.stdout.splitlines()[1]
