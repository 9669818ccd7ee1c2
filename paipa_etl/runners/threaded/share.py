"""A generator step with workers: each runs its own instance over its share of the records."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import Any

from paipa_etl.errors import never_stop
from paipa_etl.failures import InFlight
from paipa_etl.records.batch import NUMBERED, Batch
from paipa_etl.run import Run, close
from paipa_etl.run.report import StepCount
from paipa_etl.runners.threaded.reorder import Collect, Ticket
from paipa_etl.runners.threaded.stage import Stage, adapted
from paipa_etl.steps.contract import Opaque
from paipa_etl.steps.expanding import CHUNK
from paipa_etl.steps.functions import GONE
from paipa_etl.threads.channel import Finished


class ShareStage(Stage[Opaque]):
    """Threads that each run an instance of a generator step."""

    @property
    def collect(self) -> Collect:
        self.count.opaque = True
        return partial(_collect, self.count)

    def serve(self, run: Run, part: StepCount) -> None:
        with self.step.ready(run, part) as function:
            Share(self, run, part).serve(function)


def _collect(count: StepCount, batch: Batch, results: list[Any], gaps: bool) -> Batch:
    """What a step gave for each record, one after the other."""
    given: list[Any] = []
    indices: list[int] = []
    for index, items in zip(batch.indices, results, strict=True):
        if items is not GONE:
            given += items
            indices += [index] * len(items)
    count.given += len(given)
    return batch.made(given, indices)


class Share:
    """What one worker takes, and what its instance gives for it.

    What is given between the taking of a record and the asking for the next belongs to
    that record.
    """

    def __init__(self, stage: ShareStage, run: Run, part: StepCount) -> None:
        self._stage, self._run, self._part = stage, run, part
        self._buffer = stage.buffer
        self._ticket: Ticket | None = None
        self._items: list[Any] = []
        run.cursor.follow(self._where)

    def serve(self, function: Callable[..., Any]) -> None:
        """Run an instance over the share; where one failed and that is allowed, a fresh one."""
        goes_on = True
        while goes_on:
            records = self._records()
            try:
                flow = function(records)
                with closing(records):
                    self._gather(flow)
                self._end()
                return
            except BaseException as error:
                if self._stage.group.is_known(error) or self._stage.is_word(error):
                    raise
                goes_on = self._goes_on(error)

    def _gather(self, flow: Any) -> None:
        try:
            buffer = self._buffer
            for item in flow:
                self._items.append(item)
                if self._ticket is None:
                    continue
                if buffer.failed:
                    buffer.check_wanted(self._ticket)
                if len(self._items) >= CHUNK:
                    self._give(self._ticket)
        finally:
            close(flow)

    def _records(self) -> Generator[Any, None, None]:
        most = 1
        told = self._run.observer.worker(self._stage.count)
        while True:
            if self._ticket is None:
                try:
                    self._ticket = self._stage.take(most)
                except Finished:
                    return
            ticket = self._ticket
            began = perf_counter()
            for record in ticket.records:
                yield record
                self._record_done(ticket)
            seconds = perf_counter() - began - ticket.waited
            told(seconds, len(ticket.results))
            most = adapted(most, len(ticket.batch), seconds)
            self._finish(ticket)

    def _record_done(self, ticket: Ticket) -> None:
        items, self._items = self._items, []
        ticket.results.append(items)

    def _finish(self, ticket: Ticket) -> None:
        self._ticket = None
        self._buffer.finish(ticket)
        self._stage.done(ticket, self._part)

    def _give(self, ticket: Ticket) -> None:
        items, self._items = self._items, []
        self._stage.count.given += len(items)
        self._stage.give_part(ticket, items)

    def _end(self) -> None:
        """The instance has returned: what it has not begun is for the others."""
        ticket, items = self._ticket, self._items
        if ticket is not None:
            self._record_done(ticket)
            self._buffer.give_back(ticket)
            self._finish(ticket)
        elif items:
            self._stage.count.given += len(items)
            self._buffer.append(NUMBERED.made(items, [0] * len(items)))
            self._buffer.deliver()

    def _goes_on(self, error: BaseException) -> bool:
        """The instance has failed: skip its record and begin another, or end the run."""
        ticket, name = self._ticket, self._part.name
        failure = never_stop(error, name) if isinstance(error, Exception) else error
        try:
            if ticket is None or not self._stage.step.stateless or failure is not error:
                stage = name if ticket else f"{name}, with no record in hand"
                self._run.policy.fail(self._run.failure(failure, stage))
            self._run.failed(failure, self._part)  # type: ignore[arg-type]
        except BaseException as final:
            if ticket is None:
                raise
            if self._items:
                self._give(ticket)
            self._stage.fail(ticket, final, self._run)
            self._buffer.deliver()
            return False
        self._give(ticket)
        ticket.gaps = True
        ticket.results.append(GONE)
        return True

    def _where(self) -> InFlight:
        return self._stage.in_flight(self._ticket) if self._ticket else InFlight(None)
