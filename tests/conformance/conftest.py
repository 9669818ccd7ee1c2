"""The example package is installed for the kits: in this process, and in those that they start."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import third_party

from paipa_etl import entry_points
from paipa_etl.entry_points import CODECS, FORMATS, STORES

# While tests are collected: a kit has a test for each entry of a table.
FOLDER = Path(tempfile.mkdtemp(prefix="paipa-etl-kits-"))
PATHS = third_party.install(FOLDER)
sys.path += PATHS
entry_points.forget()
for _group, _name in ((FORMATS, "table"), (CODECS, "zlib-streams"), (STORES, "dir")):
    entry_points.load(_group, _name)


OWNER = os.getpid()


def pytest_unconfigure() -> None:
    """Remove the metadata; a forked child of a test leaves it alone."""
    if os.getpid() == OWNER:
        shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(autouse=True)
def for_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that a test starts find the package, too."""
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*PATHS, *([known] if known else [])]))
