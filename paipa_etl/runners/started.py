"""A run in the background: started, waited for, stopped, looked at from other threads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any

from paipa_etl.errors import ForkedChild, describe
from paipa_etl.records.batch import NUMBERED, size_of
from paipa_etl.records.channel import MAX_BYTES, BatchChannel
from paipa_etl.run import Run
from paipa_etl.run.report import Report
from paipa_etl.sources import Source
from paipa_etl.threads import forks
from paipa_etl.threads.channel import Finished
from paipa_etl.threads.exit import Thread
from paipa_etl.threads.starting import first_of, join
from paipa_etl.threads.stop import Stopped
from paipa_etl.threads.waiting import LoopTurn

AHEAD = 1024  # records that wait for the event loop
AT_ONCE = 256


class StartedRun:
    """A run that goes on in a thread of its own; leaving its ``with`` block waits for its end.

    A live source is finished first, and an exception in the block aborts the run.
    """

    def __init__(
        self, carry_out: Callable[[Run], Report], run: Run, source: Source | None = None
    ) -> None:
        self._carry_out, self._run, self._source = carry_out, run, source
        self._failure: BaseException | None = None
        self._ended: Callable[[], object] = lambda: None
        work = forks.thread_target(self._work, lambda: self._failure)
        self._thread = Thread(work, "run", run.end)

    def begin(self, ended: Callable[[], object] = lambda: None) -> StartedRun:
        """Start it; ``ended`` is called from its thread at its end."""
        self._ended = ended
        self._thread.start()
        return self

    def _work(self) -> None:
        try:
            self._carry_out(self._run)
        except BaseException as error:  # raised again where the run is waited for
            self._failure = error
        finally:
            self._ended()

    @property
    def alive(self) -> bool:
        """Whether it still goes on."""
        return self._thread.is_alive()

    @property
    def report(self) -> Report:
        """What it has done so far."""
        return self._run.report()

    def wait(self, timeout: float | None = None) -> Report:
        """Wait for its end and give the report; raises what failed, as itself.

        Raises ``TimeoutError`` when it is not over after so many seconds.
        """
        join(self._thread, timeout)
        if self._run.stops.run.is_foreign:
            raise ForkedChild("this run", self._run.process)
        if self._thread.is_alive():
            raise TimeoutError(f"the run is not over after {timeout:g} s")
        failure = first_of(self._failure, self._thread.failure)
        if failure is not None:
            self._failure = None
            raise failure
        return self.report

    def stop(self) -> None:
        """End the reading: what was read goes through the steps, and the output is published.

        What was put into a feed is read first; it takes nothing more.
        """
        if self._source is not None:
            self._source.stop(self._run)
        self._run.stops.reading.set()

    def abort(self) -> None:
        """End it now: nothing is published."""
        self._run.abort()
        join(self._thread)

    def __enter__(self) -> StartedRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._run.stops.finishing.set()
            self.wait()
            return
        self.abort()
        if self._failure is not None and not isinstance(self._failure, Stopped):
            error.add_note(f"the run failed as well: {describe(self._failure)}")


async def until_ended(started: StartedRun) -> Report:
    """Wait for a run, as a task; where the task is cancelled, the run is aborted."""
    turn = LoopTurn()
    started.begin(turn.wake)
    try:
        await turn.wait()
    except BaseException:
        started._run.abort()
        await turn.wait()
        raise
    return started.wait()


async def records_in_loop(
    records: Callable[[Run], Generator[Any, None, None]], run: Run
) -> AsyncGenerator[Any, None]:
    """The records of a run, for an event loop: a thread pulls them, at most 1,024 ahead."""
    channel = forks.own(BatchChannel(run.budget.share(MAX_BYTES), AHEAD))

    def pull(run: Run) -> Report:
        failure: BaseException | None = None
        flow = records(run)
        try:
            for record in flow:
                channel.add(record, 0, NUMBERED, size_of((record,)))
        except BaseException as error:
            failure = error
            raise
        finally:
            flow.close()
            channel.finish(failure)
        return run.report()

    turn = LoopTurn()
    StartedRun(pull, run).begin(turn.wake)
    try:
        while True:
            try:
                batch, count, size = await channel.take_in_loop(AT_ONCE)
            except Finished:
                return
            for record in batch.records:
                yield record
            channel.release(count, size)
    finally:
        channel.abandon()
        run.end()
        await turn.wait()
