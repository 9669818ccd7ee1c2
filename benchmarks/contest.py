"""Run one job: everyone in turn, round by round, so that a noisy minute is everyone's."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from check import verdict
from jobs import Data, Job, Row
from measure import Cost, run
from tools import OURS, PLACES, Tool

SLOW = 8.0  # seconds from which on a tool's warm-up counts too, and fewer rounds suffice


@dataclass(frozen=True)
class Contest:
    """A job as it is run here."""

    job: Job
    data: Data
    ours: str  # our command
    rounds: int

    def rows(self, entrants: list[Tool]) -> list[Row]:
        """Run the warm-up and the rounds; give a row for each of the entrants."""
        rows = [self.warmed(tool) for tool in entrants]
        for number in range(self.rounds):
            for i, (tool, row) in enumerate(zip(entrants, rows, strict=True)):
                if row.counts and number < self.rounds_of(row):
                    rows[i] = self.another(tool, row)
        return [summed_up(row) for row in rows]

    def rounds_of(self, row: Row) -> int:
        """Give how often a tool runs after the warm-up; half as often where less depends on it."""
        half = (self.rounds + 1) // 2
        if is_slow(row):
            return half - 1
        return self.rounds if self.job.musts else half

    def warmed(self, tool: Tool) -> Row:
        """Try each way once and keep the quickest of those that give the right records."""
        if missing := tool.missing(self.job.suffix):
            return Row(tool.name, "", f"missing: {', '.join(missing)}")
        tried = [self.tried(tool, way) for way in tool.ways]
        right = [row for row in tried if row.counts]
        return min(right, key=lambda row: row.runs[0].wall) if right else tried[0]

    def tried(self, tool: Tool, way: str) -> Row:
        """Run a way for the first time; a row without runs when it fails or is wrong."""
        cost, size = self.once(tool, way)
        if cost.failed:
            note(f"{self.job.name}: {tool.name} {way}: {cost.failed}\n{cost.said[-500:]}")
            return Row(tool.name, way, f"FAILED: {cost.failed}")
        found = "-"
        if tool.checked:
            plain = self.data.file(self.job.kind, ".jsonl")
            found = verdict(plain, self.out, self.job.step)
        note(f"{self.job.name}: {tool.name} {way}: {cost.wall:.2f} s, {found}")
        return Row(tool.name, way, found, size, () if found.startswith("WRONG") else (cost,))

    def another(self, tool: Tool, row: Row) -> Row:
        """Measure one more run; its output must be as long as that of the first."""
        cost, size = self.once(tool, row.way)
        if cost.failed or size != row.size:
            return replace(row, records=f"FAILED later: {cost.failed or 'other output'}", runs=())
        return replace(row, runs=(*row.runs, cost))

    def once(self, tool: Tool, way: str) -> tuple[Cost, int]:
        """Run a tool once, with no earlier output in its way; give the size of its own too."""
        self.out.unlink(missing_ok=True)
        source = self.data.file(self.job.kind, self.job.suffix)
        command = tool.command(way, self.job.suffix, self.ours)
        places = {**PLACES, "source": str(source), "out": str(self.out)}
        cost = run(command, places, self.data.folder)
        return cost, self.out.stat().st_size if self.out.exists() else 0

    @property
    def out(self) -> Path:
        return self.data.folder / "out.jsonl"


def is_slow(row: Row) -> bool:
    return row.runs[0].wall > SLOW


def summed_up(row: Row) -> Row:
    """Fill in the medians; the warm-up counts only for the slow, on whom a cold start is lost."""
    if not row.counts:
        return row
    runs = row.runs if is_slow(row) else row.runs[1:]
    return replace(
        row,
        runs=runs,
        wall=median(cost.wall for cost in runs),
        cpu=median(cost.cpu for cost in runs),
        peak=max(cost.peak for cost in runs),
    )


def entrants(job: Job, only: list[str], everyone: bool) -> tuple[list[Tool], list[str]]:
    """Give who takes part in a job, and the names of those who are left out as slow."""
    able = [tool for tool in job.tools if job.suffix in tool.suffixes]
    if only:
        wanted = [name.lower() for name in only]
        return [t for t in able if t.name == OURS or any(w in t.name.lower() for w in wanted)], []
    if everyone or job.musts:
        return able, []
    return [t for t in able if not t.slow], [t.name for t in able if t.slow]


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
