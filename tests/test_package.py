"""The wheel runs outside the tree, compiled or plain, and brings no package but its own."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLE


def pip(*words: str, python: str = sys.executable, **environment: str) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("compiler", ["cc", "/bin/false"])
def test_the_wheel_runs_in_a_clean_environment(tmp_path: Path, compiler: str) -> None:
    tree = tmp_path / "tree"
    built = shutil.ignore_patterns(
        ".*", "build", "dist", "*.so", "*.c", "*.egg-info", "__pycache__"
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=built)
    pip("wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(tree), CC=compiler)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"paipa_etl"}
    assert any(name.endswith(".so") for name in names) == (compiler == "cc")
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    pip("install", str(wheel), python=str(python))
    command = [str(python.with_name("paipa-etl")), str(SAMPLE), "out.jsonl"]
    words = ("--filter", "lambda r: True", "--debug", "--report", "run.html")
    done = subprocess.run([*command, *words], cwd=tmp_path, check=True, stderr=subprocess.PIPE)
    assert b"what to do: " in done.stderr
    assert "15,000 records read" in (tmp_path / "run.html").read_text(encoding="utf-8")
    assert (tmp_path / "out.jsonl").read_bytes() == gzip.decompress(SAMPLE.read_bytes())
