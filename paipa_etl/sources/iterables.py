"""Sources of records that no store holds: any iterable, or a callable that returns one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from paipa_etl.errors import PlanError, never_stop, shown
from paipa_etl.formats.batch import Batch
from paipa_etl.run import Run


@dataclass(frozen=True)
class IterableSource:
    """Any iterable of records; an iterator can be read only once."""

    iterable: Iterable[Any]
    _used: list[bool] = field(default_factory=list, compare=False, repr=False)

    has_batches = False

    def batches(self, run: Run, reads: bool) -> Generator[Batch, None, None]:
        """There are none: records come one by one."""
        raise NotImplementedError

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one; a generator is closed with the run."""
        with run.reading():
            iterator = _started(lambda: self.iterable, str(self), run)
            if iterator is self.iterable:
                if self._used:
                    raise PlanError(f"{shown(iterator)} can be read only once, and was")
                self._used.append(True)
            yield from _closing(iterator, run)

    def __str__(self) -> str:
        return f"<{type(self.iterable).__name__}>"


@dataclass(frozen=True)
class CallableSource:
    """A callable that returns an iterable of records, called anew for each run."""

    function: Callable[[], Iterable[Any]]

    has_batches = False

    def batches(self, run: Run, reads: bool) -> Generator[Batch, None, None]:
        """There are none: records come one by one."""
        raise NotImplementedError

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one; a generator is closed with the run."""
        with run.reading():
            yield from _closing(_started(self.function, str(self), run), run)

    def __str__(self) -> str:
        return f"{getattr(self.function, '__name__', type(self.function).__name__)}()"


def _started(function: Callable[[], Iterable[Any]], name: str, run: Run) -> Iterator[Any]:
    try:
        return iter(function())
    except Exception as error:
        run.policy.fail(never_stop(error, name), "the source, before its first record")


def _closing(iterator: Iterator[Any], run: Run) -> Iterator[Any]:
    counted = run.counted(iterator)
    if not hasattr(iterator, "close"):
        return counted
    return _closed(counted, iterator)


def _closed(counted: Iterator[Any], iterator: Any) -> Iterator[Any]:
    with closing(iterator):
        yield from counted
