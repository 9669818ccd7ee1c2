"""Run: what one run of a plan shares: error policy, counts, resources, the stop, the clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

from paipa_etl.errors import ForkedChild, Word, describe, never_stop
from paipa_etl.failures import ErrorPolicy, Failure
from paipa_etl.metrics.watch import UNWATCHED, Unwatched
from paipa_etl.records.channel import MAX_BYTES
from paipa_etl.run.clients import Clients
from paipa_etl.run.clock import Clock
from paipa_etl.run.cursor import Cursor
from paipa_etl.run.report import Counts, Report, StepCount, report_of
from paipa_etl.run.resources import Resources
from paipa_etl.threads.ahead import AHEAD
from paipa_etl.threads.behind import BEHIND
from paipa_etl.threads.event_loop import EventLoop
from paipa_etl.threads.interrupts import put_off
from paipa_etl.threads.stop import Stop, Stopped

MAX_MEMORY = 256 << 20  # bytes: the sum of what all hand-overs of a run may hold
RANGES = 16 << 20  # bytes of a remote input that are fetched side by side
PARTS = 20 << 20  # bytes of a remote output: the part that grows, and those on their way


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
        if isinstance(error, Word) and self._run.stop.is_foreign:
            raise ForkedChild("this run", self._run.process) from None


class Run(Cursor):
    """One run; made by a runner (or by a ready step that is used alone), never shared.

    ``idle`` is called when the input is silent, so that what was read can be shown before
    it is waited for.
    """

    def __init__(
        self,
        on_error: str = "fail",
        *,
        resources: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        max_memory: int = MAX_MEMORY,
        clients: Clients | None = None,
        threads: bool = True,
        watch: Unwatched = UNWATCHED,
    ) -> None:
        self.policy = ErrorPolicy(on_error)
        self.counts = Counts()
        self.counts.unread = self._unread
        self.resources = Resources({} if resources is None else resources)
        self.loop = EventLoop()
        """Where coroutine functions run; its thread starts with the first of them."""
        self.stop = Stop()
        self.reading_stop = Stop()
        """Heard by what waits for input only: a run that ends it early goes on with what it has."""
        self.finishing = Stop()
        """Heard by live sources: they end when they are empty."""
        self.aborted = Stop()
        """Heard by what waits for an output's store: nothing is going to be published."""
        self.clients = Clients() if clients is None else clients
        """What stores keep open; lent by another run where it was given."""
        self._lent = clients is not None
        self.before: Run | None = None
        """What stands in front of threads among nested generators; it ends when they do."""
        self.failures: list[BaseException] = []
        """All that failed, the first one first."""
        self.raised: BaseException | None = None
        """The one of them that the caller gets to see as itself."""
        self.carried_out = False
        """Whether an output is still to be published when all is read."""
        self.background = False
        """Whether threads of this run's own may read ahead and write behind."""
        self.threads = threads
        """Whether they are wanted: a run among many leaves the waiting to the others."""
        self.is_publishing = False
        """Whether the output is being published at this moment."""
        self.published = False
        """Whether the output is published, whatever is raised afterwards."""
        self._settled: dict[str, bool] = {}
        self.process = os.getpid()
        self.must_finish: Callable[[], bool] = lambda: False
        """Whether a worker does what is finished however long it takes: publishing."""
        self.before_commit: Callable[[], None] = lambda: None
        """Called when all is written and nothing published: may raise."""
        self.max_memory = max_memory
        """Bytes that all hand-overs of the run may hold together."""
        self.scale = 1.0
        """What part of its usual budget in bytes each hand-over may take."""
        self.watch = watch
        """Who is told whose time it is; a debugger, or nobody."""
        self.idle: Callable[[], None] = lambda: None
        self.clock = Clock() if clock is None else clock
        self.started = self.clock.now()
        self.start_over()

    def branch(self) -> Run:
        """The same run for another thread, which has another record in flight."""
        branch = copy(self)
        branch.start_over()
        return branch

    def behind(self) -> Run:
        """The same run for what stands behind this part of it, and goes on when this part is over.

        What steps share is released by whoever is last.
        """
        behind = self.branch()
        behind.before, behind.loop = self, EventLoop()
        behind.stop, behind.reading_stop, behind.finishing = Stop(), Stop(), Stop()
        self.resources = self.resources.borrowed()
        return behind

    def share_out(self, stages: int) -> None:
        """Divide the memory among the hand-overs of a plan with so many steps that have workers.

        Each has a channel before it, results that wait, and perhaps a channel behind it. Ranges
        and parts are those of a remote input and a remote output.
        """
        usual = AHEAD + RANGES + BEHIND + PARTS + MAX_BYTES * (1 + 3 * stages)
        self.scale = min(1.0, self.max_memory / usual)

    def share(self, budget: int) -> int:
        """What of a usual budget in bytes there is in this run."""
        return max(int(budget * self.scale), 1)

    def counted(
        self, records: Iterable[Any], until: Stop | None = None
    ) -> Generator[Any, None, None]:
        """The records of a source that knows nothing of them but their order.

        ``until``: what ends the reading before its records do, where that is not as usual.
        """
        until = self.reading_stop if until is None else until
        self.batch = None
        try:
            # Looked at before the next one is asked for: a record that was taken is not lost.
            for record in () if until.is_set else records:
                self._position += 1
                self.counts.read += 1
                yield record
                if until.is_set:
                    break
            if self.stop.is_set:
                raise Stopped  # the wait for a record was cut short, which is no end of them
        except Exception as error:
            if self.is_word(error):
                raise
            error = never_stop(error, "the source")
            self.policy.fail(Failure(error, f"the source, after record {self._position:,}"))

    @contextmanager
    def reading(self) -> Generator[None, None, None]:
        """What the source raises ends the run: a step that sees it pass by is not to blame.

        Where reading was to end early, a wait that was cut short is the end of the input.
        """
        try:
            yield
        except Stopped:
            if self.stop.is_set or not self.reading_stop.is_set:
                raise
        except Exception as error:
            self.policy.settle(error)
            raise

    def is_word(self, error: BaseException) -> bool:
        """Whether it says that the run ends, and is no error; else a user's code raised it."""
        return isinstance(error, Word) and self.stop.is_set

    def failed(self, error: Exception, step: StepCount) -> None:
        """A step's function raised on the record in flight: raise, or count it as skipped."""
        self.policy.decide(self.failure(error, step.name))
        step.skipped += 1

    def failure(self, error: BaseException, stage: str) -> Failure:
        """What failed on the record in flight."""
        place, raw = self.where()
        return Failure(error, stage, place, raw)

    def end(self) -> None:
        """Nothing goes on: wake every wait, end the event loop."""
        self.stop.set()
        self.reading_stop.set()
        self.loop.close()
        if self.before is not None:
            self.before.end()

    def abort(self) -> None:
        """End everything, what waits for the output's store too; publishing that began goes on."""
        if not self._settle(published=False):
            self.aborted.set()
        self.end()

    def _settle(self, *, published: bool) -> bool:
        """Whether the output is published: the first of all threads to say so decides."""
        return self._settled.setdefault("published", published)

    @property
    def is_settled(self) -> bool:
        """Whether publishing has begun; from then on an interrupt changes nothing."""
        return self._settled.get("published", False)

    def in_one_process(self) -> InOneProcess:
        """Raise ``ForkedChild`` where a forked child went on with the run, and was stopped."""
        return InOneProcess(self)

    @contextmanager
    def publishing(self) -> Generator[None, None, None]:
        """Finish the block, which publishes: an interrupt is raised behind it, a second at once.

        Raises ``Stopped`` where the run was aborted before.
        """
        with put_off():
            if not self._settle(published=True):
                raise Stopped
            self.is_publishing = True
            try:
                yield
                self.published = True
            except KeyboardInterrupt as error:
                error.add_note("the output was being published: it may be there")
                raise
            finally:
                self.is_publishing = False

    def close(self) -> None:
        """Give back what the run itself holds open; nothing waits any more."""
        self.stop.close()
        self.reading_stop.close()
        if not self.carried_out:
            self.close_clients()

    def close_clients(self) -> None:
        """Close what stores kept open for this run."""
        self.aborted.close()
        if not self._lent:
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
        others = [describe(error) for error in self.failures if error is not self.raised]
        seconds = self.clock.now() - self.started
        report = report_of(self.counts, seconds, [*map(str, self.policy.failures), *others])
        report.view = self.watch.details()
        return report
