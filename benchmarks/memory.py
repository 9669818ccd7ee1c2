"""The memory job: our peak on little and on much input, and one record beyond the limit."""

import gzip
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs import Data
from measure import Cost, run

SMALL = 100_000_000
TIMES = 100
GIANT = 1_000_000_000
MOST = 60  # MB, on any input
APART = 3  # MB between little and much input
MOST_REFUSING = 200  # MB, while a giant record is refused
RIGHT = ("whole", "refused")  # how the remark on a right run begins


@dataclass(frozen=True)
class Memory:
    """What the memory job found: label, cost and remark of each run, and the musts not met."""

    runs: list[tuple[str, Cost, str]]
    unmet: list[str]

    def table(self) -> str:
        lines = ["| input | peak MB | wall s | CPU s | |", "|---|---:|---:|---:|---|"]
        for label, cost, remark in self.runs:
            figures = f"{cost.peaks[0]:.1f} | {cost.wall:.1f} | {cost.cpu:.1f}"
            lines.append(f"| {label} | {figures} | {remark} |")
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        runs = [{"input": label, "remark": remark, **asdict(c)} for label, c, remark in self.runs]
        return {"name": "memory", "runs": runs, "unmet": self.unmet}


def memory(data: Data, ours: str) -> Memory:
    """Run the memory job."""
    small = min(SMALL, data.size)
    little = data.file("events", ".gz", small)
    much = repeated(little, data.folder / f"events-{TIMES}x{small}.jsonl.gz")
    bytes_little = data.file("events", ".jsonl", small).stat().st_size
    runs = [
        # Three times, for the peak of a program with threads varies a little.
        *(counted(little, bytes_little, ours, data.folder) for _ in range(3)),
        counted(much, bytes_little * TIMES, ours, data.folder),
        refused(giant(data.folder / "giant.jsonl.gz"), ours, data.folder),
    ]
    return Memory(runs, unmet(runs))


def counted(source: Path, size: int, ours: str, folder: Path) -> tuple[str, Cost, str]:
    """Copy to a pipe, whose end counts the bytes."""
    count = folder / "count"
    cost = run(f"{ours} -q {{source}} - | wc -c > {{out}}", places(source, count), folder)
    whole = count.read_text().strip() == str(size)
    remark = cost.failed or ("whole" if whole else "WRONG: not all of it came out")
    return f"{size / 1e6:,.0f} MB of events, .gz", cost, remark


def refused(source: Path, ours: str, folder: Path) -> tuple[str, Cost, str]:
    """Copy a file of one giant record, which must fail and leave nothing."""
    out = folder / "out.jsonl"
    out.unlink(missing_ok=True)
    cost = run(f"{ours} -q {{source}} {{out}}", places(source, out), folder)
    # A program that was killed has not refused.
    remark = "refused" if cost.codes[0] > 0 else f"WRONG: {cost.failed or 'accepted'}"
    if out.exists():
        remark = "WRONG: output left behind"
    said = cost.said.splitlines()[-1][:160] if cost.said else "without a word"
    return f"one record of {GIANT / 1e6:,.0f} MB, .gz", cost, f"{remark}: {said}"


def unmet(runs: list[tuple[str, Cost, str]]) -> list[str]:
    """Hold the runs against the bounds."""
    *littles, much, giant_run = (cost.peaks[0] for _, cost, _ in runs)
    little = max(littles)
    checks = {
        f"peak at most {MOST} MB on little input (is {little:.1f})": little <= MOST,
        f"peak at most {MOST} MB on much input (is {much:.1f})": much <= MOST,
        f"peaks within {APART} MB ({little:.1f}, {much:.1f})": abs(much - little) <= APART,
        f"peak at most {MOST_REFUSING} MB (is {giant_run:.1f})": giant_run <= MOST_REFUSING,
    }
    wrong = [f"{label}: {remark}" for label, _, remark in runs if not remark.startswith(RIGHT)]
    return [text for text, met in checks.items() if not met] + wrong


def places(source: Path, out: Path) -> dict[str, str]:
    return {"source": str(source), "out": str(out)}


def repeated(source: Path, path: Path) -> Path:
    """Make a gzip file of many members, each of them the source."""
    if not path.exists():
        half = path.with_name(f"half-{path.name}")
        with open(half, "wb") as out:
            for _ in range(TIMES):
                with open(source, "rb") as member:
                    shutil.copyfileobj(member, out, 2**20)
        half.replace(path)
    return path


def giant(path: Path) -> Path:
    """Make a gzip file of one record, a long string."""
    if not path.exists():
        half = path.with_name(f"half-{path.name}")
        piece = b"a long story, " * 71_429
        with gzip.open(half, "wb", compresslevel=1) as out:
            out.write(b'{"text":"')
            for _ in range(GIANT // len(piece) + 1):
                out.write(piece)
            out.write(b'"}\n')
        half.replace(path)
    return path
