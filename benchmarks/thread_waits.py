"""Time how long a threaded pipeline lets its caller wait, in this process; prints JSON.

    python benchmarks/thread_waits.py latency|latency_by_hand|end

`latency` sends records one at a time through idle stages; `end` ends pipelines whose workers all
wait, in three ways. Each figure is the median, in milliseconds.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

from thread_peers import paipa_etl, work
from thread_run import add_one, threads_kept, threads_left

TRIPS = 1000
ENDS = 20  # of each kind
STEPS, WORKERS = 3, 8
IDLE = 0.02  # seconds after which workers that have nothing to do have settled
POISON = -10  # still below zero after the first step


def main() -> None:
    figures = {"latency": latency, "latency_by_hand": latency_by_hand, "end": ends}
    seconds = figures[sys.argv[1]]()
    found = {name: median(times) * 1000 for name, times in seconds.items()}
    print(json.dumps({"figures": found, "wrong": ""}))


def latency() -> dict[str, list[float]]:
    from paipa_etl import Feed, Pipeline

    feed = Feed()
    results = iter(Pipeline(feed, stages(add_one, workers=1)))
    times = trips(feed.put, lambda: next(results))
    feed.finish()
    list(results)
    return {"median ms": times}


def latency_by_hand() -> dict[str, list[float]]:
    queues: list[queue.Queue[Any]] = [queue.Queue() for _ in range(STEPS + 1)]
    for came, goes in pairwise(queues):
        threading.Thread(target=work, args=(add_one, came, goes), daemon=True).start()
    return {"median ms": trips(queues[0].put, queues[-1].get)}


def trips(put: Callable[[int], object], get: Callable[[], int]) -> list[float]:
    """Send records through one at a time; the first, which may have to start threads, is extra."""
    times = []
    for record in range(TRIPS + 1):
        began = time.perf_counter()
        put(record)
        result = get()
        times.append(time.perf_counter() - began)
        if result != record + STEPS:
            raise SystemExit(f"{record} came out as {result}")
    return times[1:]


def ends() -> dict[str, list[float]]:
    sum(paipa_etl(add_one, 1, 1, range(3)))
    kept = threads_kept()
    ways = {"end ms": at_the_end, "error ms": on_error, "interrupt ms": on_interrupt}
    return {name: [way(kept) for _ in range(ENDS)] for name, way in ways.items()}


def at_the_end(kept: int) -> float:
    """Seconds from the end of the source to the end of the last thread."""
    feed, results = idle_pipeline(add_one)
    began = time.perf_counter()
    feed.finish()
    settle(kept, results)
    return time.perf_counter() - began


def on_error(kept: int) -> float:
    """Seconds from an error in the middle step to the end of the last thread, source included."""
    raised = []

    def poisoned(record: int) -> int:
        if record < 0:
            raised.append(time.perf_counter())
            raise ValueError(record)
        return record + 1

    feed, results = idle_pipeline(poisoned)
    feed.put(POISON)
    try:
        next(results)
    except ValueError:
        settle(kept, results)
        return time.perf_counter() - raised[0]
    raise SystemExit("the error was lost")


def on_interrupt(kept: int) -> float:
    """Seconds from the signal that Ctrl-C sends to the end of the last thread."""
    from paipa_etl import Feed, Pipeline

    sent = []

    def interrupt() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(IDLE, interrupt)
    timer.start()
    try:
        Pipeline(Feed(), stages(add_one), sink=[]).run()
    except KeyboardInterrupt:
        timer.join()
        settle(kept)
        return time.perf_counter() - sent[0]
    raise SystemExit("the interrupt was lost")


def idle_pipeline(middle: Callable[[int], int]) -> tuple[Any, Iterator[int]]:
    """Give a feed and the results of its pipeline, all of whose workers have worked and wait."""
    from paipa_etl import Feed, Pipeline

    feed = Feed()
    results = iter(Pipeline(feed, stages(add_one, middle)))
    records = range(STEPS * WORKERS)
    feed.put_all(records)
    for record in records:
        if (result := next(results)) != record + STEPS:
            raise SystemExit(f"{record} came out as {result}")
    time.sleep(IDLE)
    return feed, results


def stages(
    function: Callable[[int], int],
    middle: Callable[[int], int] | None = None,
    workers: int = WORKERS,
) -> list[Any]:
    from paipa_etl import steps

    functions = (function, middle or function, function)
    return [steps.map(each, workers=workers) for each in functions]


def settle(kept: int, results: Iterable[int] = ()) -> None:
    """See to it that nothing more comes out and that all threads have ended, but those kept."""
    if extra := list(results):
        raise SystemExit(f"unexpected: {extra[:3]}")
    if left := threads_left(kept):
        raise SystemExit(f"{left} threads left")


if __name__ == "__main__":
    main()
