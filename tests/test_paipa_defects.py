"""What goes wrong in paipa 0.3, each defect by its name, does not go wrong here."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from paipa_etl import Feed, Pipeline, per_worker, steps

WORKERS = [1, 4]


@pytest.mark.parametrize("workers", WORKERS)
def test_threads_run_on_todays_python(workers: int) -> None:
    assert list(Pipeline(b"abc".split(), [steps.map(bytes, workers=workers)])) == [b"abc"]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_record_that_fails_too_often_is_not_dropped_with_all_well(workers: int) -> None:
    def fail(n: int) -> int:
        if n == 3:
            raise ConnectionError(n)
        return n

    step = steps.map(fail, workers=workers, retries=2, backoff=0)
    with pytest.raises(ConnectionError):
        Pipeline(range(5), [step], []).run()
    report = Pipeline(range(5), [step], out := [], on_error="skip").run()
    assert out == [0, 1, 2, 4]
    assert (report.skipped, report.steps[0].retried, report.balanced) == (1, 2, True)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_retried_record_is_not_lost_behind_the_end_not_even_the_last(workers: int) -> None:
    calls: Counter[int] = Counter()

    def flaky(n: int) -> int:
        calls[n] += 1
        if calls[n] < 3:
            raise ConnectionError(n)
        return n

    step = steps.map(flaky, workers=workers, retries=2, backoff=0.001)
    assert list(Pipeline(range(20), [step])) == list(range(20))


@pytest.mark.parametrize("workers", WORKERS)
def test_with_swallows_no_failure_of_the_background(workers: int) -> None:
    feed = Feed()
    with (
        pytest.raises(ZeroDivisionError),
        Pipeline(feed, [steps.map(lambda n: 1 // n, workers=workers)]).start(),
    ):
        feed.put(0)


@pytest.mark.parametrize("where", ["inline", "parallel", "between", "behind"])
def test_a_step_that_returns_early_ends_the_run(where: str) -> None:
    def first_three(records: Iterable[int]) -> Iterator[int]:
        yield from itertools.islice(records, 3)

    same = steps.map(lambda n: n, workers=2)
    plans: dict[str, list[Any]] = {
        "inline": [first_three, same],
        "parallel": [steps.parallel(first_three, workers=1)],
        "between": [same, first_three, same],
        "behind": [same, first_three],
    }
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    assert list(Pipeline(endless, plans[where])) == [0, 1, 2]
    assert closed == [True]


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_in_the_set_up_of_a_thread_ends_the_run(workers: int) -> None:
    def no_connection() -> Any:
        raise ConnectionRefusedError

    def use(n: int, *, connection: Any) -> int:
        return n

    plan = Pipeline(
        Feed(),
        [steps.map(use, workers=workers)],
        resources={"connection": per_worker(no_connection)},
    )
    with pytest.raises(ConnectionRefusedError):
        plan.run()


class Alive:
    """Records that know how many of them there are."""

    now = most = 0
    lock = threading.Lock()

    def __init__(self) -> None:
        with Alive.lock:
            Alive.now += 1
            Alive.most = max(Alive.most, Alive.now)

    def __del__(self) -> None:
        with Alive.lock:
            Alive.now -= 1


def test_the_bound_is_hard_however_many_threads_put() -> None:
    Alive.most = 0
    made = (Alive() for _ in range(3000))
    step = steps.map(lambda record: record, workers=8, queue=16)
    tail = 0
    for _ in Pipeline(made, [step, steps.map(lambda record: record, workers=2, queue=8)]):
        tail += 1
        if tail % 500 == 0:
            time.sleep(0.02)
    assert tail == 3000
    # What waits before each step, what waits for the consumer, and one in hand at each place.
    assert Alive.most <= 16 + 8 + 1024 + 8 + 2 + 256 + 4


def test_the_bound_counts_bytes_and_not_entries_only() -> None:
    held = peak = 0
    lock = threading.Lock()

    def load(n: int) -> bytes:
        nonlocal held, peak
        with lock:
            held += 1
            peak = max(peak, held)
        return bytes(1 << 20)

    plan = Pipeline(range(200), [steps.map(load, workers=4)], max_memory=16 << 20)
    for _ in plan:
        with lock:
            held -= 1
        time.sleep(0.0005)
    assert peak < 40


def test_nobody_sleeps_where_a_record_could_go_on() -> None:
    feed = Feed()
    flow = iter(Pipeline(feed, [steps.map(lambda n: n, workers=1)] * 3))
    began = time.monotonic()
    for n in range(500):
        feed.put(n)
        assert next(flow) == n
    feed.finish()
    assert list(flow) == []
    assert time.monotonic() - began < 20  # paipa sleeps 10 to 500 ms at each of these


def test_results_can_be_had_and_are_counted_exactly() -> None:
    plan = [steps.flat_map(lambda n: [n, n], workers=3), steps.filter(lambda n: n % 2, workers=2)]
    report = Pipeline(range(10), plan, out := []).run()
    assert out == [n for n in range(10) for _ in range(2) if n % 2]
    assert (report.read, report.expanded, report.filtered, report.written) == (10, 10, 10, 10)
    assert [(step.records_in, step.records_out) for step in report.steps] == [(10, 20), (20, 10)]
