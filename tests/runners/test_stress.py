"""Threads switched as often as can be: many small runs, each with its right result."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from paipa_etl import Feed, FeedClosed, Pipeline, Skip, steps

GUARD = 60  # seconds after which something hangs


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """The interpreter switches threads a thousand times as often as it usually does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector runs wherever it can."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


class Made:
    """A random plan over the numbers from 0, and what has to come out of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = self.random.randrange(60)
        self.expected = list(range(self.count))
        self.steps: list[Any] = []
        self.ordered = True
        for _ in range(self.random.randint(1, 3)):
            self.random.choice([self.add_one, self.odd_ones, self.twice, self.skipping])()
        self.steps.append(steps.map(abs, **self.workers()))

    def workers(self) -> dict[str, Any]:
        ordered = self.random.random() < 0.7
        self.ordered &= ordered
        workers, queue = self.random.randint(1, 4), self.random.choice([1, 2, 8, 1024])
        return {"workers": workers, "ordered": ordered, "queue": queue}

    def add_one(self) -> None:
        async def added(number: int) -> int:
            await asyncio.sleep(0)
            return number + 1

        function = self.random.choice([added, lambda number: number + 1])
        self.steps.append(steps.map(function, **self.workers()))
        self.expected = [number + 1 for number in self.expected]

    def odd_ones(self) -> None:
        self.steps.append(steps.filter(lambda number: number % 2, **self.workers()))
        self.expected = [number for number in self.expected if number % 2]

    def twice(self) -> None:
        self.steps.append(steps.flat_map(lambda number: [number, -number], **self.workers()))
        self.expected = [item for number in self.expected for item in (number, -number)]

    def skipping(self) -> None:
        def no_fives(number: int) -> int:
            if number % 5 == 0:
                raise Skip
            return number

        self.steps.append(steps.map(no_fives, **self.workers()))
        self.expected = [number for number in self.expected if number % 5]

    def check(self, found: list[int], limit: int | None = None) -> None:
        whole = [abs(number) for number in self.expected]
        if limit is not None:
            assert len(found) == min(limit, len(whole))
        if self.ordered:
            assert found == whole[:limit]
        elif limit is None:
            assert sorted(found) == sorted(whole)
        else:
            left = list(whole)
            for number in found:
                left.remove(number)  # each at most as often as it is there


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_whole_runs(first: int) -> None:
    for seed in range(first, first + 20):
        made, out = Made(seed), list[int]()
        report = Pipeline(range(made.count), made.steps, out).run()
        made.check(out)
        assert report.balanced, seed


@pytest.mark.parametrize("first", range(1000, 1040, 20))
def test_early_stops(first: int) -> None:
    for seed in range(first, first + 20):
        made = Made(seed)
        limit = made.random.randint(1, 20)
        if made.random.random() < 0.5:
            found = list(Pipeline(range(made.count), [*made.steps, steps.limit(limit)]))
        else:
            records = iter(Pipeline(range(made.count), made.steps))
            found = list(itertools.islice(records, limit))
            records.close()  # type: ignore[attr-defined]
        made.check(found, limit)


@pytest.mark.parametrize("first", range(2000, 2040, 20))
def test_failures(first: int) -> None:
    for seed in range(first, first + 20):
        made, out = Made(seed), list[int]()
        bad = made.random.randrange(made.count + 1)

        def fail(number: int, bad: int = bad) -> int:
            if number == bad:
                raise KeyError(number)
            return number

        plan = Pipeline(range(made.count), [steps.map(fail, workers=2), *made.steps], out)
        if bad < made.count:
            with pytest.raises(KeyError, match=str(bad)):
                plan.run()
            assert out == []
        else:
            plan.run()
            made.check(out)


@pytest.mark.parametrize("first", range(3000, 3040, 20))
def test_feeds(first: int) -> None:
    for seed in range(first, first + 20):
        made, out = Made(seed), list[int]()
        feed = Feed(limit=made.random.randint(1, 10))
        if made.random.random() < 0.5:
            with Pipeline(feed, made.steps, out).start():
                feed.put_all(range(made.count))
            made.check(out)
        else:
            stopped_early(feed, made)


def stopped_early(feed: Feed, made: Made) -> None:
    """Several threads put without end, until the run that reads has had enough."""
    ended = threading.Semaphore(0)

    def give() -> None:
        try:
            feed.put_all(itertools.count(1))
        except FeedClosed:
            ended.release()

    givers = [threading.Thread(target=give) for _ in range(3)]
    for giver in givers:
        giver.start()
    assert len(list(Pipeline(feed, [*made.steps, steps.limit(5)]))) == 5
    assert all(ended.acquire(timeout=GUARD) for _ in givers)
    for giver in givers:
        giver.join(GUARD)


# What records do when they are dropped.


class Runs:
    """A record that runs a small pipeline with threads when it is dropped."""

    results: list[list[int]] = []  # noqa: RUF012 - shared on purpose

    def __del__(self) -> None:
        self.results.append(list(Pipeline(range(3), steps.map(abs, workers=1))))


class Logs:
    """A record that logs when it is dropped; in a cycle, so the collector drops it."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        logging.getLogger("dropped").warning("dropped")


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("limit", [3, 100])
def test_records_that_run_a_pipeline_when_they_are_dropped(limit: int) -> None:
    Runs.results.clear()
    source = (Runs() for _ in range(20))
    plan = [steps.filter(lambda record: False, workers=2), steps.limit(limit)]
    assert list(Pipeline(source, plan)) == []
    assert Runs.results == [[0, 1, 2]] * 20


@pytest.mark.usefixtures("collecting")
def test_records_dropped_from_queues_run_a_pipeline() -> None:
    Runs.results.clear()
    source = (Runs() for _ in range(30))
    plan = [steps.map(lambda record: record, workers=2), steps.limit(1)]
    found = list(Pipeline(source, plan))
    del found
    source.close()
    gc.collect()
    assert Runs.results
    assert all(result == [0, 1, 2] for result in Runs.results)


@pytest.mark.usefixtures("collecting")
def test_records_that_log_when_they_are_collected(caplog: pytest.LogCaptureFixture) -> None:
    source = (Logs() for _ in range(50))
    assert len(list(Pipeline(source, steps.map(id, workers=3)))) == 50
    gc.collect()
    assert len(caplog.records) == 50
