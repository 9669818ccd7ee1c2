"""Retries: made in place, exactly as often as asked; used up, the error policy decides."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from paipa_etl import Pipeline, PlanError, steps
from paipa_etl.run import new_run
from paipa_etl.run.clock import Clock
from paipa_etl.threads.stop import Stop

COUNT = 9
RETRIES = 3


class Counted(Clock):
    """A clock whose waits are over at once, and noted."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, seconds: float, stop: Stop) -> None:
        self.waits.append(seconds)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Flaky:
    """A function that fails so often on one record before it succeeds; the calls are counted."""

    def __init__(self, at: int, times: int, error: type[Exception] = ConnectionError) -> None:
        self.at, self.times, self.error = at, times, error
        self.calls: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, n: int) -> int:
        with self._lock:
            self.calls[n] += 1
            fails = n == self.at and self.calls[n] <= self.times
        if fails:
            raise self.error(n)
        return n


def inline(flaky: Flaky, **words: Any) -> Any:
    return steps.map(flaky, **words)


def one(flaky: Flaky, **words: Any) -> Any:
    return steps.map(flaky, workers=1, **words)


def eight(flaky: Flaky, **words: Any) -> Any:
    return steps.map(flaky, workers=8, **words)


def expanding(flaky: Flaky, **words: Any) -> Any:
    return steps.flat_map(lambda n: [flaky(n)], workers=2, **words)


def choosing(flaky: Flaky, **words: Any) -> Any:
    return steps.filter(lambda n: flaky(n) >= 0, workers=2, **words)


def coroutine(flaky: Flaky, **words: Any) -> Any:
    async def call(n: int) -> int:
        return flaky(n)

    return steps.map(call, workers=4, **words)


WAYS = [inline, one, eight, expanding, choosing, coroutine]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("times", range(RETRIES + 2))
@pytest.mark.parametrize("at", [0, COUNT // 2, COUNT - 1])
def test_a_record_is_tried_so_often_and_keeps_its_place(way: Any, times: int, at: int) -> None:
    flaky, clock, out = Flaky(at, times), Counted(), list[int]()
    plan = Pipeline(range(COUNT), [way(flaky, retries=RETRIES, backoff=0.5)], out)
    run = new_run(clock=clock)
    if times > RETRIES:
        with pytest.raises(ConnectionError) as caught:
            plan.run(run)
        assert f"record {at + 1}" in caught.value.__notes__[0]
        assert out == []
    else:
        report = plan.run(run)
        assert out == list(range(COUNT))
        assert report.balanced
        assert report.steps[0].retried == times
    made = min(times, RETRIES)
    assert flaky.calls[at] == made + 1
    assert len(clock.waits) == made
    ideal = [0.5 * 2**n for n in range(made)]
    assert all(
        0.8 * wanted <= wait <= 1.2 * wanted
        for wait, wanted in zip(clock.waits, ideal, strict=True)
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [0, COUNT - 1])
def test_used_up_under_skip_the_record_is_counted(way: Any, at: int) -> None:
    flaky, out = Flaky(at, 100), list[int]()
    plan = Pipeline(range(COUNT), [way(flaky, retries=1)], out, on_error="skip")
    report = plan.run(new_run("skip", clock=Counted()))
    assert out == [n for n in range(COUNT) if n != at]
    assert (report.skipped, report.balanced, flaky.calls[at]) == (1, True, 2)
    assert "ConnectionError" in report.errors[0]


@pytest.mark.parametrize(
    ("wanted", "calls"),
    [
        (ConnectionError, 3),
        (OSError, 3),
        ((KeyError, ConnectionError), 3),
        (KeyError, 1),
        (lambda error: error.args == (0,), 3),
        (lambda error: False, 1),
    ],
)
def test_only_what_is_wanted_is_tried_again(wanted: Any, calls: int) -> None:
    flaky = Flaky(0, 100)
    with pytest.raises(ConnectionError):
        Pipeline([0], [one(flaky, retries=2, retry_on=wanted)]).run(new_run(clock=Counted()))
    assert flaky.calls[0] == calls


def test_a_hook_hears_of_every_attempt_that_another_follows() -> None:
    heard: list[tuple[Exception, int, float]] = []
    flaky, clock = Flaky(0, 2), Counted()
    step = eight(flaky, retries=5, on_retry=lambda *words: heard.append(words))
    Pipeline([0], [step]).run(new_run(clock=clock))
    assert [(type(error), attempt) for error, attempt, _ in heard] == [
        (ConnectionError, 1),
        (ConnectionError, 2),
    ]
    assert [delay for _, _, delay in heard] == clock.waits


@pytest.mark.parametrize("workers", [None, 2])
def test_items_that_come_late_are_tried_again_all_together(workers: int | None) -> None:
    failed: list[int] = []

    def items(n: int) -> Any:
        yield n
        if not failed:
            failed.append(n)
            raise ConnectionError(n)
        yield -n

    async def later(n: int) -> Any:
        return items(n)

    for function in (items, later):
        failed.clear()
        step = steps.flat_map(function, workers=workers, retries=1, backoff=0)
        assert list(Pipeline([1, 2], [step])) == [1, -1, 2, -2]


def test_the_end_of_the_run_ends_the_wait_for_a_retry() -> None:
    waiting = threading.Event()

    def fail(n: int) -> int:
        if n:
            waiting.wait(10)
            raise KeyError(n)
        raise ConnectionError

    step = steps.map(
        fail,
        workers=2,
        retries=1,
        backoff=60,
        retry_on=ConnectionError,
        on_retry=lambda *_: waiting.set(),
    )
    with pytest.raises(KeyError):
        Pipeline([0, 1], [step], []).run()


@pytest.mark.parametrize("words", [{"retries": -1}, {"backoff": -1}, {"retry_on": 3}])
def test_what_cannot_be_is_a_plan_error(words: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        steps.map(str, **words)
