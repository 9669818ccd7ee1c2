"""Steps that look at no record, only at how many there are: limit, skip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from paipa_etl.errors import PlanError
from paipa_etl.records.batch import Batch
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.steps.contract import BatchFlow, Flow, Reads, Step


@dataclass(frozen=True, repr=False)
class Counting(Step):
    """A step with one number; ``verb`` is the name of the function that makes it."""

    count: int

    verb = ""
    stateless = False
    least = 0

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < self.least:
            raise PlanError(
                f"{self.verb} takes a whole number from {self.least}, not {self.count!r}"
            )

    def __str__(self) -> str:
        return f"{self.verb}({self.count})"


@dataclass(frozen=True, repr=False)
class Limit(Counting):
    """Passes on the first records, then ends the run: nothing more is read."""

    verb = "limit"
    reads = Reads.NOTHING
    preserving = True
    may_end_early = True

    def bind(self, run: Run, count: StepCount) -> Flow:
        return lambda records: islice(records, self.count)

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        return partial(self._batches, count)

    def _batches(self, count: StepCount, batches: Iterable[Batch]) -> Iterator[Batch]:
        wanted = self.count
        if not wanted:
            return
        for batch in batches:
            count.left_over += max(len(batch) - wanted, 0)
            yield batch.part(0, wanted)
            wanted -= len(batch)
            if wanted <= 0:
                return


@dataclass(frozen=True, repr=False)
class Skip(Counting):
    """Leaves out the first records."""

    verb = "skip"
    reads = Reads.NOTHING
    preserving = True

    def bind(self, run: Run, count: StepCount) -> Flow:
        return partial(self._flow, count)

    def _flow(self, count: StepCount, records: Iterable[Any]) -> Iterator[Any]:
        records = iter(records)
        for _ in islice(records, self.count):
            count.filtered += 1
        yield from records

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        return partial(self._batches, count)

    def _batches(self, count: StepCount, batches: Iterable[Batch]) -> Iterator[Batch]:
        unwanted = self.count
        for batch in batches:
            left_out = min(unwanted, len(batch))
            unwanted -= left_out
            count.filtered += left_out
            yield batch.part(left_out)
