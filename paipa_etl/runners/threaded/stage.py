"""Stage: a step as several workers carry it out between two channels; calls by threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Generic, TypeVar

from paipa_etl.errors import Word, note
from paipa_etl.failures import InFlight
from paipa_etl.records.channel import BatchChannel
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.runners.threaded.reorder import Collect, ReorderBuffer, Ticket
from paipa_etl.runners.threaded.thread_group import ThreadGroup
from paipa_etl.steps.contract import Step, Workers, guarded
from paipa_etl.steps.functions import GONE, FunctionStep
from paipa_etl.steps.unchanged import compared_once
from paipa_etl.threads import forks
from paipa_etl.threads.channel import Abandoned, Finished
from paipa_etl.threads.stop import Stopped

# A worker takes twice as many records while that many take it less than QUICK seconds, half
# as many once they take more than SLOW, and one at a time when each takes more than QUICK.
QUICK, SLOW = 0.0005, 0.002
MOST = 256

S = TypeVar("S", bound=Step)
Call = Callable[[Any], Any]


def adapted(most: int, count: int, seconds: float) -> int:
    """How many records to take next, after so many took so long."""
    if seconds < QUICK:
        return min(most * 2, MOST) if count == most else most
    if seconds > QUICK * count:
        return 1
    return max(most // 2, 1) if seconds > SLOW else most


class Stage(ABC, Generic[S]):
    """N workers of one step; the last one that ends ends the channel behind them.

    ``at_once``: a failure ends the run when it happens; otherwise when its turn comes.
    """

    def __init__(
        self,
        step: S,
        count: StepCount,
        inlet: BatchChannel,
        outlet: BatchChannel,
        group: ThreadGroup,
        *,
        max_bytes: int,
        at_once: bool,
    ) -> None:
        assert step.workers is not None
        self.step, self.count, self.group, self.at_once = step, count, group, at_once
        self.workers: Workers = step.workers
        self.inlet, self.outlet = inlet, outlet
        self.buffer = ReorderBuffer(
            inlet,
            outlet,
            self.collect,
            ordered=self.workers.ordered,
            max_items=self.workers.queue,
            max_bytes=max_bytes,
        )
        group.buffers.append(self.buffer)
        count.taken = lambda: sum(part.entered for part in count.parts)
        self._left = self.workers.count
        self._lock = forks.lock()
        self._failure: BaseException | None = None

    @property
    @abstractmethod
    def collect(self) -> Collect:
        """What makes a batch of the results for one."""

    @abstractmethod
    def serve(self, run: Run, part: StepCount) -> None:
        """What one worker does, until ``Finished`` or another end is raised."""

    def prepare(self) -> None:
        """Have the workers started with the group's threads."""
        self.group.add(self._work, self.count.name, "call the step's function", self.workers.count)

    def _work(self) -> None:
        try:
            self.serve(self.group.run.branch(), self.count.part())
        except Finished:
            pass
        except (Abandoned, Stopped):
            self.cut_off()
        except BaseException as error:
            self.ended_by(error)
        finally:
            self.leave()

    def ended_by(self, error: BaseException) -> None:
        """An error that no record is to blame for: one from further up, or of a resource."""
        known = self.group.is_known(error)
        if not known:
            note(error, f"{self.count.name}, with no record in hand")
        self.group.failed(error, at_once=self.at_once or not known)
        self._failure = error

    def cut_off(self) -> None:
        """Nothing more is wanted of it: that is no end of the records for whoever takes them."""
        self.buffer.abandon()
        self._failure = Stopped() if self._failure is None else self._failure

    def leave(self) -> None:
        """A worker ends; the last one says so to who takes what they gave."""
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self.buffer.end(self._failure)

    def take(self, most: int) -> Ticket:
        """Take up to so many records."""
        ticket = self.buffer.take(most)
        if ticket.count > 1:
            self.group.watch()
        return ticket

    def done(self, ticket: Ticket, part: StepCount) -> None:
        """Hand on what can be; wait where too much of it waits already."""
        part.entered += ticket.count
        self.buffer.deliver()
        self.buffer.hold_back()

    def give_part(self, ticket: Ticket, records: list[Any]) -> None:
        """Hand on some of what the record in flight gives; raises where no more is wanted."""
        if not records:
            self.buffer.check_wanted(ticket)
            return
        began = perf_counter()
        self.buffer.part(ticket, records)
        self.buffer.deliver()
        self.buffer.hold_back(ticket)
        ticket.waited += perf_counter() - began

    def decide(self, error: Exception, ticket: Ticket, run: Run, part: StepCount) -> None:
        """A function failed on the record in flight: it leaves a gap, or the error is raised."""
        if self.is_word(error):
            raise error
        guarded(run, part, error)
        ticket.gaps = True
        ticket.results.append(GONE)

    def is_word(self, error: BaseException) -> bool:
        """Whether it says that nothing of this stage's is wanted any more, and is no error."""
        over = self.group.run.stops.run.is_set or self.outlet.is_closed or self.buffer.failed
        return isinstance(error, Word) and over

    def fail(self, ticket: Ticket, error: BaseException, run: Run) -> None:
        """The record in flight ends the run: now, or when all before it have been handed on."""
        if not isinstance(error, Exception):
            note(error, run.failure(error, self.count.name).where)
        self.group.failed(error, at_once=self.at_once)
        self.buffer.fail(ticket, error)

    def in_flight(self, ticket: Ticket) -> InFlight:
        """Where the record in flight of a ticket came from."""
        with self.inlet.lock:
            return ticket.in_flight()


class CallStage(Stage[FunctionStep]):
    """Threads that call a function on each record."""

    @property
    def collect(self) -> Collect:
        return partial(self.step.collect, self.count)

    def serve(self, run: Run, part: StepCount) -> None:
        told = run.observer.worker(self.count)
        with self.step.ready(run, part) as function:
            most = 1
            ticket = self.take(most)
            while True:
                run.cursor.follow(partial(self.in_flight, ticket))
                began = perf_counter()
                try:
                    self._carry_out(self._watched(function, ticket, run), ticket, run, part)
                except (Abandoned, Stopped):
                    raise
                except BaseException as error:
                    self.fail(ticket, error, run)
                    self.buffer.deliver()
                    return
                finally:
                    seconds = perf_counter() - began - ticket.waited
                    told(seconds, len(ticket.results))
                most = adapted(most, len(ticket.batch), seconds)
                ticket = self._exchange(ticket, most, part)

    def _watched(self, function: Call, ticket: Ticket, run: Run) -> Call:
        """The function, which compares the first record of a block whose raw bytes are written."""
        batch = ticket.batch
        if not (batch.copies and self.step.preserving and batch.indices[0] == 0):
            return function
        return compared_once(function, self.count.name, run)

    def _exchange(self, ticket: Ticket, most: int, part: StepCount) -> Ticket:
        """Hand a ticket in and take the next, or the same again where a result is missing."""
        part.entered += ticket.count
        following = self.buffer.exchange(ticket, most)
        if following is None:
            # Its function raised StopIteration, which ended the loop over the records unseen.
            part.entered -= ticket.count
            ticket.stopped = True
            return ticket
        if following.count > 1:
            self.group.watch()
        return following

    def _carry_out(
        self, function: Callable[[Any], Any], ticket: Ticket, run: Run, part: StepCount
    ) -> None:
        give = partial(self._give_items, ticket)
        while True:
            try:
                if ticket.stopped:
                    ticket.stopped = False
                    raise RuntimeError(f"{part.name} raised StopIteration")
                # One loop in C; an exception leaves what came before it, and the rest to go on.
                results = self.step.results(function, part, ticket.records, give)
                ticket.results.extend(results)
                return
            except Exception as error:
                self.decide(error, ticket, run, part)

    def _give_items(self, ticket: Ticket, records: list[Any]) -> None:
        """Hand on some items of the record in flight, each of which is one record more."""
        self.count.expanded += len(records)
        self.give_part(ticket, records)
