"""Run one job of the store benchmarks: everyone in turn, each run a process of its own."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from contest import SLOW, note
from measure import Cost, parsed, run
from store_jobs import Job, Way

PATIENCE = 900.0  # seconds after which a run is killed


class CannotRunError(Exception):
    """A job for which something is missing."""


@dataclass
class Row:
    """A way's runs at a job, and why there are none if there are none."""

    way: Way
    remark: str = ""
    records: str = "-"
    rounds: int = 0  # how many more runs are to come
    runs: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.way.name

    @property
    def counts(self) -> bool:
        return bool(self.runs) and not self.remark

    def figure(self, name: str) -> float:
        """Give the median over the runs; of memory the largest."""
        if name == "rate":
            return self.runs[0]["amount"] / self.figure("wall")
        figures = [run[name] for run in self.runs]
        return max(figures) if name.startswith("peak") else median(figures)


@dataclass(frozen=True)
class Contest:
    """A job as it is run here; `places` fill the braces of command lines."""

    job: Job
    folder: Path
    places: Mapping[str, str]

    def rows(self, only: list[str], rounds: int) -> list[Row]:
        """Prepare the objects, run everyone once, and then the rounds."""
        wanted = [name.lower() for name in only]
        ways = [
            way
            for way in self.job.ways
            if way.ours or not only or any(name in way.name.lower() for name in wanted)
        ]
        for command in self.job.prepare:
            self.told(command)
        rows = [self.first(way, min(rounds, self.job.rounds)) for way in ways]
        for number in range(max((row.rounds for row in rows), default=0)):
            for row in rows:
                if not row.remark and number < row.rounds:
                    self.another(row)
        return rows

    def first(self, way: Way, rounds: int) -> Row:
        """Run once and look at the output; the run counts only where there is no time for more."""
        row = Row(way, way.missing(dict(self.places)))
        cost = None if row.remark else self.another(row)
        if cost is None or cost.failed:
            return row
        if way.checked:
            row.records = self.told(self.job.check) if self.job.check else "counted"
            row.remark = row.records if row.records.startswith("WRONG") else ""
        slow = cost.wall > SLOW
        row.rounds = rounds - 1 if self.job.rounds == 1 else rounds
        if slow:
            row.rounds = min(row.rounds, (rounds + 1) // 2 - 1)
        elif row.rounds:
            row.runs.clear()
        note(f"{self.job.name}: {way.name}: {cost.wall:.2f} s, {row.records}")
        return row

    def another(self, row: Row) -> Cost:
        """Measure one more run."""
        if self.job.clear:
            self.told(self.job.clear)
        said = self.folder / "said"
        command = row.way.command.replace("{ours}", self.places["ours"])
        cost = run(f"{command} > {{said}}", {**self.places, "said": str(said)},
                   self.folder, PATIENCE)  # fmt: skip
        if cost.failed:
            row.remark = f"FAILED: {cost.failed}"
            note(f"{self.job.name}: {row.name}: {row.remark}\n{cost.said[-600:]}")
            return cost
        row.runs.append(self.figures(row.way, cost, said.read_text()))
        return cost

    def figures(self, way: Way, cost: Cost, said: str) -> dict[str, float]:
        """Give what a run took, or would have taken for the whole of the job's amount."""
        wall, cpu = cost.wall, cost.cpu
        if said.startswith("{"):
            took = json.loads(said)
            times = 1 / way.size
            left = 0 if self.job.inside else 1
            wall = left * (wall - took["seconds"]) + took["seconds"] * times
            cpu = left * (cpu - took["cpu"]) + took["cpu"] * times
            amount = self.job.amount
        else:
            amount = self.job.amount * way.size
        peak = cost.peak
        return {"wall": wall, "cpu": cpu, "peak": peak, "peak MB": peak, "amount": amount}

    def told(self, command: str) -> str:
        """Run a command that is not measured; give the last line that it printed."""
        (words,), _ = parsed(command, self.places)
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
            raise CannotRunError(f"{' '.join(words[1:3])}: {last[0][:300]}")
        return (done.stdout.strip().splitlines() or [""])[-1]
