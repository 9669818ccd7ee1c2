"""ThreadGroup: the threads of one run; what fails first, how all are stopped, and joined."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import NoReturn

from paipa_etl.errors import StuckWorker
from paipa_etl.records.channel import BatchChannel
from paipa_etl.run import Run
from paipa_etl.runners.threaded.reorder import ReorderBuffer
from paipa_etl.threads import forks
from paipa_etl.threads.channel import Abandoned
from paipa_etl.threads.collector import apart
from paipa_etl.threads.exit import Thread
from paipa_etl.threads.starting import first_of, join, surely
from paipa_etl.threads.stop import Stopped

GRACE = 10.0  # seconds that a step's own code may take to return after the end of a run
WATCH_EVERY = 0.005  # seconds after which a worker that has not moved on is held up
TOLD = 3  # further errors that the note of the first one tells


@dataclass(frozen=True)
class PlannedThreads:
    """Threads that do the same; their names begin with ``paipa-`` and ``name``."""

    name: str
    count: int
    purpose: str

    def __str__(self) -> str:
        threads = "1 thread" if self.count == 1 else f"{self.count:,} threads"
        return f"{self.name}: {threads}, {self.purpose}"


class ThreadGroup:
    """The threads, channels and buffers of one run; ended together, whatever ends it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.channels: list[BatchChannel] = []
        self.buffers: list[ReorderBuffer] = []
        self.planned: list[PlannedThreads] = []
        """The threads by what they do, before they start."""
        self._threads: list[Thread] = []
        self._lock = forks.lock()
        self._traceback: TracebackType | None = None
        self._bell = threading.Lock()
        self._bell.acquire()
        self._watching = self._stopped = False
        self._waking = run.stops.run.waking(self._wake)

    def add(
        self, target: Callable[[], None], name: str, purpose: str, count: int | None = None
    ) -> None:
        """Add one thread, or ``count`` threads with numbers in their names; they start together."""
        names = [name] if count is None else [f"{name}-{number + 1}" for number in range(count)]
        for each in names:
            work = forks.thread_target(target, self._first)
            self._threads.append(Thread(work, each, self.run.end))
        self.planned.append(PlannedThreads(name, len(names), purpose))

    def add_watch(self) -> None:
        """Add the thread that takes work back from workers that stand still."""
        if self.buffers:
            self.add(self._watch, "watch", "takes work back from workers that stand still")

    def start(self) -> None:
        """Start all threads."""
        self._waking.__enter__()
        for thread in self._threads:
            thread.start()

    # What fails.

    def failed(self, error: BaseException, *, at_once: bool) -> None:
        """Note an error of a thread; the run ends now, or when its turn comes in the order."""
        with self._lock:
            if not self.is_known(error):
                self.run.policy.settle(error)
                self.run.failures.add(error)
                if len(self.run.failures) == 1:
                    self._traceback = error.__traceback__
        if at_once:
            self.stop()

    def is_known(self, error: BaseException) -> bool:
        """Whether it is an error that was noted already, on its way through the channels."""
        return self.run.failures.is_known(error)

    def raise_first(self, error: BaseException) -> NoReturn:
        """Raise what failed, as itself and with the traceback that it had where it failed.

        ``error`` is what reached the consumer: the failure whose turn it is, or word that
        the run was stopped, by the failure that was the first in time.
        """
        failures = self.run.failures
        if failures.first is None:  # a thread may have had no memory to report
            for thread in self._threads:
                if thread.failure is not None:
                    failures.add(thread.failure)
        if failures.first is None:
            raise Stopped if isinstance(error, Abandoned) else error
        first = error if self.is_known(error) else failures.first
        failures.note_raised(first)
        others = failures.others()
        if others:
            more = f"; and {len(others) - TOLD} more" if len(others) > TOLD else ""
            first.add_note(f"failed as well: {'; '.join(others[:TOLD])}{more}")
        context = first.__context__
        try:
            raise first.with_traceback(self._traceback) if first is failures.first else first
        finally:
            first.__context__ = context  # it was not raised while something else was handled

    def _first(self) -> BaseException | None:
        return self.run.failures.first

    # What is held up.

    def watch(self) -> None:
        """A worker has taken more than one record: look after it, in case one holds it up."""
        if not self._watching:
            self._watching = True
            self._bell.release()

    def _watch(self) -> None:
        while True:
            self._bell.acquire()
            while not self._stopped and any(buffer.shared for buffer in self.buffers):
                self._bell.acquire(timeout=WATCH_EVERY)
                for buffer in self.buffers:
                    try:
                        if buffer.shared and buffer.rescue():
                            buffer.deliver()
                    except Abandoned:
                        continue
            if self._stopped:
                return
            self._watching = False
            if any(buffer.shared for buffer in self.buffers):
                self.watch()

    # How it ends.

    def stop(self) -> None:
        """Wake everybody: nothing of it is wanted any more. May be done more than once."""
        self.run.end()

    def _wake(self) -> None:
        self._stopped = True
        # The last one first: that a thread ended further up must not pass for the input's end.
        for channel in reversed(self.channels):
            channel.abandon()
        for buffer in self.buffers:
            buffer.abandon()
        if self._bell.locked():
            self._bell.release()

    def end(self, cause: BaseException | None) -> None:
        """Stop and join all threads, release what steps share; ``StuckWorker`` for who stays.

        What releasing raises is raised where nothing else failed before, the ``cause``.
        """
        apart(partial(self._end, cause))

    def _end(self, cause: BaseException | None) -> None:
        surely(self.stop)
        stuck = self._join()
        self._waking.__exit__(None, None, None)
        self.run.close()
        if stuck:
            raise self._stuck(stuck) from first_of(self.run.failures.first, cause)
        try:
            self.run.resources.release()
        except BaseException as error:
            self.run.failures.add(error)
            if cause is None or isinstance(cause, GeneratorExit):
                self.run.failures.note_raised(error)
                raise

    def _join(self) -> list[threading.Thread]:
        clock = self.run.clock
        end = clock.now() + GRACE
        loop = self.run.loop.thread
        threads = [*self._threads, *([loop] if loop else [])]
        for thread in threads:
            join(thread, max(end - clock.now(), 0))
            while thread.is_alive() and self.run.must_finish():
                end = clock.now() + GRACE
                join(thread, GRACE)
        here = threading.current_thread()
        return [thread for thread in threads if thread.is_alive() and thread is not here]

    def _stuck(self, threads: list[threading.Thread]) -> StuckWorker:
        frames = sys._current_frames()
        stacks = [
            f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
            for thread in threads
            if thread.ident in frames
        ]
        names = [thread.name.removeprefix("paipa-") for thread in threads]
        return StuckWorker(names[:3], GRACE, "\n".join(stacks[:3]))
