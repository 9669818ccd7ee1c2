"""Poison: records and exceptions made to end, hang or hide a run; none of them does."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import Pipeline, Skip, steps
from paipa_etl.errors import Word, describe
from paipa_etl.steps.functions import GONE, Gone
from paipa_etl.threads.channel import Abandoned, Finished
from paipa_etl.threads.stop import Stopped
from paipa_etl.threads.waiting import Elapsed

COUNT, AT = 40, 20


@contextmanager
def soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 2


class NoTruth:
    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


class NoEquality:
    def __eq__(self, other: object) -> bool:
        raise ValueError("equal to nothing, and not unequal")

    __hash__ = None  # type: ignore[assignment]


class NoLength:
    def __len__(self) -> int:
        raise ValueError("endless")


VALUES: list[Any] = [
    None,
    ...,
    Exception(),
    StopIteration(),
    StopAsyncIteration(),
    GeneratorExit(),
    Finished(),
    Abandoned(),
    Skip(),
    Gone(),
    dict,
    Exception,
    float("nan"),
    (),
    NoTruth(),
    NoEquality(),
    NoLength(),
    b"",
]


def same(record: Any) -> Any:
    return record


async def same_later(record: Any) -> Any:
    return record


def same_one(record: Any) -> list[Any]:
    return [record]


def always(_: Any) -> bool:
    return True


def each(records: Iterable[Any]) -> Iterator[Any]:
    yield from records


PASSES: dict[str, Callable[..., Any]] = {
    "map": lambda **options: steps.map(same, **options),
    "coroutine": lambda **options: steps.map(same_later, **options),
    "tap": lambda **options: steps.tap(same, **options),
    "filter": lambda **options: steps.filter(always, **options),
    "flat_map": lambda **options: steps.flat_map(same_one, **options),
    "generators": lambda **options: steps.parallel(each, **options),
}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("kind", PASSES)
def test_any_value_passes_through_workers(kind: str, value: Any) -> None:
    for workers, ordered in ((1, True), (3, True), (3, False)):
        made = PASSES[kind](workers=workers, ordered=ordered)
        with soon():
            found = list(Pipeline([value] * COUNT, [made, each, made]))
            assert len(found) == COUNT
            assert all(one is value for one in found)
            report = Pipeline((value for _ in range(COUNT)), made, out := []).run()
        assert len(out) == COUNT
        assert report.balanced


def test_the_mark_of_a_gap_is_not_taken_for_one() -> None:
    """The very object that stands for what was dropped, as a record: only a forger has it."""
    with soon():
        found = list(Pipeline([GONE] * 3, steps.tap(same, workers=2)))
    assert all(record is GONE for record in found)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("not a word")

    __repr__ = __str__


class NotText(Exception):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no pickle")


class Equal(Exception):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


class Frozen(Exception):
    """Takes no notes."""

    def add_note(self, note: str) -> None:
        raise AttributeError("no notes")


def cyclic() -> Exception:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    one.__context__, other.__context__ = one.__cause__, one
    return one


def with_notes(notes: Any) -> Exception:
    error = ValueError("with notes of its own")
    error.__notes__ = notes
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "StopIteration": lambda: StopIteration(7),
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "mute": Mute,
    "not text": NotText,
    "unpicklable": Unpicklable,
    "equal to nothing": Equal,
    "takes no notes": Frozen,
    "cyclic": cyclic,
    "10 MB": lambda: ValueError("x" * 10**7),
    "10 MB of lines": lambda: KeyError("\n\x1b" * (5 * 10**6)),
    "notes": lambda: with_notes(["mine"]),
    "a tuple of notes": lambda: with_notes(("mine",)),
    "group": lambda: ExceptionGroup("many", [ValueError(n) for n in range(1000)]),
    "Finished": Finished,
    "Abandoned": Abandoned,
    "Stopped": Stopped,
    "Elapsed": Elapsed,
    "CancelledError": asyncio.CancelledError,
}


class Fails:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, n: int) -> int:
        if n == AT:
            raise self.error
        return n

    async def later(self, n: int) -> int:
        return self(n)

    def items(self, n: int) -> Iterator[int]:
        yield self(n)

    def each(self, records: Iterable[int]) -> Iterator[int]:
        for record in records:
            yield self(record)


RAISES: dict[str, Callable[[Fails], Any]] = {
    "one worker": lambda fails: steps.map(fails, workers=1),
    "workers": lambda fails: steps.map(fails, workers=4),
    "no order": lambda fails: steps.map(fails, workers=4, ordered=False),
    "tap": lambda fails: steps.tap(fails, workers=4),
    "retries": lambda fails: steps.map(fails, workers=2, retries=1, backoff=0),
    "items": lambda fails: steps.flat_map(fails.items, workers=4),
    "tasks": lambda fails: steps.map(fails.later, workers=4),
    "generators": lambda fails: steps.parallel(fails.each, workers=4),
    "a chain": lambda fails: [
        steps.map(same, workers=2),
        steps.map(fails),
        steps.map(same, workers=2),
    ],
    "feeds": lambda fails: [steps.map(fails), steps.map(same, workers=2)],
    "pulls": lambda fails: [steps.map(same, workers=2), steps.map(fails)],
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", RAISES)
def test_any_exception_ends_the_run_and_is_raised(where: str, error: str, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("before")
    given = ERRORS[error]()
    with soon(), pytest.raises(BaseException) as caught:  # noqa: PT011  (that it is the one is checked)
        Pipeline(range(COUNT), RAISES[where](Fails(given)), target).run()
    assert is_it(caught.value, given)
    assert len(describe(caught.value).encode()) <= 4096
    assert target.read_text() == "before"
    found: list[int] = []
    given = ERRORS[error]()
    with soon(), pytest.raises(BaseException) as caught:  # noqa: PT011
        found.extend(Pipeline(range(COUNT), RAISES[where](Fails(given))))
    assert is_it(caught.value, given)
    if where != "no order":
        assert found == list(range(AT))


def is_it(found: BaseException, given: BaseException) -> bool:
    """The very one; or what stands for one that would end a stream, and says so."""
    name = type(given).__name__
    stands = isinstance(found, RuntimeError) and f"raised {name}" in str(found)
    return found is given or (stands and isinstance(given, (StopIteration, Word)))


SKIPPED = ["StopIteration", "MemoryError", "RecursionError", "mute", "not text", "cyclic", "10 MB"]


@pytest.mark.parametrize("error", SKIPPED)
@pytest.mark.parametrize("workers", [1, 4])
def test_any_exception_of_a_record_can_be_skipped(error: str, workers: int) -> None:
    fails = Fails(ERRORS[error]())
    made = [steps.map(fails, workers=workers)]
    with soon():
        report = Pipeline(range(COUNT), made, out := [], on_error="skip").run()
    assert out == [n for n in range(COUNT) if n != AT]
    assert (report.skipped, report.balanced) == (1, True)
    assert len(report.errors[0].encode()) <= 4096
    assert pickle.loads(pickle.dumps(report.to_dict()))  # noqa: S301  (our own bytes)


@pytest.mark.parametrize("error", ["GeneratorExit", "SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("where", RAISES)
def test_what_is_no_exception_of_a_record_is_never_skipped(where: str, error: str) -> None:
    given = ERRORS[error]()
    with soon(), pytest.raises(type(given)) as caught:
        Pipeline(range(COUNT), RAISES[where](Fails(given)), on_error="skip").run()
    assert caught.value is given


def test_a_recursion_without_end_in_a_worker() -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1) + 1

    with soon(), pytest.raises(RecursionError) as caught:
        list(Pipeline(range(8), steps.map(deeper, workers=4)))
    assert "record 1" in describe(caught.value)
    assert sys.getrecursionlimit() < 10**6
