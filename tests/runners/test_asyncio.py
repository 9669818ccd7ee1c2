"""asyncio: coroutine functions are steps, and an event loop is never held up."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import Pipeline, Skip, steps
from paipa_etl.threads.event_loop import EventLoop
from paipa_etl.threads.stop import Stopped

SOON = 20  # seconds: a hang guard


async def double(n: int) -> int:
    await asyncio.sleep(0)
    return n * 2


async def odd(n: int) -> bool:
    return n % 2 == 1


async def twice(n: int) -> list[int]:
    return [n, n]


VERBS = [
    (steps.map, double, [0, 2, 4, 6]),
    (steps.filter, odd, [1, 3]),
    (steps.tap, double, [0, 1, 2, 3]),
    (steps.flat_map, twice, [0, 0, 1, 1, 2, 2, 3, 3]),
]


@pytest.mark.parametrize(("verb", "function", "expected"), VERBS)
@pytest.mark.parametrize("workers", [None, 1, 50])
def test_every_verb_takes_a_coroutine_function(
    verb: Any, function: Any, expected: list[int], workers: int | None
) -> None:
    report = Pipeline(range(4), [verb(function, workers=workers)], out := []).run()
    assert out == expected
    assert report.balanced
    assert list(Pipeline(range(4), [verb(function, workers=workers)])) == expected
    assert list(verb(function)(range(4))) == expected


def test_so_many_are_under_way_at_once_in_one_thread() -> None:
    threads = set()

    async def main_of(n: int, *, meeting: list[Any]) -> int:
        threads.add(threading.get_ident())
        meeting.append(n)
        while len(meeting) < 50:
            await asyncio.sleep(0.001)
        return n

    plan = [steps.map(main_of, workers=50)]
    assert list(Pipeline(range(50), plan, resources={"meeting": []})) == list(range(50))
    assert len(threads) == 1


def test_order_is_kept_or_given_up() -> None:
    async def late(n: int) -> int:
        await asyncio.sleep(0.05 if n == 0 else 0)
        return n

    assert list(Pipeline(range(30), [steps.map(late, workers=30)])) == list(range(30))
    done = list(Pipeline(range(30), [steps.map(late, workers=30, ordered=False)]))
    assert sorted(done) == list(range(30))
    assert done[-1] == 0


@pytest.mark.parametrize("workers", [None, 8])
@pytest.mark.parametrize("error", [KeyError, StopIteration, SystemExit])
def test_a_failure_is_raised_as_itself(workers: int | None, error: type[BaseException]) -> None:
    async def fail(n: int) -> int:
        if n == 5:
            raise error(n)
        return n

    expected = RuntimeError if error is StopIteration else error
    with pytest.raises(expected):
        Pipeline(range(9), [steps.map(fail, workers=workers)], []).run()


@pytest.mark.parametrize("workers", [None, 8])
def test_skip_and_the_policy_decide(workers: int | None) -> None:
    async def choose(n: int) -> int:
        if n == 1:
            raise Skip
        if n == 2:
            raise KeyError(n)
        return n

    plan = Pipeline(range(4), [steps.map(choose, workers=workers)], out := [], on_error="skip")
    report = plan.run()
    assert out == [0, 3]
    assert (report.filtered, report.skipped, report.balanced) == (1, 1, True)


def test_an_early_end_cancels_what_is_awaited_for_ever() -> None:
    cancelled: list[int] = []

    async def wait(n: int) -> int:
        if n < 3:
            return n
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise
        return n

    plan = [steps.map(wait, workers=10), steps.limit(3)]
    assert list(Pipeline(range(10), plan)) == [0, 1, 2]
    assert cancelled


def test_many_small_runs_in_a_loop_leave_it_ticking() -> None:
    def slow(n: int) -> int:
        threading.Event().wait(0.002)
        return n

    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        for workers in (None, 2):
            got = [n async for n in Pipeline(range(40), [steps.map(slow, workers=workers)])]
            assert got == list(range(40))
            report = await Pipeline(range(9), [steps.map(double, workers=workers)]).run_async()
            assert report.written == 9
        ticking.cancel()
        return ticks

    assert asyncio.run(asyncio.wait_for(main(), SOON)) > 10


def endless() -> Iterator[int]:
    yield from itertools.count()


@pytest.mark.parametrize("workers", [None, 4])
@pytest.mark.parametrize("how", ["break", "aclose", "exception"])
def test_leaving_an_async_iteration_ends_the_run(workers: int | None, how: str) -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    async def main() -> None:
        flow = Pipeline(source, [steps.map(lambda n: n, workers=workers)]).__aiter__()
        try:
            async for n in flow:
                if n == 5:
                    if how == "exception":
                        raise KeyError(n)
                    break
        finally:
            await flow.aclose()

    if how == "exception":
        with pytest.raises(KeyError):
            asyncio.run(asyncio.wait_for(main(), SOON))
    else:
        asyncio.run(asyncio.wait_for(main(), SOON))
    assert closed == [True]


@pytest.mark.parametrize("workers", [None, 4])
def test_a_failure_comes_behind_the_records_before_it(workers: int | None) -> None:
    got = []

    async def main() -> None:
        async for n in Pipeline([1, 2, 0], [steps.map(lambda n: 2 // n, workers=workers)]):
            got.append(n)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(asyncio.wait_for(main(), SOON))
    assert got == [2, 1]


@pytest.mark.parametrize("workers", [None, 4])
def test_a_cancelled_run_publishes_nothing(tmp_path: Path, workers: int | None) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    async def main() -> None:
        plan = Pipeline(endless, [steps.map(lambda n: n, workers=workers)], target)
        run = asyncio.create_task(plan.run_async())
        await asyncio.sleep(0.05)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(asyncio.wait_for(main(), SOON))
    assert target.read_text() == "old"


def test_a_call_ends_however_closely_the_loop_is_closed_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coroutine that came behind the word to end was never begun, and never ended."""
    loop, submit = EventLoop(), asyncio.run_coroutine_threadsafe
    closer = threading.Thread(target=loop.close)
    loop.call(double(1))

    def closed_meanwhile(*words: Any) -> Any:
        closer.start()
        closer.join(0.2)  # it waits for the lock, or has ended the loop's thread by now
        if not closer.is_alive():
            loop.thread.join()
        return submit(*words)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", closed_meanwhile)
    ended: list[BaseException] = []

    def call() -> None:
        try:
            loop.call(asyncio.sleep(SOON))
        except BaseException as error:
            ended.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    caller.join(SOON / 2)
    assert [type(error) for error in ended] == [Stopped]
    closer.join()
    loop.thread.join()
