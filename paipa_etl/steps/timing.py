"""Steps that look at the time: batch, which gathers so many or so long, and throttle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from paipa_etl.errors import PlanError, shown
from paipa_etl.records.batch import Batch, size_of
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.steps.contract import BatchFlow, Flow, Reads, Step
from paipa_etl.steps.slices import Counting
from paipa_etl.threads.waiting import Elapsed


@runtime_checkable
class Patient(Protocol):
    """An iterator that can wait for a record up to a moment only; it lives on after ``Elapsed``."""

    def until(self, moment: float | None) -> Any:
        """The next record; ``Elapsed`` when none came, ``StopIteration`` at the end."""


@dataclass(frozen=True, repr=False)
class Batched(Counting):
    """Gathers records into lists: of a size, or as many as came within some seconds.

    ``max_bytes`` bounds what they hold in text and binary data.
    """

    within: float | None = None
    max_bytes: int | None = None

    verb = "batch"
    least = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("within", self.within), ("max_bytes", self.max_bytes)):
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise PlanError(f"{name} is a number above 0, not {shown(value)}")

    @property
    def timed(self) -> bool:  # type: ignore[override]
        return self.within is not None

    def bind(self, run: Run, count: StepCount) -> Flow:
        if self.within is None and self.max_bytes is None:
            return partial(self._counted, count)
        return partial(self._gathered, run, count)

    def _counted(self, count: StepCount, records: Iterable[Any]) -> Iterator[list[Any]]:
        records = iter(records)
        while chunk := list(islice(records, self.count)):
            count.folded += len(chunk) - 1
            yield chunk

    def _gathered(self, run: Run, count: StepCount, records: Iterable[Any]) -> Iterator[list[Any]]:
        """The same with bounds in time and bytes.

        Of an iterator that cannot wait up to a moment only, the time is looked at when
        the next record comes.
        """
        following = _following(records)
        chunk: list[Any] = []
        size, due = 0, None
        while True:
            try:
                record = following(due)
            except (Elapsed, StopIteration) as why:
                ended = isinstance(why, StopIteration)
            else:
                ended = False
                one = size_of((record,)) if self.max_bytes else 0
                if chunk and self.max_bytes and size + one > self.max_bytes:
                    count.folded += len(chunk) - 1
                    yield chunk
                    chunk, size = [], 0
                if not chunk and self.within is not None:
                    due = run.clock.now() + self.within
                chunk.append(record)
                size += one
            if chunk and (ended or len(chunk) >= self.count or self._is_due(run, due)):
                count.folded += len(chunk) - 1
                yield chunk
                chunk, size, due = [], 0, None
            if ended:
                return

    @staticmethod
    def _is_due(run: Run, due: float | None) -> bool:
        return due is not None and run.clock.now() >= due

    def __str__(self) -> str:
        words = [str(self.count)]
        words += [f"within={self.within:g}"] if self.within is not None else []
        words += [f"max_bytes={self.max_bytes}"] if self.max_bytes is not None else []
        return f"batch({', '.join(words)})"


def _following(records: Iterable[Any]) -> Callable[[float | None], Any]:
    iterator = iter(records)
    if isinstance(iterator, Patient):
        return iterator.until
    return lambda moment: next(iterator)


@dataclass(frozen=True, repr=False)
class Throttle(Step):
    """Passes on records at most so fast, evenly."""

    per_second: float

    reads = Reads.NOTHING
    preserving = True
    stateless = False
    paced = True

    def __post_init__(self) -> None:
        if not (isinstance(self.per_second, (int, float)) and self.per_second > 0):
            raise PlanError(f"per_second is a number above 0, not {shown(self.per_second)}")

    def bind(self, run: Run, count: StepCount) -> Flow:
        return partial(self._paced, run)

    def _paced(self, run: Run, items: Iterable[Any]) -> Iterator[Any]:
        due = run.clock.now()
        for item in items:
            now = run.clock.now()
            if now < due:
                run.clock.wait(due - now, run.stops.run)
            due = max(due, now) + 1 / self.per_second
            yield item

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        return lambda batches: self._paced(run, _singles(batches))

    def __str__(self) -> str:
        return f"throttle({self.per_second:g}/s)"


def _singles(batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        for place in range(len(batch)):
            yield batch.part(place, place + 1)
