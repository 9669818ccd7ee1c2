"""Generators that are run ahead of whoever takes what they yield, bounded in bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from paipa_etl import forks
from paipa_etl.background.threads import join, join_waking, start, surely
from paipa_etl.channel import Abandoned, Channel, Finished
from paipa_etl.stop import Stop

AHEAD = 2 << 20  # bytes: four trips of a decoder, enough to keep both threads busy

T = TypeVar("T")


class Ahead(Generic[T]):
    """A generator that is run by a thread of its own, ahead of whoever takes from its channel.

    The generator is closed by the thread that runs it. ``close`` sets the stop, so that a
    wait for bytes ends, and waits for the thread.
    """

    def __init__(
        self,
        items: Generator[T, None, None],
        size: Callable[[T], int],
        stop: Stop,
        channel: Channel[T],
    ) -> None:
        self._stop, self._channel = stop, forks.own(channel)
        words = (items, size, self._channel)
        self._thread = threading.Thread(target=_pump, args=words, name="paipa-read-ahead")

    def start(self) -> None:
        """Begin to run the generator."""
        start(self._thread)

    def __iter__(self) -> Iterator[T]:
        """What the generator yields; what it raises is raised here."""
        while True:
            try:
                item = self._channel.get()
            except Finished:
                return
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
    items: Generator[T, None, None], size: Callable[[T], int], stop: Stop, channel: Channel[T]
) -> Iterator[T]:
    """Yield what a generator yields, run by a thread of its own, as far ahead as a channel holds.

    Closing this one ends the thread, and a read that waits for bytes.
    """
    ahead = Ahead(items, size, stop, channel)
    try:
        ahead.start()
        yield from ahead
    finally:
        ahead.close()


def side_by_side(
    jobs: Iterator[Generator[T, None, None]],
    size: Callable[[T], int],
    stop: Stop,
    width: int,
    limit: int,
) -> Generator[T, None, None]:
    """Yield what generators yield, one generator after the other; ``width`` of them run ahead.

    Each has a thread of its own, and at most ``limit`` bytes that were not taken yet.
    """
    running: deque[Ahead[T]] = deque()
    try:
        while True:
            while len(running) < width and (job := next(jobs, None)) is not None:
                running.append(Ahead(job, size, stop, Channel[T](limit)))
                running[-1].start()
            if not running:
                return
            yield from running[0]
            running.popleft().finish()
    finally:
        if running:
            surely(stop.set)  # all at once: they end side by side too
        for ahead in running:
            ahead.close()


def _pump(items: Generator[T, None, None], size: Callable[[T], int], channel: Channel[T]) -> None:
    failure: BaseException | None = None
    try:
        for item in items:
            channel.put(item, size(item))
    except Abandoned:
        pass
    except BaseException as error:  # whatever it is, it is raised where the items are taken
        failure = error
    finally:
        try:
            items.close()
        except BaseException as error:
            failure = error if failure is None else failure
        channel.finish(failure)
