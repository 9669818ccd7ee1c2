"""A soak: pipelines of random shape, minute after minute in one process, which must stay as it was.

Each is run, half consumed, closed, dropped, left in a cycle or in a thread that ends, failed or
aborted, while the collector runs often. Now and then all is counted: descriptors, threads and
temporary files must be what they were, memory bounded. Ends with 1 where they are not, where a
result is wrong, or (with the stacks of all threads) where a pipeline hangs.

``make soak``, or ``python tests/soak.py [minutes [seed]]``.
"""

from __future__ import annotations

import asyncio
import collections
import faulthandler
import gc
import itertools
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paipa_etl import Feed, FeedClosed, Pipeline, combine_pipeline, per_worker, read, steps, write

HANG = 60.0  # seconds after which a round, or the end of what was dropped, hangs
ROUNDS = 50  # between two counts
GROWTH = 128 << 20  # bytes that the process may grow by in the second half: the C library's
BLOCKS = 5_000  # blocks of Python's that may be added in the second half
COUNT = 20_000  # records of an input
CODECS = ("", ".gz", ".zst", ".bz2", ".xz", ".lz4")
THRESHOLDS = ((101, 2, 2), (1, 10, 10), (700, 10, 10), (5000, 5, 5))


class Failed(Exception):
    """What a step raises."""


def same(number: int) -> int:
    return number


async def awaited(number: int) -> int:
    await asyncio.sleep(0)
    return number


def passing(records: Any) -> Iterator[Any]:
    yield from records


def pair(number: int) -> list[int]:
    return [number, number]


def using(number: int, *, thing: list[int]) -> int:
    thing.append(number)
    return number


def endless() -> Iterator[int]:
    yield from itertools.count()


class Soak:
    """One process's worth of pipelines; ``done`` counts how each one ended."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.done: collections.Counter[str] = collections.Counter()
        self.peak = self.warm = self.blocks = 0
        self.kept: list[Any] = []
        for codec in CODECS:
            Pipeline(range(COUNT), [], folder / f"in.jsonl{codec}").run()

    # Pipelines of random shape.

    def step(self) -> Any:
        """A step that changes no record; with threads, tasks, or neither."""
        workers = self.random.choice([None, None, 1, 2, 4])
        words: dict[str, Any] = {"workers": workers} if workers else {}
        if workers:
            words["queue"] = self.random.choice([1, 4, 1024])
        chosen = self.random.randrange(7)
        if chosen == 0:
            return steps.map(awaited, **words)
        if chosen == 1:
            return steps.filter(lambda record: True, **words)
        if chosen == 2:
            return steps.parallel(passing, workers=workers or 2)
        if chosen == 3:
            return [steps.batch(3, within=30), steps.flat_map(same)]
        if chosen == 4:
            return passing
        if chosen == 5:
            return steps.map(using, **words)
        return steps.map(same, **words)

    def steps(self) -> list[Any]:
        return [self.step() for _ in range(self.random.randrange(4))]

    def plan(self, *made: Any) -> Pipeline:
        """Numbers from 0 on, from wherever they come."""
        made = (*made, *self.steps())
        asks = any("using" in str(step) for step in Pipeline([], list(made)).steps)
        resources = {"thing": per_worker(list)} if asks else {}
        source: Any = endless
        chosen = self.random.randrange(5)
        if chosen < 3:
            names = self.random.choices(CODECS, k=self.random.choice([1, 1, 2]))
            paths = [self.folder / f"in.jsonl{codec}" for codec in names]
            source = read(*paths, read_ahead=self.random.random() < 0.7)
        elif chosen == 3:
            source = range(self.random.choice([0, 5, COUNT]))
        return Pipeline(source, list(made), resources=resources)

    def flow(self) -> Iterator[Any]:
        plan = self.plan()
        if self.random.random() < 0.2 and not plan.resources:
            inner = steps.threaded(steps.map(same, workers=2))
            return combine_pipeline(plan, [inner, passing])  # type: ignore[no-any-return]
        return iter(plan)

    def some(self) -> Iterator[Any]:
        """One that was begun: what it gives is right so far."""
        flow = self.flow()
        found = list(itertools.islice(flow, self.random.choice([0, 1, 1, 10, 300])))
        assert found == list(range(len(found))), found[:10]
        return flow

    # How they end.

    def whole(self) -> None:
        found = list(self.plan(steps.limit(COUNT)))
        assert found == [*range(len(found))], found[:10]

    def closed(self) -> None:
        self.some().close()  # type: ignore[attr-defined]

    def dropped(self) -> None:
        self.some()

    def in_a_cycle(self) -> None:
        kept: list[Any] = [self.some()]
        kept.append(kept)

    def in_a_cycle_of_a_thread(self) -> None:
        """Several threads start and end beside it: the collector may run in any of them."""
        threads = [threading.Thread(target=self.in_a_cycle) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def kept_by_a_thread_that_ends(self) -> None:
        thread = threading.Thread(target=lambda: self.kept.append(self.some()))
        thread.start()
        thread.join()
        if len(self.kept) > 3:
            self.kept.pop(0)

    def failing(self) -> None:
        bad = self.random.randrange(50)

        def fail(number: int) -> int:
            if number == bad:
                raise Failed(number)
            return number

        step = steps.map(fail, workers=self.random.choice([None, 2]))
        target = self.folder / f"fails.jsonl{self.random.choice(CODECS)}"
        plan = self.plan(step) | steps.limit(COUNT) | write(target)
        try:
            plan.run()
        except Failed:
            assert not target.exists()
        else:
            target.unlink()

    def written(self) -> None:
        target = self.folder / f"out.jsonl{self.random.choice(CODECS)}"
        (self.plan(steps.limit(1000)) | write(target)).run()
        found = list(read(target))
        assert found == list(range(len(found)))
        target.unlink()

    def aborted(self) -> None:
        target = self.folder / f"aborted.jsonl{self.random.choice(CODECS)}"
        plan = self.plan(steps.throttle(per_second=1000)) | write(target)
        run = plan.start()
        time.sleep(self.random.random() / 50)
        run.abort()
        target.unlink(missing_ok=True)

    def fed(self) -> None:
        feed, out = Feed(limit=5), list[int]()
        with Pipeline(feed, steps.map(same, workers=2), out).start():
            feed.put_all(range(50))
        assert out == list(range(50))

    def feed_left(self) -> None:
        """The run that reads it is dropped; whoever puts is told."""
        feed = Feed(limit=5)
        feed.put(0)
        kept: list[Any] = [iter(Pipeline(feed, self.step_without_resource()))]
        assert next(kept[0]) == 0
        kept.append(kept)
        del kept
        while not feed._channel.abandoned:  # another thread may be collecting just now
            gc.collect()
            time.sleep(0.001)
        try:
            feed.put_all(endless())
        except FeedClosed:
            return

    def step_without_resource(self) -> Any:
        return steps.map(same, workers=self.random.choice([None, 2]))

    def in_a_loop(self) -> None:
        async def take() -> None:
            flow = aiter(Pipeline(endless, self.step_without_resource()))
            async for number in flow:
                if number > 100:
                    break
            if self.random.random() < 0.5:
                await flow.aclose()  # type: ignore[attr-defined]

        asyncio.run(take())

    def with_a_target(self) -> None:
        """A generator of the user's that writes, and is dropped in the middle."""

        def writing() -> Iterator[int]:
            with write(self.folder / f"left.jsonl{self.random.choice(CODECS)}") as out:
                for number in endless():
                    out.write(number)
                    yield number

        kept: list[Any] = [writing()]
        next(kept[0])
        kept.append(kept)

    def round(self) -> None:
        ways: list[Callable[[], None]] = [
            self.whole, self.closed, self.dropped, self.in_a_cycle, self.in_a_cycle_of_a_thread,
            self.kept_by_a_thread_that_ends, self.failing, self.written, self.aborted, self.fed,
            self.feed_left, self.in_a_loop, self.with_a_target,
        ]  # fmt: skip
        way = self.random.choice(ways)
        gc.set_threshold(*self.random.choice(THRESHOLDS))
        sys.setswitchinterval(self.random.choice([1e-6, 1e-4, 0.005]))
        faulthandler.dump_traceback_later(HANG, exit=True)
        way()
        faulthandler.cancel_dump_traceback_later()
        self.done[way.__name__] += 1

    # What is counted.

    def settle(self, before: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of what was dropped, and count what is left."""
        self.kept.clear()
        end = time.monotonic() + HANG
        while (now := counted(self.folder)) != before and time.monotonic() < end:
            gc.collect()
            time.sleep(0.01)
        self.peak = max(self.peak, resident())
        return now


def counted(folder: Path) -> dict[str, Any]:
    """What must stay as it is."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "temporary files": [path.name for path in folder.glob(".*.paipa-tmp")],
        "files": sorted(path.name for path in folder.iterdir() if path.name[:2] == "in"),
    }


def settled_blocks(most: int, seconds: float) -> int:
    """The blocks of Python's, once they are fewer than ``most``, or after so many seconds.

    What was dropped is closed by another thread, which may keep records for a moment.
    """
    end = time.monotonic() + seconds
    while True:
        gc.collect()
        blocks = sys.getallocatedblocks()
        if blocks < most or time.monotonic() > end:
            return blocks
        time.sleep(0.05)


def resident() -> int:
    """The bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(seconds: float, seed: int, rounds: int = ROUNDS) -> str:
    """Run for some seconds; raises ``AssertionError`` where something is left over or wrong."""
    failed: list[Any] = []
    threading.excepthook, hook = failed.append, threading.excepthook
    sys.unraisablehook, unraisable = failed.append, sys.unraisablehook
    thresholds, switching = gc.get_threshold(), sys.getswitchinterval()
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as name:
            return _soak(Soak(Path(name), seed), seconds, rounds, failed)
    finally:
        threading.excepthook, sys.unraisablehook = hook, unraisable
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switching)


def _soak(this: Soak, seconds: float, rounds: int, failed: list[Any]) -> str:
    began = told = time.monotonic()
    list(Pipeline([1], steps.map(same, workers=1)))  # the janitor is there
    asyncio.run(asyncio.sleep(0))
    this.closed()
    before = counted(this.folder)
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(rounds):
            this.round()
        now = this.settle(before)
        assert now == before, f"left over: {now}, not {before}"
        if time.monotonic() - told > 60:
            told = time.monotonic()
            blocks = sys.getallocatedblocks()
            print(
                f"{told - began:.0f} s: {this.done.total():,} pipelines, {blocks:,} blocks",
                flush=True,
            )
        assert not failed, "".join(traceback.format_exception(failed[0].exc_value))
        if passed < seconds / 2:
            this.warm, this.blocks = this.peak, settled_blocks(0, 1.0)
            continue
        blocks = settled_blocks(this.blocks + BLOCKS, HANG)
        assert blocks < this.blocks + BLOCKS, f"{blocks:,} blocks, {this.blocks:,} before"
        assert this.peak < this.warm + GROWTH, f"{this.peak:,} bytes, {this.warm:,} before"
    shown = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in this.done.most_common())
    return (
        f"{this.done.total():,} pipelines in {time.monotonic() - began:.0f} s: {shown}; "
        f"{before['descriptors']} descriptors and {len(before['threads'])} threads before and "
        f"after, no temporary file; {this.warm / 1e6:.0f} MB at most in the first half, "
        f"{this.peak / 1e6:.0f} MB in all"
    )


if __name__ == "__main__":
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"soaking for {minutes:g} minutes, seed {seed}", flush=True)
    print(soak(minutes * 60, seed), flush=True)
