"""Ending early: whoever wants no more ends everything, soon, and nothing was read far ahead."""

from __future__ import annotations

import gc
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import Feed, Pipeline, combine_pipeline, steps
from paipa_etl.runners.threaded import _Plan
from paipa_etl.steps.contract import QUEUE

WITHIN = 1.0  # seconds
SPARE = 5  # records in the hands of those who feed, and who pull


class Endless:
    """An endless source that knows how far it was read, and whether it was closed."""

    def __init__(self, of: Callable[[int], Any] = int) -> None:
        self.of, self.read, self.closed = of, 0, threading.Event()

    def __call__(self) -> Iterator[Any]:
        try:
            for n in itertools.count():
                self.read += 1
                yield self.of(n)
        finally:
            self.closed.set()


def up(n: Any) -> Any:
    return n + 1


async def up_later(n: int) -> int:
    return n + 1


def ups(records: Iterator[int]) -> Iterator[int]:
    return (n + 1 for n in records)


STAGES: dict[str, tuple[Callable[[], Any], int]] = {
    "one worker": (lambda: steps.map(up, workers=1, queue=2), 2),
    "many": (lambda: steps.map(up, workers=4, queue=8), 8),
    "no order": (lambda: steps.map(up, workers=4, queue=8, ordered=False), 8),
    "tasks": (lambda: steps.map(up_later, workers=4, queue=8), 8),
    "generators": (lambda: steps.parallel(ups, workers=4, queue=8), 8),
    "two stages": (
        lambda: [steps.map(up, workers=2, queue=4), steps.map(up, workers=2, queue=3)],
        7,
    ),
    "a chain between": (
        lambda: [steps.map(up, workers=2, queue=4), ups, steps.map(up, workers=2, queue=3)],
        7 + QUEUE,
    ),
}
stages = pytest.mark.parametrize("stage", STAGES)


@contextmanager
def soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < WITHIN


def check(source: Endless, stage: str, wanted: int) -> None:
    """It was closed, and read no further than all hand-overs hold together."""
    assert source.closed.wait(WITHIN)
    assert wanted <= source.read <= wanted + STAGES[stage][1] + QUEUE + SPARE


@stages
def test_a_limit_ends_an_endless_source(stage: str) -> None:
    source = Endless()
    with soon():
        report = Pipeline(source, [STAGES[stage][0](), steps.limit(20)], out := []).run()
    assert len(out) == 20
    assert report.balanced
    assert report.read == source.read
    check(source, stage, 20)


@stages
def test_a_limit_between_two_stages_lets_pass_what_it_let_pass(stage: str) -> None:
    source = Endless()
    made = [STAGES[stage][0](), steps.limit(20), steps.map(up, workers=3, queue=2)]
    with soon():
        report = Pipeline(source, made, out := []).run()
    assert len(out) == 20
    assert report.balanced
    check(source, stage, 20)


def leave(records: Any) -> None:
    for _ in zip(range(20), records, strict=False):
        pass


def break_off(records: Any) -> None:
    for seen, _ in enumerate(records, 1):
        if seen == 20:
            break


def close(records: Any) -> None:
    leave(records)
    records.close()


def throw(records: Any) -> None:
    leave(records)
    with pytest.raises(ZeroDivisionError):
        records.throw(ZeroDivisionError())


@stages
@pytest.mark.parametrize("end", [leave, break_off, close, throw])
def test_a_consumer_that_wants_no_more_ends_it(stage: str, end: Callable[[Any], None]) -> None:
    source = Endless()
    with soon():
        end(iter(Pipeline(source, STAGES[stage][0]())))
        check(source, stage, 20)


@pytest.mark.parametrize("stage", ["many", "tasks"])
def test_threads_among_generators_end_with_them(stage: str) -> None:
    source = Endless()
    with soon():
        flow = combine_pipeline(source, [steps.threaded(STAGES[stage][0]()), ups])()
        assert list(itertools.islice(flow, 20)) == list(range(2, 22))
        flow.close()
        check(source, stage, 20)


def drop_in_a_cycle(source: Endless, made: Any) -> None:
    """Pull some records, and forget the iterator in a way that only the collector sees."""
    records = iter(Pipeline(source, made))
    assert len(list(itertools.islice(records, 20))) == 20
    cycle: list[Any] = [records]
    cycle.append(cycle)


@stages
def test_an_iterator_that_is_forgotten_in_a_cycle_is_ended_by_the_collector(stage: str) -> None:
    source = Endless()
    drop_in_a_cycle(source, STAGES[stage][0]())
    with soon():
        gc.collect()
        check(source, stage, 20)


@stages
def test_the_collector_may_run_in_a_worker_of_another_run(stage: str) -> None:
    source = Endless()
    drop_in_a_cycle(source, STAGES[stage][0]())

    def collect(n: int) -> int:
        gc.collect()
        return n

    with soon():
        assert len(list(Pipeline(range(8), steps.map(collect, workers=2)))) == 8
        check(source, stage, 20)


def test_the_collector_may_run_in_a_worker_of_the_run_that_it_ends() -> None:
    source, dropped = Endless(), threading.Event()

    def collect(n: int) -> int:
        if dropped.is_set():
            gc.collect()
        return n

    drop_in_a_cycle(source, [steps.map(collect, workers=2, queue=2)])
    dropped.set()
    gc.collect()  # its workers wait for room, and are all woken
    assert source.closed.wait(WITHIN)


def test_runs_end_well_while_the_collector_runs_all_the_time() -> None:
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(5):
            source = Endless()
            drop_in_a_cycle(source, STAGES["many"][0]())
            found = list(Pipeline(range(100), [STAGES["two stages"][0]()]))
            assert found == list(range(2, 102))
            assert source.closed.wait(WITHIN)
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("made", [Feed, queue.Queue])
def test_a_limit_ends_a_live_source_that_is_silent(made: Callable[[], Any]) -> None:
    live = made()
    live.put(1)
    live.put(2)
    with soon():
        assert list(Pipeline(live, [steps.map(up, workers=4), steps.limit(2)])) == [2, 3]


def test_a_source_that_ends_while_workers_sleep() -> None:
    for count in range(6):
        with soon():
            assert list(Pipeline(iter(range(count)), steps.map(up, workers=8))) == list(
                range(1, count + 1)
            )


def test_stopping_publishes_what_was_read(tmp_path: Path) -> None:
    source, target = Endless(), tmp_path / "out.jsonl"
    with Pipeline(source, [STAGES["many"][0]()], target).start() as run:
        while not source.read:
            time.sleep(0.001)
        with soon():
            run.stop()
            report = run.wait()
    assert source.closed.is_set()
    assert report.balanced
    lines = target.read_text().split()
    assert lines == [str(n) for n in range(1, report.read + 1)]


def test_an_exception_in_the_block_aborts(tmp_path: Path) -> None:
    source, target = Endless(), tmp_path / "out.jsonl"
    target.write_text("before")
    error = KeyError("mine")
    with (
        soon(),
        pytest.raises(KeyError) as caught,
        Pipeline(source, [STAGES["many"][0]()], target).start(),
    ):
        raise error
    assert caught.value is error
    assert target.read_text() == "before"
    assert source.closed.is_set() or not source.read


@stages
@pytest.mark.parametrize("size", [0, 50_000])
def test_behind_a_slow_consumer_no_more_waits_than_the_bounds_say(stage: str, size: int) -> None:
    budget = 3 << 20
    source = Endless(lambda n: b"x" * size) if size else Endless()
    made = [steps.map(lambda r: r, workers=2, queue=4), steps.tap(len, workers=2, queue=4)]
    step = made if size else STAGES[stage][0]()
    pipeline = Pipeline(source, step, max_memory=budget)
    run = pipeline.new_run()
    _, made_steps = pipeline._core(run)  # which shares the memory out
    plan = _Plan(pipeline.source, made_steps, run, raw=False, at_once=False)
    flow = plan.records()
    for seen, _ in enumerate(itertools.islice(flow, 50), 1):
        time.sleep(0.002)
        ahead = source.read - seen
        assert ahead <= sum(channel._max_items for channel in plan.group.channels) + SPARE
        assert (ahead - SPARE) * size <= budget
    flow.close()
    for channel in plan.group.channels:
        said = channel.statistics()
        assert said.handed >= 50
        assert said.peak_items <= channel._max_items
        assert said.peak_bytes <= channel._max_bytes
    assert sum(channel._max_bytes for channel in plan.group.channels) <= budget


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_behind_a_satisfied_limit_is_told_and_not_raised(workers: int) -> None:
    failed = threading.Event()
    error = ZeroDivisionError("too far")

    def fail(n: int) -> int:
        if n == 3:
            failed.set()
            raise error
        return n

    def until_failed(n: int) -> None:
        assert failed.wait(10)
        time.sleep(0.05)  # for the worker to have told of it

    made = [steps.map(fail, workers=workers), steps.limit(3), steps.tap(until_failed)]
    plan = Pipeline(range(100), made, out := [])
    run = plan.new_run()
    report = plan.run(run)
    assert out == [0, 1, 2]
    assert run.failures.all == [error]
    assert len(report.errors) == 1
    assert report.balanced
    assert list(Pipeline(range(100), made)) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError) as caught:
        list(Pipeline(range(100), made[:1]))
    assert caught.value is error
