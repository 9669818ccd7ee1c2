"""Run: what one run of a plan shares: error policy, counts, the record in flight, the stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import length_hint
from typing import Any

from paipa_etl.errors import ErrorPolicy
from paipa_etl.formats.batch import Batch
from paipa_etl.report import Counts, Report, StepCount, report_of
from paipa_etl.stop import Stop


def close(flow: object) -> None:
    """Close an iterator that can be closed, when its records are no longer wanted."""
    method = getattr(flow, "close", None)
    if isinstance(flow, Iterator) and callable(method):
        method()


class Run:
    """One run; made by a runner (or by a ready step that is used alone), never shared.

    ``heard`` is called with each batch that a source has decoded, ``idle`` when
    the input is silent, so that what was read can be shown before it is waited for.
    """

    def __init__(
        self, on_error: str = "fail", *, heard: Callable[[Run], None] | None = None
    ) -> None:
        self.policy = ErrorPolicy(on_error)
        self.counts = Counts()
        self.counts.unread = self._unread
        self.stop = Stop()
        self.background = False
        """Whether threads of this run's own may read ahead and write behind."""
        self.heard = heard
        self.idle: Callable[[], None] = lambda: None
        self.clock: Callable[[], float] = time.perf_counter
        self.started = self.clock()
        self._batch: Batch | None = None
        self._rest: Iterator[Any] = iter(())
        self._position = 0

    # The record in flight: the generator core pulls one at a time, so the last one
    # that the source handed out is the one that a step is working on.

    def records(self, batches: Iterable[Batch]) -> Iterator[Any]:
        """The records of batches, one by one, each the record in flight while it is used."""
        return chain.from_iterable(map(self.enter, batches))

    def enter(self, batch: Batch) -> Iterator[Any]:
        """Iterate over a batch's records as the records in flight."""
        self._batch, self._rest = batch, iter(batch.records or ())
        return self._rest

    def counted(self, records: Iterable[Any]) -> Generator[Any, None, None]:
        """The records of a source that knows nothing of them but their order."""
        self._batch = None
        try:
            for record in records:
                self._position += 1
                self.counts.read += 1
                yield record
        except Exception as error:
            self.policy.fail(error, f"the source, after record {self._position:,}")

    @contextmanager
    def reading(self) -> Generator[None, None, None]:
        """What the source raises ends the run: a step that sees it pass by is not to blame."""
        try:
            yield
        except Exception as error:
            self.policy.settled = error
            raise

    def _unread(self) -> int:
        return length_hint(self._rest)

    @property
    def place(self) -> str:
        """Where the record in flight came from."""
        if self._batch is None:
            return f"record {self._position:,}"
        return self._batch.place(len(self._batch) - length_hint(self._rest) - 1)

    def failed(self, error: Exception, step: StepCount) -> None:
        """A step's function raised on the record in flight: raise, or count it as skipped."""
        self.policy.decide(error, f"{step.name}, {self.place}")
        step.skipped += 1

    def report(self) -> Report:
        """The report of what was done so far."""
        return report_of(self.counts, self.clock() - self.started, self.policy.told)
