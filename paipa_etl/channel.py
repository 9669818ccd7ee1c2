"""Channel: the one bounded hand-over between threads, with two ends.

Bounded in bytes; blocked ends wake by notification; finished, failed and abandoned
are different outcomes. No sentinel stands among the items: ``None`` is an item.

An interrupt may be raised between any two instructions of the main thread. Every
state change therefore stands under a plain lock: its ``with`` begins in C and covers
the block whole, while a ``Condition``'s begins in Python, where an interrupt can come
between the taking of the lock and the block that gives it back.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Finished(Exception):
    """``get``: everything was taken and the giving end has finished."""


class Abandoned(Exception):
    """``put``: the taking end wants no more."""


class Waiters:
    """The threads that wait at one end, each on a lock of its own, woken in order."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._turns: deque[threading.Lock] = deque()

    def queue(self) -> threading.Lock:
        """A place in the line; asked for while the channel's lock is held."""
        turn = threading.Lock()
        turn.acquire()
        self._turns.append(turn)
        return turn

    def wait(self, turn: threading.Lock) -> None:
        """Wait for one's turn, the channel's lock given back; interrupted, pass it on."""
        try:
            turn.acquire()
        except BaseException:
            with self._lock:
                if turn in self._turns:
                    self._turns.remove(turn)
                else:
                    self.wake()
            raise

    def wake(self) -> None:
        """Wake the first in the line, where there is one.

        It leaves the line after it was woken: an interrupt between the two may wake it
        once more, never forget it.
        """
        while self._turns:
            waiting = self._turns[0].locked()
            if waiting:
                self._turns[0].release()
            self._turns.popleft()
            if waiting:
                return

    def wake_all(self) -> None:
        """Wake all of them."""
        while self._turns:
            self.wake()


class Channel(Generic[T]):
    """Hands items over in order; holds at most ``limit`` bytes, or one item that is larger."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._held = 0
        self._finished = False
        self._abandoned = False
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._givers = Waiters(self._lock)
        self._takers = Waiters(self._lock)

    def put(self, item: T, size: int) -> None:
        """Hand over an item of a size in bytes; waits for room, raises ``Abandoned``."""
        while True:
            with self._lock:
                if self._abandoned:
                    raise Abandoned
                if not self._held or self._held + size <= self._limit:
                    self._items.append((item, size))
                    self._held += size
                    self._takers.wake()
                    return
                turn = self._givers.queue()
            self._givers.wait(turn)

    def get(self) -> T:
        """Take the next item; waits for one, raises ``Finished`` or the other end's failure."""
        while True:
            with self._lock:
                if self._items:
                    item, size = self._items.popleft()
                    self._held -= size
                    self._givers.wake()
                    return item
                if self._failure is not None:
                    raise self._failure
                if self._finished:
                    raise Finished
                turn = self._takers.queue()
            self._takers.wait(turn)

    def finish(self, failure: BaseException | None = None) -> None:
        """From the giving end: nothing more will come; a failure is raised behind the last item."""
        with self._lock:
            self._finished = True
            self._failure = failure
            self._takers.wake_all()

    def abandon(self) -> None:
        """From the taking end: nothing more is wanted, what is held is dropped.

        May be done again, where an interrupt came in between.
        """
        with self._lock:
            self._abandoned = True
            self._finished = True
            self._items.clear()
            self._held = 0
            self._givers.wake_all()
            self._takers.wake_all()
