"""Random plans for the tests: each move is a step, and what it makes of a plain list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import strategies as st

from paipa_etl import Skip, steps


class Stream(NamedTuple):
    """The records that come, and the error behind them, where there is one."""

    records: list[int]
    error: ValueError | None = None
    skipped: int = 0


def double(n: int) -> int:
    return n * 2


def odd(n: int) -> bool:
    return n % 2 == 1


def below(n: int) -> range:
    return range(n % 4)


def many(n: int) -> range:
    """More items than a worker hands on at once, of some records."""
    return range(600 if n == 400 else 1)


def drop_thirds(n: int) -> int:
    if n % 3 == 0:
        raise Skip
    return n


def fail_rarely(n: int) -> int:
    if n % 40 == 23:
        raise ValueError(n)
    return n


def judge(n: int) -> bool:
    return fail_rarely(n) % 2 == 1


def give_then_fail(n: int) -> Iterator[int]:
    yield n + 1
    fail_rarely(n)


async def double_later(n: int) -> int:
    return n * 2


async def fail_later(n: int) -> int:
    return fail_rarely(n)


_failed: ContextVar[bool] = ContextVar("failed", default=False)


def flaky(n: int) -> int:
    """Fails once on some records; the next attempt is made by the same thread."""
    _failed.set(n % 40 == 23 and not _failed.get())
    if _failed.get():
        raise ValueError(n)
    return n


def twice(records: Iterable[int]) -> Iterator[int]:
    for record in records:
        yield record
        yield record + 1


def checked(records: Iterable[int]) -> Iterator[int]:
    return map(fail_rarely, records)


def checked_generator(records: Iterable[int]) -> Iterator[int]:
    for record in records:
        yield fail_rarely(record)


@dataclass(frozen=True)
class Move:
    """One step of a random plan."""

    kind: str
    number: int = 2
    workers: int | None = None
    queue: int | None = None
    ordered: bool = True
    retries: int = 0

    def step(self, threads: bool = True) -> Any:
        """The step, with its workers or without."""
        if self.kind in SLICES:
            return SLICES[self.kind](self.number)
        options: dict[str, Any] = {}
        if self.workers and threads:
            options = {"workers": self.workers, "ordered": self.ordered}
            options |= {"queue": self.queue} if self.queue else {}
        if self.kind in GENERATORS:
            made = steps.declare(GENERATORS[self.kind], stateless=True)
            return steps.parallel(made, **options) if options else made
        verb, function = VERBS[self.kind]
        retries = max(self.retries, 1) if self.kind == "flaky" else self.retries
        return verb(function, retries=retries, backoff=0, **options)

    def of(self, given: Stream, on_error: str) -> Stream:
        """What it makes of a stream."""
        if self.kind in SLICES:
            return self._sliced(given)
        found: list[int] = []
        skipped = given.skipped
        for record in given.records:
            try:
                self._add(record, found)
            except ValueError as error:
                if on_error == "fail":
                    return Stream(found, error, skipped)
                skipped += 1
        return Stream(found, given.error, skipped)

    def _add(self, record: int, found: list[int]) -> None:
        if self.kind == "partly":
            if not self.retries or record % 40 != 23:
                found.append(record + 1)
            fail_rarely(record)
        else:
            found += MEANING[self.kind](record)

    def _sliced(self, given: Stream) -> Stream:
        records, n = given.records, self.number
        if self.kind == "limit" and len(records) >= n:
            return Stream(records[:n], None, given.skipped)
        if self.kind == "skip":
            return given._replace(records=records[n:])
        if self.kind == "sum":
            whole = len(records) // n * n if given.error else len(records)
            return given._replace(records=[sum(records[k : k + n]) for k in range(0, whole, n)])
        return given


def batch_and_sum(n: int) -> Any:
    return [steps.batch(n), steps.map(sum)]


SLICES: dict[str, Callable[[int], Any]] = {
    "limit": steps.limit,
    "skip": steps.skip,
    "sum": batch_and_sum,
}
GENERATORS: dict[str, Callable[[Iterable[int]], Iterator[int]]] = {
    "twice": twice,
    "checked": checked,
    "checked generator": checked_generator,
}
VERBS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "map": (steps.map, double),
    "coroutine": (steps.map, double_later),
    "drop": (steps.map, drop_thirds),
    "fail": (steps.map, fail_rarely),
    "fail later": (steps.map, fail_later),
    "flaky": (steps.map, flaky),
    "filter": (steps.filter, odd),
    "judge": (steps.filter, judge),
    "tap": (steps.tap, double),
    "tell": (steps.tap, fail_rarely),
    "expand": (steps.flat_map, below),
    "many": (steps.flat_map, many),
    "partly": (steps.flat_map, give_then_fail),
}
MEANING: dict[str, Callable[[int], Iterable[int]]] = {
    "map": lambda n: [double(n)],
    "coroutine": lambda n: [double(n)],
    "drop": lambda n: [n] if n % 3 else [],
    "fail": lambda n: [fail_rarely(n)],
    "fail later": lambda n: [fail_rarely(n)],
    "flaky": lambda n: [n],
    "filter": lambda n: [n] if odd(n) else [],
    "judge": lambda n: [n] if judge(n) else [],
    "tap": lambda n: [n],
    "tell": lambda n: [fail_rarely(n)],
    "expand": below,
    "many": many,
    "twice": lambda n: [n, n + 1],
    "checked": lambda n: [fail_rarely(n)],
    "checked generator": lambda n: [fail_rarely(n)],
}
KINDS = sorted([*SLICES, *GENERATORS, *VERBS])
FAILING = {"fail", "fail later", "judge", "tell", "partly", "checked", "checked generator"}
RAW = ["filter", "judge", "tap", "tell", "limit", "skip"]


@st.composite
def plans(draw: st.DrawFn, kinds: list[str] = KINDS, ordered: bool = False) -> list[Move]:
    """Up to five moves; in no order only where all that follows is of one record at a time."""
    moves: list[Move] = []
    may_mix = not ordered
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        workers = draw(st.none() | st.integers(1, 8))
        queue = draw(st.none() | st.integers(1, 4))
        retries = draw(st.sampled_from([0, 0, 1, 2]))
        mixed = draw(st.booleans())
        moves.append(Move(kind, draw(st.integers(1, 7)), workers, queue, not mixed, retries))
    found: list[Move] = []
    for move in reversed(moves):
        may_mix = may_mix and move.kind not in SLICES
        found.insert(0, move if may_mix else Move(**{**vars(move), "ordered": True}))
    return found


def expected(numbers: Iterable[int], plan: list[Move], on_error: str) -> Stream:
    """What a whole plan makes of a list."""
    stream = Stream(list(numbers))
    for move in plan:
        stream = move.of(stream, on_error)
    return stream


def made(plan: Iterable[Move], *, threads: bool) -> list[Any]:
    """The steps of a plan."""
    return [move.step(threads) for move in plan]


def mixes(plan: Iterable[Move]) -> bool:
    """Whether records may leave the plan in another order."""
    return any(move.workers and not move.ordered for move in plan)
