"""Sources of records that no store holds: any iterable, or a callable that returns one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from paipa_etl.errors import PlanError, never_stop, shown
from paipa_etl.failures import Failure
from paipa_etl.records.batch import NUMBERED, Batch
from paipa_etl.run import Run, close
from paipa_etl.sources import Source

AT_ONCE = 256  # records of a sequence in memory that are handed over together


@dataclass(frozen=True)
class IterableSource(Source):
    """Any iterable of records; an iterator can be read only once."""

    iterable: Iterable[Any]
    _used: list[bool] = field(default_factory=list, compare=False, repr=False)

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one; a generator is closed with the run."""
        with run.reading():
            iterator = _started(lambda: self.iterable, str(self), run)
            if iterator is self.iterable:
                if self._used:
                    raise PlanError(f"{shown(iterator)} can be read only once, and was")
                self._used.append(True)
            yield from _flow(iterator, run)

    @property
    def is_at_hand(self) -> bool:
        """Whether the next record never has to be waited for."""
        return type(self.iterable) in (list, tuple, range)

    def batches(self, run: Run) -> Generator[Batch, None, None]:
        """The records of what is at hand, in batches."""
        sequence: Any = self.iterable
        for start in range(0, len(sequence), AT_ONCE):
            if run.stops.reading.is_set:
                return
            records = list(sequence[start : start + AT_ONCE])
            run.counts.read += len(records)
            yield NUMBERED.made(records, range(start, start + len(records)))

    def __str__(self) -> str:
        return f"<{type(self.iterable).__name__}>"


@dataclass(frozen=True)
class CallableSource(Source):
    """A callable that returns an iterable of records, called anew for each run."""

    function: Callable[[], Iterable[Any]]

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one; a generator is closed with the run."""
        with run.reading():
            yield from _flow(_started(self.function, str(self), run), run)

    def __str__(self) -> str:
        return f"{getattr(self.function, '__name__', type(self.function).__name__)}()"


def _started(function: Callable[[], Iterable[Any]], name: str, run: Run) -> Iterator[Any]:
    try:
        return iter(function())
    except Exception as error:
        run.policy.fail(Failure(never_stop(error, name), "the source, before its first record"))


def _flow(iterator: Iterator[Any], run: Run) -> Iterator[Any]:
    try:
        yield from run.counted(iterator)
    finally:
        close(iterator)
