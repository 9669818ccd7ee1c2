"""Channel: the one bounded hand-over between threads, with two ends.

Bounded in bytes; blocked ends wake by notification; finished, failed and abandoned
are different outcomes. No sentinel stands among the items: ``None`` is an item.
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


class Channel(Generic[T]):
    """Hands items over in order; holds at most ``limit`` bytes, or one item that is larger."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._held = 0
        self._finished = False
        self._abandoned = False
        self._failure: BaseException | None = None
        lock = threading.Lock()
        self._room = threading.Condition(lock)
        self._ready = threading.Condition(lock)

    def put(self, item: T, size: int) -> None:
        """Hand over an item of a size in bytes; waits for room, raises ``Abandoned``."""
        with self._room:
            while self._held and self._held + size > self._limit and not self._abandoned:
                self._room.wait()
            if self._abandoned:
                raise Abandoned
            self._items.append((item, size))
            self._held += size
            self._ready.notify()

    def get(self) -> T:
        """Take the next item; waits for one, raises ``Finished`` or the other end's failure."""
        with self._ready:
            while not self._items and not self._finished:
                self._ready.wait()
            if not self._items:
                if self._failure is not None:
                    raise self._failure
                raise Finished
            item, size = self._items.popleft()
            self._held -= size
            self._room.notify()
            return item

    def finish(self, failure: BaseException | None = None) -> None:
        """From the giving end: nothing more will come; a failure is raised behind the last item."""
        with self._ready:
            self._finished = True
            self._failure = failure
            self._ready.notify_all()

    def abandon(self) -> None:
        """From the taking end: nothing more is wanted, what is held is dropped."""
        with self._room:
            self._abandoned = True
            self._finished = True
            self._items.clear()
            self._held = 0
            self._room.notify_all()
            self._ready.notify_all()
