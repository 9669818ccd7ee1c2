"""The package in tests/thirdparty, made visible as an installed one; and others that are broken."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from conftest import ROOT

SOURCE = ROOT / "tests" / "thirdparty"
NAME = "paipa-etl-example"


def install(folder: Path) -> list[str]:
    """Write the package's metadata into a folder; returns what belongs on ``sys.path``."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    write_metadata(folder, project["name"], project["entry-points"])
    return [str(folder), str(SOURCE)]


def write_metadata(folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """What an installer leaves of a package: its name and its entry points, by group."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]))
