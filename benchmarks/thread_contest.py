"""Run one job of the thread benchmarks: everyone in turn, each run in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import Any

from contest import SLOW, note
from thread_jobs import Job
from thread_peers import CONTESTANTS, OURS, Contestant
from tools import HERE

PATIENCE = 120.0  # seconds after which a run is killed
LONG = 8.0  # seconds from which on a peer is given fewer records
LENGTH = 2.0  # seconds that it takes then
CROWD = 20  # a job that wants so many times the threads someone can have is not for them


@dataclass
class Row:
    """A contestant's runs at a job, and why there are none if there are none."""

    name: str
    peer: bool = False
    ordered: bool = True
    remark: str = ""
    records: int = 0
    rounds: int = 0  # how many runs are to count
    runs: list[dict[str, float]] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        return bool(self.runs) and not self.remark

    def figure(self, name: str) -> float:
        """Give the median over the runs; of memory the largest."""
        figures = [run[name] for run in self.runs]
        return max(figures) if name == "peak MB" else median(figures)


def contested(job: Job, only: list[str], rounds: int) -> list[Row]:
    """Run the first run and the rounds of everyone who takes part; give their rows."""
    wanted = [name.lower() for name in only]
    taking_part = [
        each
        for each in CONTESTANTS
        if not only or each.name == OURS or any(name in each.name.lower() for name in wanted)
    ]
    rows = [warmed(job, contestant, rounds) for contestant in taking_part]
    for number in range(rounds):
        for contestant, row in zip(taking_part, rows, strict=True):
            if not row.remark and number < row.rounds:
                another(job, contestant, row)
    return rows


def warmed(job: Job, contestant: Contestant, rounds: int) -> Row:
    """Run once, look at all results, and see how many records to give later.

    A peer has few records in this run. We and the yardstick have all of them, in every run.
    """
    row = Row(contestant.name, contestant.peer, contestant.ordered, records=job.records)
    most = contestant.most_threads
    if contestant.module and find_spec(contestant.module.partition(".")[0]) is None:
        row.remark = f"missing: {contestant.module}"
    elif most and job.workers > CROWD * most:
        row.remark = f"left out: has {most} threads at most"
    if row.remark:
        return row
    records = job.pilot if contestant.peer else job.records
    said = outcome(job.command(contestant, records, "list"))
    if said["wrong"]:
        row.remark = f"FAILED: {said['wrong']}"
        note(f"{job.name}: {contestant.name}: {row.remark}")
        return row
    took = said["wall"]
    row.rounds = min(rounds, 2) if took > SLOW else rounds
    if contestant.peer and took / records * job.records > LONG:
        row.records = min(job.records, max(records, rounded(LENGTH * records / took)))
    note(f"{job.name}: {contestant.name}: {took:.2f} s for {records:,}")
    return row


def another(job: Job, contestant: Contestant, row: Row) -> None:
    """Measure one more run."""
    said = outcome(job.command(contestant, row.records, "sum"))
    if said["wrong"]:
        row.remark = f"FAILED: {said['wrong']}"
        note(f"{job.name}: {contestant.name}: {row.remark}")
        return
    wall, cpu, peak = said["wall"], said["cpu"], said["peak"]
    row.runs.append({"wall": wall, "cpu": cpu, "peak MB": peak, "rate": row.records / wall})


def waited(job: Job, rounds: int) -> list[Row]:
    """Run a job of thread_waits.py."""
    rows = [Row(name) for name, _ in job.waits]
    for _ in range(rounds):
        for row, (_, argument) in zip(rows, job.waits, strict=True):
            if row.remark:
                continue
            said = outcome(["thread_waits.py", argument])
            if said["wrong"]:
                row.remark = f"FAILED: {said['wrong']}"
            else:
                row.runs.append(said["figures"])
    return rows


def outcome(command: list[str]) -> dict[str, Any]:
    """Run a script of this folder and give what it printed; `wrong` says why it printed nothing."""
    script, *arguments = command
    # In a session of its own, so that what it may have started ends with it.
    child = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, complaints = child.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"wrong": f"killed after {PATIENCE:.0f} s"}
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        last = complaints.strip().splitlines()[-1:] or [f"ended with {child.returncode}"]
        return {"wrong": last[0][:160]}
    said: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return said


def rounded(number: float) -> int:
    """Round to two digits, as a number of records is easier to read so."""
    return int(float(f"{number:.1e}"))
