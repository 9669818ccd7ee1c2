"""Time: batches that are passed on by size, age or bytes, and an even pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from paipa_etl import Feed, Pipeline, PlanError, combine_pipeline, steps
from paipa_etl.run import new_run
from paipa_etl.run.clock import Clock
from paipa_etl.threads.stop import Stop


class Hand(Clock):
    """A clock that is moved by hand, and by its waits."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float, stop: Stop) -> None:
        self.waits.append(seconds)
        self.time += seconds


def test_a_batch_is_full_by_size_or_at_the_end() -> None:
    for words in ({}, {"within": 60.0}, {"max_bytes": 10**9}):
        made = steps.batch(3, **words)  # type: ignore[arg-type]
        assert list(Pipeline(range(8), [made])) == [[0, 1, 2], [3, 4, 5], [6, 7]]
        assert list(combine_pipeline(range(8), [made])) == [[0, 1, 2], [3, 4, 5], [6, 7]]
        assert list(combine_pipeline([], [made])) == []
    report = Pipeline(range(8), [steps.batch(3, within=60)]).run()
    assert (report.written, report.folded, report.balanced) == (3, 5, True)


def test_a_batch_is_full_by_bytes_unless_it_is_one_record() -> None:
    records = [b"x" * 4, b"x" * 4, b"x" * 4, b"x" * 20, "é" * 4, {"a": b"x" * 9}]
    made = list(Pipeline(records, [steps.batch(100, max_bytes=10)]))
    assert [len(batch) for batch in made] == [2, 1, 1, 1, 1]
    assert [record for batch in made for record in batch] == records


@pytest.mark.parametrize("before", [[], [steps.map(lambda n: n)], [steps.map(int, workers=2)]])
def test_a_batch_is_passed_on_while_the_source_is_silent(before: list[Any]) -> None:
    feed = Feed()
    flow = iter(Pipeline(feed, [*before, steps.batch(100, within=0.05), steps.map(list)]))
    feed.put(1)
    feed.put(2)
    got = next(flow)
    got += [] if len(got) == 2 else next(flow)  # the time may be up between the two
    assert got == [1, 2]
    feed.put(3)
    assert next(flow) == [3]
    feed.finish()
    assert list(flow) == []


def test_inline_the_time_is_looked_at_when_a_record_comes() -> None:
    clock = Hand()

    def source() -> Iterator[int]:
        for n, moment in enumerate([0, 1, 2, 5, 6, 30]):
            clock.time = moment
            yield n

    run = new_run(clock=clock)
    step = steps.batch(100, within=3)
    flow = step.bind(run, run.counts.add_step("batch"))(source())
    assert list(flow) == [[0, 1, 2, 3], [4, 5]]


def test_a_pace_is_even_and_lost_time_is_not_made_up_for() -> None:
    clock = Hand()
    run = new_run(clock=clock)
    flow = steps.throttle(per_second=4).bind(run, run.counts.add_step("throttle"))(iter(range(6)))
    moments = []
    for n in flow:
        moments.append(clock.time)
        if n == 2:
            clock.time += 10  # whoever takes them is slow
    assert moments == [0, 0.25, 0.5, 10.5, 10.75, 11.0]


def test_a_throttled_file_keeps_its_very_bytes(tmp_path: Any) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'{"a": 1.0}\n{"a":  2}\n')
    for made in ([steps.throttle(per_second=1e6)], [steps.filter(bool, workers=2)]):
        Pipeline(source, [*made, steps.throttle(per_second=1e6)], target).run()
        assert target.read_bytes() == source.read_bytes()


def test_the_end_of_a_run_ends_the_wait_for_the_next_record() -> None:
    begun = threading.Event()

    def fail(n: int) -> int:
        begun.wait(10)
        raise KeyError(n)

    def source() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    began = time.monotonic()
    plan = [steps.throttle(per_second=0.01), steps.map(fail, workers=1)]
    with pytest.raises(KeyError):
        Pipeline(source, plan, []).run()
    assert time.monotonic() - began < 50


@pytest.mark.parametrize(
    "made",
    [
        lambda: steps.batch(3, within=0),
        lambda: steps.batch(3, max_bytes=-1),
        lambda: steps.batch(0),
        lambda: steps.throttle(per_second=0),
        lambda: steps.map(str, workers=0),
        lambda: steps.map(str, workers=True),
        lambda: steps.map(str, workers=2, queue=0),
        lambda: steps.map("str"),  # type: ignore[arg-type]
        lambda: steps.parallel(steps.map(str), workers=2),
    ],
)
def test_what_cannot_be_is_a_plan_error(made: Any) -> None:
    with pytest.raises(PlanError):
        made()
