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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from paipa_etl.errors import Word
from paipa_etl.records.batch import Batch
from paipa_etl.threads.waiting import Line, Waiting

MAX_BYTES = 8 << 20  # that a channel of records holds, where the run has them to give
GATHERED = 256  # records that are handed over as one batch at the most

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
    """Hands items over in order; holds so many bytes and items, or one that is larger.

    Items are opaque, each of a size and counting as one; or they are batches, which
    count as many as they have records and are split where that is needed.
    """

    def __init__(self, max_bytes: int, max_items: int = sys.maxsize) -> None:
        super().__init__()
        self.takers = Line()
        self._givers = Line()
        self._max_bytes, self._max_items = max_bytes, max_items
        # A giver that waits is woken when there is some room: not for each record of it.
        self._low_bytes, self._low_items = max_bytes * 3 // 4, max_items * 3 // 4
        self._parcels: deque[Parcel] = deque()
        self._begun = 0
        """How many records of the first batch were taken already."""
        self._items = self._bytes = 0
        self._open: Batch | None = None
        """The last batch, while it is not taken and records may still join it."""
        self._finished = self.abandoned = False
        self._failure: BaseException | None = None
        self._peak_items = self._peak_bytes = self._handed = self._takes = self._seen = 0

    # The giving end.

    def put(self, item: T, size: int, count: int = 1) -> None:
        """Hand over an item of a size in bytes; waits for room, raises ``Abandoned``."""
        with self.lock:
            rest = self._give(item, size, count)
        if rest is not None:
            self.until(self._givers, self._giving(rest))

    async def put_in_loop(self, item: T, size: int, count: int = 1) -> None:
        """The same for a task, which does not hold up its event loop."""
        with self.lock:
            rest = self._give(item, size, count)
        if rest is not None:
            await self.until_in_loop(self._givers, self._giving(rest))

    def add(
        self, record: Any, index: int, origin: Batch, size: int, raw: bytes | None = None
    ) -> None:
        """Hand over one record of the batch ``origin``, with others where nobody waits for it."""
        join = partial(self._join, record, index, origin, size, raw)
        with self.lock:
            given = join()
        if not given:
            self.until(self._givers, lambda: join() or None)

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

    def take(self, most: int, timeout: float | None = None) -> Parcel:
        """Take an item, or up to ``most`` records of a batch; they count until their release.

        Waits for one; raises ``Finished``, the other end's failure, or ``Elapsed``.
        """
        with self.lock:
            taken = self.try_take(most)
        if taken is not None:
            return taken
        return self.until(self.takers, lambda: self.try_take(most), timeout)

    async def take_in_loop(self, most: int) -> Parcel:
        """The same for a task."""
        return await self.until_in_loop(self.takers, lambda: self.try_take(most))

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

    def exchange(self, released: Parcel | None, most: int) -> Parcel:
        """``release`` what was taken and ``take`` more, in one turn at the lock."""
        with self.lock:
            if released is not None:
                self.make_room(released.weight, released.size)
            taken = self.try_take(most)
        return self.take(most) if taken is None else taken

    def get(self) -> T:
        """Take an item and release it at once."""
        item, count, size = self.take(1)
        self.release(count, size)
        return item  # type: ignore[no-any-return]

    def abandon(self) -> None:
        """Nothing more is wanted, what is held is dropped; may be done more than once."""
        with self.lock:
            self.abandoned = self._finished = True
            dropped, self._parcels, self._open, self._begun = self._parcels, deque(), None, 0
            self._givers.wake_all()
            self.takers.wake_all()
        del dropped  # with whatever its records do then, and no lock held

    def disown(self) -> None:
        """In a forked child: its other end is a thread of the parent's."""
        self.abandoned = self._finished = True
        self._parcels, self._open, self._failure = deque(), None, None

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

    def try_take(self, most: int) -> Parcel | None:
        """Take what is there; None: nothing yet."""
        if not self._parcels:
            if self._failure is not None:
                raise self._failure
            if self._finished:
                raise Abandoned if self.abandoned else Finished
            return None
        taken = self._parcels[0]
        if self._begun or taken.weight > most:
            taken = self._some_of(taken, most)
        else:
            self._parcels.popleft()
        if not self._parcels:
            self._open = None
            if self._givers.turns and self._items < self._max_items:
                self._givers.wake()
        elif self.takers.turns:
            self.takers.wake()
        self._takes += 1
        self._seen += self._items
        return taken

    def make_room(self, count: int, size: int) -> None:
        """Take so much off what is held; wake a giver once that is worth it."""
        self._items -= count
        self._bytes -= size
        if self._givers.turns and (
            not self._parcels or (self._items <= self._low_items and self._bytes <= self._low_bytes)
        ):
            self._givers.wake()

    def _some_of(self, first: Parcel, most: int) -> Parcel:
        """The next records of the first batch, which stays until the last of them is taken."""
        batch, count, size = first
        if self._open is batch:
            self._open = None
        start, stop = self._begun, min(self._begun + most, count)
        self._begun = stop
        if stop == count:
            self._begun = 0
            self._parcels.popleft()
        share = size * stop // count - size * start // count
        return Parcel(batch.part(start, stop), stop - start, share)

    def _give(self, item: Any, size: int, count: int) -> tuple[Any, int, int] | None:
        """Add what there is room for; the rest, where there is one."""
        if self._finished:
            raise Abandoned
        fits = self._room(size, count)
        if fits < count:
            if not fits:
                return item, size, count
            share = size * fits // count
            self._append(item.part(0, fits), share, fits)
            return item.part(fits), size - share, count - fits
        self._append(item, size, count)
        if self._givers.turns and self._room(0, 1):
            self._givers.wake()
        return None

    def _giving(self, rest: tuple[Any, int, int]) -> Callable[[], bool | None]:
        """What gives more of the rest each time it is called, and says when all is given."""
        left: list[Any] = [rest]

        def again() -> bool | None:
            left[0] = self._give(*left[0])
            return True if left[0] is None else None

        return again

    def _room(self, size: int, count: int) -> int:
        """How many of so many there is room for; one of any size, where nothing is held."""
        items = self._max_items - self._items
        free = self._max_bytes - self._bytes
        if size <= free and count <= items:
            return count
        fits = min(count, items, max(free, 0) * count // size if size else count)
        return max(fits, 0 if self._items else 1)

    def _append(self, item: Any, size: int, count: int) -> None:
        self._parcels.append(Parcel(item, count, size))
        self._open = None
        self._hold(size, count)

    def _hold(self, size: int, count: int) -> None:
        self._items += count
        self._bytes += size
        self._handed += count
        self._peak_items = max(self._peak_items, self._items)
        self._peak_bytes = max(self._peak_bytes, self._bytes)
        if self.takers.turns:
            self.takers.wake()

    def _join(self, record: Any, index: int, origin: Batch, size: int, raw: bytes | None) -> bool:
        """Add a record to the last batch, or begin another; False: there is no room."""
        if self._finished:
            raise Abandoned
        if (self._items >= self._max_items or self._bytes + size > self._max_bytes) and self._items:
            return False
        last = self._open
        if last is None or not last.takes(origin, raw) or len(last.indices) >= GATHERED:
            raws = None if raw is None else [raw]
            self._append(origin.made([record], [index], raws), size, 1)
            self._open = self._parcels[-1].item
            return True
        last.records.append(record)  # type: ignore[union-attr]
        last.indices.append(index)  # type: ignore[attr-defined]
        if raw is not None:
            last.raws.append(raw)  # type: ignore[union-attr]
        _, count, held = self._parcels[-1]
        self._parcels[-1] = Parcel(last, count + 1, held + size)
        self._hold(size, 1)
        return True
