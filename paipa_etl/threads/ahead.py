"""Generators that are run ahead of whoever takes what they yield, bounded in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Generic, TypeVar

from paipa_etl.threads import forks
from paipa_etl.threads.channel import Abandoned, Channel, Finished
from paipa_etl.threads.collector import apart
from paipa_etl.threads.exit import Thread
from paipa_etl.threads.starting import first_of, join, join_waking, surely
from paipa_etl.threads.stop import Stop

AHEAD = 2 << 20  # bytes: four trips of a decoder, enough to keep both threads busy

T = TypeVar("T")


class Ahead(Generic[T]):
    """A generator that is run by a thread of its own, ahead of whoever takes from its channel.

    The generator is closed by the thread that runs it. ``close`` sets the stop, so that a
    wait for bytes ends, and waits for the thread. ``end`` ends the run, for the janitor.
    """

    def __init__(
        self,
        items: Generator[T, None, None],
        size: Callable[[T], int],
        stop: Stop,
        channel: Channel[T],
        end: Callable[[], None],
    ) -> None:
        self._stop, self._channel = stop, forks.own(channel)

        def end_all() -> None:
            end()  # first, so that nobody takes the abandoned channel for the end of the input
            channel.abandon()

        self._thread = Thread(partial(_pump, items, size, channel), "read-ahead", end_all)

    def start(self) -> None:
        """Begin to run the generator."""
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """What the generator yields; what it raises is raised here."""
        while True:
            try:
                item = self._channel.get()
            except Finished:
                return
            except Abandoned:
                failure = self._thread.failure
                raise (Abandoned if failure is None else failure) from None
            yield item

    def finish(self) -> None:
        """Wait for the thread, all of whose items were taken."""
        join(self._thread)

    def close(self) -> None:
        """End the thread."""
        try:
            surely(self._channel.abandon)
        finally:
            join_waking(self._thread, self._stop)


def read_ahead(
    items: Generator[T, None, None],
    size: Callable[[T], int],
    stop: Stop,
    channel: Channel[T],
    end: Callable[[], None],
) -> Iterator[T]:
    """Yield what a generator yields, run by a thread of its own, as far ahead as a channel holds.

    Closing this one ends the thread, and a read that waits for bytes.
    """
    ahead = Ahead(items, size, stop, channel, end)
    try:
        ahead.start()
        yield from ahead
    finally:
        apart(ahead.close)


def side_by_side(
    jobs: Iterator[Generator[T, None, None]],
    size: Callable[[T], int],
    stop: Stop,
    width: int,
    limit: int,
    end: Callable[[], None],
) -> Generator[T, None, None]:
    """Yield what generators yield, one generator after the other; ``width`` of them run ahead.

    Each has a thread of its own, and at most ``limit`` bytes that were not taken yet. ``end``
    ends the run, for the janitor.
    """
    running: deque[Ahead[T]] = deque()
    try:
        while True:
            while len(running) < width and (job := next(jobs, None)) is not None:
                running.append(Ahead(job, size, stop, Channel[T](limit), end))
                running[-1].start()
            if not running:
                return
            yield from running[0]
            running.popleft().finish()
    finally:
        apart(partial(_close_all, running, stop))


def _close_all(running: deque[Ahead[T]], stop: Stop) -> None:
    if running:
        surely(stop.set)  # all at once: they end side by side too
    for ahead in running:
        ahead.close()


def _pump(items: Generator[T, None, None], size: Callable[[T], int], channel: Channel[T]) -> None:
    failure: BaseException | None = None
    try:
        for item in items:
            channel.put(item, size(item))
    except BaseException as error:  # whatever it is, it is raised where the items are taken
        failure = error
    finally:
        try:
            items.close()
        except BaseException as error:
            failure = first_of(failure, error)
        channel.finish(failure)
