"""Run one contestant once, in this process, and print what that took as JSON.

    python benchmarks/thread_run.py CONTESTANT WAIT STEPS WORKERS RECORDS sum|list

A step waits for so many seconds, or adds one where that is 0. `list` keeps the results and looks at
each of them; `sum` adds them up. The clock starts with the making of the pipeline, after imports
and three records, and stops when all threads have ended, but those that outlived the three records:
one that is there once for the process is no run's.
"""

import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from thread_peers import CONTESTANTS, Function

PATIENCE = 10.0  # seconds that threads have to end after the last record


def main() -> None:
    name, wait, *numbers, how = sys.argv[1:]
    steps, workers, records = map(int, numbers)
    contestant = next(each for each in CONTESTANTS if each.key == name)
    function = waiting(float(wait)) if float(wait) else add_one
    take = {"sum": sum, "list": list}[how]
    sum(contestant.run(add_one, 1, 1, range(3)))
    kept = threads_kept()
    began, cpu_began = time.perf_counter(), time.process_time()
    results = take(contestant.run(function, steps, workers, range(records)))
    left = threads_left(kept)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    added = 0 if float(wait) else steps
    wrong = wrong_in(results, range(added, records + added), contestant.ordered or workers == 1)
    if left:
        wrong = f"{left} threads left"
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak(), "wrong": wrong}))


def add_one(record: int) -> int:
    return record + 1


def waiting(seconds: float) -> Function:
    sleep = time.sleep

    def wait(record: Any) -> Any:
        sleep(seconds)
        return record

    return wait


def wrong_in(results: Any, expected: range, ordered: bool) -> str:
    """Say what is wrong with the results, or with their sum; nothing if they are right."""
    if isinstance(results, int):
        return "" if results == sum(expected) else "not the right sum"
    if sorted(results) != list(expected):
        return f"not the right records ({len(results):,} of {len(expected):,})"
    return "out of order" if ordered and results != list(expected) else ""


def threads_kept() -> int:
    """Wait a little for the threads of a first run; give how many there are then."""
    return 1 + threads_left(1, patience=0.2)


def threads_left(kept: int, patience: float = PATIENCE) -> int:
    """Wait until there are no more threads than are kept; give how many more do not end."""
    until = time.perf_counter() + patience
    while threading.active_count() > kept and time.perf_counter() < until:
        time.sleep(0.0005)
    return threading.active_count() - kept


def peak() -> float:
    """Give the largest resident size of this process, in MB.

    ru_maxrss starts at the size of the process that started this one, so it only stands in where
    there is no /proc.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    main()
