"""Live sources: a feed that is put into while a run reads it, and any ``queue.Queue``."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from paipa_etl.errors import FeedClosed, PlanError
from paipa_etl.records.batch import NUMBERED, size_of
from paipa_etl.records.channel import MAX_BYTES, BatchChannel
from paipa_etl.run import Run
from paipa_etl.sources import Source
from paipa_etl.threads import forks
from paipa_etl.threads.channel import Abandoned, Finished
from paipa_etl.threads.collector import apart
from paipa_etl.threads.exit import prepare
from paipa_etl.threads.stop import Stop
from paipa_etl.threads.waiting import LOOK_UP

LIMIT = 1024  # records
AT_ONCE = 256


class Feed(Source):
    """A source that any threads put records into, while one run reads them; ``put`` waits for room.

    Holds at most ``limit`` records, or ``max_bytes`` of text and binary data in them. It
    ends with ``finish()``, as it does when the run is stopped: what was put is read. Then, and
    once the run that reads it has ended, ``put`` raises ``FeedClosed``. It is read once.
    """

    def __init__(self, limit: int = LIMIT, max_bytes: int = MAX_BYTES) -> None:
        self._channel = BatchChannel(max_bytes, limit)
        self._reader: Stop | None = None

    def put(self, record: Any) -> None:
        """Hand over a record; waits for room, raises ``FeedClosed``."""
        try:
            self._channel.add(record, 0, NUMBERED, size_of((record,)))
        except Abandoned:
            ended = (
                "the run that read it has ended" if self._channel.abandoned else "it is finished"
            )
            raise FeedClosed(f"the feed takes no more records: {ended}") from None

    def put_all(self, records: Iterable[Any]) -> None:
        """Hand over the records of an iterable, pulled one by one as there is room."""
        for record in records:
            self.put(record)

    def finish(self) -> None:
        """Say that nothing more will come: the run ends when it has read what is there."""
        self._channel.finish()

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one, as they come."""
        if self._reader is not None:
            raise PlanError(f"{self} can be read only once, and was")
        self._reader = run.stops.run
        forks.own(self._channel)
        finish = self.finish
        with run.reading(), run.stops.reading.waking(finish), run.stops.finishing.waking(finish):
            prepare()  # for the collector: the channel's lock may be taken by whoever puts
            try:
                yield from run.counted(self._taken(run), run.stops.run)
            finally:
                apart(self._channel.abandon)

    def stop(self, run: Run) -> None:
        """The run is to end early, even if it never began to read: it reads what was put.

        Of a feed that another run reads, a second one has nothing to say.
        """
        if self._reader in (None, run.stops.run):
            self.finish()

    def end(self, run: Run) -> None:
        """The run has ended, even if it never began to read: whoever puts is told."""
        if self._reader in (None, run.stops.run):
            self._reader = run.stops.run
            self._channel.abandon()

    def _taken(self, run: Run) -> Generator[Any, None, None]:
        while True:
            try:
                batch, count, size = self._channel.take(AT_ONCE)
            except Finished:
                return
            yield from batch.records
            self._channel.release(count, size)

    def __str__(self) -> str:
        return "<Feed>"


@dataclass(frozen=True)
class QueueSource(Source):
    """Any ``queue.Queue``, read until the run is stopped or, from Python 3.13 on, it is shut down.

    ``task_done()`` is called for a record when the next one is asked for.
    """

    queue: queue.Queue[Any]

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one, as they come."""
        wake = self._wake
        with run.reading(), run.stops.reading.waking(wake), run.stops.finishing.waking(wake):
            yield from run.counted(self._taken(run))

    def _taken(self, run: Run) -> Generator[Any, None, None]:
        waiting = self.queue
        while True:
            with waiting.not_empty:
                # A get() that waits cannot be told to stop; its own condition can be.
                while not waiting._qsize():
                    if self._is_over(run):
                        return
                    waiting.not_empty.wait(LOOK_UP)  # then a signal is handled
                if run.stops.reading.is_set:
                    return
                record = waiting._get()
                waiting.not_full.notify()
            yield record
            waiting.task_done()

    def _is_over(self, run: Run) -> bool:
        over = getattr(self.queue, "is_shutdown", False)
        return bool(run.stops.reading.is_set or run.stops.finishing.is_set or over)

    def _wake(self) -> None:
        with self.queue.not_empty:
            self.queue.not_empty.notify_all()

    def __str__(self) -> str:
        return f"<{type(self.queue).__name__}>"
