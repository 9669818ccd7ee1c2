"""Run: what one run of a plan shares, as small objects with one owner each."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from paipa_etl.errors import ForkedChild, Word, never_stop
from paipa_etl.failures import ErrorPolicy, Failure, InFlight
from paipa_etl.metrics.observer import NOT_OBSERVED, Observer
from paipa_etl.run.budget import MAX_MEMORY, Budget
from paipa_etl.run.clients import Clients
from paipa_etl.run.clock import Clock
from paipa_etl.run.cursor import Cursor
from paipa_etl.run.failure_list import FailureList
from paipa_etl.run.publication import Publication
from paipa_etl.run.report import Counts, Report, StepCount, report_of
from paipa_etl.run.resources import Resources
from paipa_etl.run.stops import Stops
from paipa_etl.threads.event_loop import EventLoop
from paipa_etl.threads.stop import Stop, Stopped


def close(flow: object) -> None:
    """Close an iterator that can be closed, when its records are no longer wanted."""
    method = getattr(flow, "close", None)
    if isinstance(flow, Iterator) and callable(method):
        method()


class InOneProcess:
    """A block of one run; a class, so that its frames hold no exception in a reference cycle."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> None:
        """Nothing is acquired."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Word) and self._run.stops.run.is_foreign:
            raise ForkedChild("this run", self._run.process) from None


def nothing() -> None:
    """The hook that does nothing."""


def never() -> bool:
    """The condition that never holds."""
    return False


@dataclass(frozen=True, eq=False)
class Run:
    """One run, made by ``new_run``; never shared.

    All of its threads share the objects, except the cursor: each thread has its own ``branch``.
    The steps after ``steps.threaded`` have their own ``behind``.
    """

    policy: ErrorPolicy
    counts: Counts
    cursor: Cursor
    """The record in flight of the thread."""
    resources: Resources
    stops: Stops
    publication: Publication
    failures: FailureList
    clients: Clients
    """What stores keep open."""
    budget: Budget
    observer: Observer
    clock: Clock
    loop: EventLoop
    """Where coroutine functions run; its thread starts with the first of them."""
    started: float
    """The time of its clock at which it began."""
    process: int
    """The process that it belongs to."""
    lent: bool = False
    """Whether another run owns the clients, and closes them."""
    threads: bool = True
    """Whether threads may read ahead and write behind: a run among many does without."""
    background: bool = False
    """Whether threads of this run's own read ahead and write behind."""
    carried_out: bool = False
    """Whether an output is still to be published when all is read."""
    before: Run | None = None
    """The run of the steps before ``steps.threaded``; it ends with this one."""
    idle: Callable[[], None] = nothing
    """Called when the input is silent, so that what was read can be shown before a wait."""
    before_commit: Callable[[], None] = nothing
    """Called when all is written and nothing published: may raise."""
    must_finish: Callable[[], bool] = never
    """Whether a worker is publishing, which is waited for however long it takes."""

    def branch(self) -> Run:
        """The same run for another thread, which has another record in flight."""
        return replace(self, cursor=Cursor(self.counts, self.policy))

    def behind(
        self,
        *,
        counts: Counts,
        failures: FailureList,
        observer: Observer,
        where: Callable[[], InFlight] | None = None,
    ) -> Run:
        """The same run for the steps after this part, which go on when this part has ended.

        What steps share is released by the first part, which ends last. ``where`` tells the
        record in flight, where that is another part's.
        """
        return replace(
            self,
            counts=counts,
            failures=failures,
            observer=observer,
            cursor=Cursor(counts, self.policy, where),
            loop=EventLoop(),
            stops=self.stops.behind(),
            resources=self.resources.borrowed(),
            before=self,
        )

    def for_output(self) -> Run:
        """The same run with an output that is going to be published."""
        return replace(self, background=self.threads, carried_out=True)

    def showing(self, idle: Callable[[], None]) -> Run:
        """The same run, in which ``idle`` shows what was written when the input is silent."""
        return replace(self, idle=idle)

    def counted(
        self, records: Iterable[Any], until: Stop | None = None
    ) -> Generator[Any, None, None]:
        """The records of a source that has no blocks: a record is known by its number only.

        ``until`` is the stop that ends the reading; without it, the run's stop of reading.
        """
        until = self.stops.reading if until is None else until
        try:
            yield from self.cursor.numbered(records, until)
            if self.stops.run.is_set:
                raise Stopped  # the wait for a record was cut short, which is no end of them
        except Exception as error:
            if self.is_word(error):
                raise
            error = never_stop(error, "the source")
            self.policy.fail(Failure(error, f"the source, after record {self.cursor.position:,}"))

    @contextmanager
    def reading(self) -> Generator[None, None, None]:
        """What the source raises ends the run: a step that sees it pass by is not to blame.

        Where reading was to end early, a wait that was cut short is the end of the input.
        """
        try:
            yield
        except Stopped:
            if self.stops.run.is_set or not self.stops.reading.is_set:
                raise
        except Exception as error:
            self.policy.settle(error)
            raise

    def is_word(self, error: BaseException) -> bool:
        """Whether it says that the run ends, and is no error; else a user's code raised it."""
        return isinstance(error, Word) and self.stops.run.is_set

    def failed(self, error: Exception, step: StepCount) -> None:
        """A step's function raised on the record in flight: raise, or count it as skipped."""
        self.policy.decide(self.failure(error, step.name))
        step.skipped += 1

    def failure(self, error: BaseException, stage: str) -> Failure:
        """What failed on the record in flight."""
        place, raw = self.cursor.where()
        return Failure(error, stage, place, raw)

    def end(self) -> None:
        """Nothing goes on: wake every wait, end the event loop."""
        self.stops.run.set()
        self.stops.reading.set()
        self.loop.close()
        if self.before is not None:
            self.before.end()

    def abort(self) -> None:
        """End everything, what waits for the output's store too; publishing that began goes on."""
        if self.publication.give_up():
            self.stops.output.set()
        self.end()

    def in_one_process(self) -> InOneProcess:
        """Raise ``ForkedChild`` where a forked child went on with the run, and was stopped."""
        return InOneProcess(self)

    def close(self) -> None:
        """Give back what the run itself holds open; nothing waits any more."""
        self.stops.run.close()
        self.stops.reading.close()
        if not self.carried_out:
            self.close_clients()

    def close_clients(self) -> None:
        """Close what stores kept open for this run."""
        self.stops.output.close()
        if not self.lent:
            self.clients.close()

    def over(self) -> None:
        """Release what steps share, end the event loop where there is one, and close."""
        try:
            self.resources.release()
        finally:
            self.end()
            self.loop.join()
            self.close()
            if self.before is not None:
                self.before.over()

    def report(self) -> Report:
        """The report of what was done so far."""
        seconds = self.clock.now() - self.started
        errors = [*map(str, self.policy.failures), *self.failures.others()]
        report = report_of(self.counts, seconds, errors)
        report.view = self.observer.details()
        return report


def new_run(
    on_error: str = "fail",
    *,
    resources: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    max_memory: int = MAX_MEMORY,
    clients: Clients | None = None,
    threads: bool = True,
    observer: Observer = NOT_OBSERVED,
    before_commit: Callable[[], None] = nothing,
    must_finish: Callable[[], bool] = never,
) -> Run:
    """A run that begins now.

    ``clients`` are lent by another run. Without ``threads`` nothing is read ahead or written
    behind. The other arguments are those of ``Pipeline`` and of ``Run``.
    """
    policy, counts = ErrorPolicy(on_error), Counts()
    cursor = Cursor(counts, policy)
    counts.report_unread(cursor.unread)
    clock = Clock() if clock is None else clock
    return Run(
        policy,
        counts,
        cursor,
        resources=Resources({} if resources is None else resources),
        stops=Stops(),
        publication=Publication(),
        failures=FailureList(),
        clients=Clients() if clients is None else clients,
        budget=Budget(max_memory),
        observer=observer,
        clock=clock,
        loop=EventLoop(),
        started=clock.now(),
        process=os.getpid(),
        lent=clients is not None,
        threads=threads,
        before_commit=before_commit,
        must_finish=must_finish,
    )
