"""Channel: the one bounded hand-over between threads, with two ends.

Bounded in items and in bytes; blocked ends wake by notification, one at a time;
finished, failed and abandoned are different outcomes. No sentinel stands among the
items: ``None`` is an item. What was taken counts until it is released.

An interrupt may be raised between any two instructions of the main thread. Every
state change therefore stands under a plain lock: its ``with`` begins in C and covers
the block whole, while a ``Condition``'s begins in Python, where an interrupt can come
between the taking of the lock and the block that gives it back. Nothing of the user's
is called or dropped while a lock is held.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from paipa_etl.errors import Word
from paipa_etl.threads.waiting import Line, Waiting

T = TypeVar("T")


class Finished(Word):
    """``take``: everything was taken and the giving end has finished."""


class Abandoned(Word):
    """``put``: the taking end wants no more."""


class Parcel(NamedTuple):
    """An item, how many it counts as, and its size in bytes."""

    item: Any
    weight: int
    size: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What went through a channel: items, bytes, and seconds waited at each end."""

    handed: int
    peak_items: int
    peak_bytes: int
    occupancy: float
    """The items it held when one was taken, on average; those taken and not released among them."""
    waited_to_put: float
    waited_to_take: float
    items: int
    """What it holds now, of so many that it may hold; and in bytes."""
    bytes: int
    max_items: int
    max_bytes: int


class Channel(Waiting, Generic[T]):
    """Hands items over in order, each of a size; holds so many bytes and items, or a larger one."""

    def __init__(self, max_bytes: int, max_items: int = sys.maxsize) -> None:
        super().__init__()
        self.takers = Line()
        self._givers = Line()
        self._max_bytes, self._max_items = max_bytes, max_items
        # A giver that waits is woken when there is some room: not for each record of it.
        self._low_bytes, self._low_items = max_bytes * 3 // 4, max_items * 3 // 4
        self._parcels: deque[Parcel] = deque()
        self._items = self._bytes = 0
        self._finished = self.abandoned = False
        self._failure: BaseException | None = None
        self._peak_items = self._peak_bytes = self._handed = self._takes = self._seen = 0

    # The giving end.

    def put(self, item: T, size: int) -> None:
        """Hand over an item of a size in bytes; waits for room, raises ``Abandoned``."""
        with self.lock:
            given = self._give_one(item, size)
        if given is None:
            self.until(self._givers, lambda: self._give_one(item, size))

    def finish(self, failure: BaseException | None = None) -> None:
        """Nothing more will come; a failure is raised behind the last item. The first call counts.

        May be done again, where an interrupt came in between.
        """
        with self.lock:
            if not self._finished:
                self._failure = failure
            self._finished = True
            self._givers.wake_all()
            self.takers.wake_all()

    # The taking end.

    def get(self) -> T:
        """Take an item, which makes room at once.

        Waits for one; raises ``Finished``, ``Abandoned`` or the failure of the giving end.
        """
        with self.lock:
            taken = self._get_one()
        if taken is None:
            taken = self.until(self.takers, self._get_one)
        return taken.item  # type: ignore[no-any-return]

    @property
    def is_empty(self) -> bool:
        """Whether who takes now has to wait, or has come to the end."""
        return not self._parcels

    @property
    def is_closed(self) -> bool:
        """Whether it takes nothing more: it has finished, or was abandoned."""
        return self._finished

    def release(self, count: int, size: int) -> None:
        """What was taken has been handed on, and makes room."""
        with self.lock:
            self.make_room(count, size)

    def abandon(self) -> None:
        """Nothing more is wanted, what is held is dropped; may be done more than once."""
        with self.lock:
            self.abandoned = self._finished = True
            dropped = self._drop()
            self._givers.wake_all()
            self.takers.wake_all()
        del dropped  # with whatever its records do then, and no lock held

    def disown(self) -> None:
        """In a forked child: its other end is a thread of the parent's."""
        self.abandoned = self._finished = True
        self._drop()
        self._failure = None

    def statistics(self) -> Statistics:
        """What went through so far."""
        with self.lock:
            return Statistics(
                self._handed,
                self._peak_items,
                self._peak_bytes,
                self._seen / self._takes if self._takes else 0.0,
                self._givers.waited,
                self.takers.waited,
                self._items,
                self._bytes,
                self._max_items,
                self._max_bytes,
            )

    # What follows is called while the lock is held.

    def make_room(self, count: int, size: int) -> None:
        """Take so much off what is held; wake a giver once that is worth it."""
        self._items -= count
        self._bytes -= size
        if self._givers.turns and (
            not self._parcels or (self._items <= self._low_items and self._bytes <= self._low_bytes)
        ):
            self._givers.wake()

    def _drop(self) -> deque[Parcel]:
        """Hold nothing any more; gives what was held."""
        dropped, self._parcels = self._parcels, deque()
        return dropped

    def _give_one(self, item: T, size: int) -> bool | None:
        """Add an item; None: there is no room."""
        if self._finished:
            raise Abandoned
        fits = self._items < self._max_items and self._bytes + size <= self._max_bytes
        if self._items and not fits:
            return None
        self._append(item, size, 1)
        if self._givers.turns and self._items < self._max_items and self._bytes <= self._max_bytes:
            self._givers.wake()  # a giver that was woken wakes the next one
        return True

    def _get_one(self) -> Parcel | None:
        """Take an item off what is held; None: nothing yet."""
        if not self._parcels:
            self._raise_end()
            return None
        taken = self._parcels.popleft()
        self._note_taken()
        self.make_room(1, taken.size)
        return taken

    def _raise_end(self) -> None:
        """Nothing is held: raise what the giving end has ended with, where it has."""
        if self._failure is not None:
            raise self._failure
        if self._finished:
            raise Abandoned if self.abandoned else Finished

    def _note_taken(self) -> None:
        """Something was taken, and counts until its release: wake who can go on."""
        if not self._parcels:
            if self._givers.turns and self._items < self._max_items:
                self._givers.wake()
        elif self.takers.turns:
            self.takers.wake()
        self._takes += 1
        self._seen += self._items

    def _append(self, item: Any, size: int, count: int) -> None:
        self._parcels.append(Parcel(item, count, size))
        self._hold(size, count)

    def _hold(self, size: int, count: int) -> None:
        self._items += count
        self._bytes += size
        self._handed += count
        self._peak_items = max(self._peak_items, self._items)
        self._peak_bytes = max(self._peak_bytes, self._bytes)
        if self.takers.turns:
            self.takers.wake()
