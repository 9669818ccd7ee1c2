"""Step ``Every(n)``: the first of every ``n`` records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from paipa_etl.errors import PlanError
from paipa_etl.records.batch import Batch
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.steps.contract import BatchFlow, Flow, Reads, Step


@dataclass(frozen=True, repr=False)
class Every(Step):
    """Passes on the first of every ``n`` records; the others count as filtered."""

    n: int

    reads = Reads.NOTHING
    preserving = True
    stateless = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise PlanError(f"every(n) takes a number from 1, not {self.n}")

    def bind(self, run: Run, count: StepCount) -> Flow:
        """The step over records."""
        return partial(self._flow, count)

    def _flow(self, count: StepCount, records: Iterable[Any]) -> Iterator[Any]:
        for number, record in enumerate(records):
            if number % self.n:
                count.filtered += 1
            else:
                yield record

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        """The step over batches, whose raw bytes need not be decoded."""
        return partial(self._batches, count)

    def _batches(self, count: StepCount, batches: Iterable[Batch]) -> Iterator[Batch]:
        seen = 0
        for batch in batches:
            kept = batch.keep([not number % self.n for number in range(seen, seen + len(batch))])
            seen += len(batch)
            count.filtered += len(batch) - len(kept)
            yield kept

    def __str__(self) -> str:
        return f"every({self.n})"
