"""A channel of batches: bounded in records and bytes; batches are split where that is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from paipa_etl.records.batch import Batch
from paipa_etl.threads.channel import Abandoned, Channel, Parcel

MAX_BYTES = 8 << 20  # that a channel of records holds, where the run has them to give
GATHERED = 256  # records that are handed over as one batch at the most


class BatchChannel(Channel[Batch]):
    """Hands batches over in order. A batch counts as many as it has records.

    It is split where only a part of it fits, or only a part is taken. Records that are handed
    over one by one join the last batch, until it is taken.
    """

    def __init__(self, max_bytes: int, max_items: int) -> None:
        super().__init__(max_bytes, max_items)
        self._begun = 0
        """How many records of the first batch were taken already."""
        self._open: Batch | None = None
        """The last batch, while it is not taken and records may still join it."""

    # The giving end.

    def put_batch(self, batch: Batch, size: int) -> None:
        """Hand over a batch of a size in bytes; waits for room, raises ``Abandoned``."""
        count = len(batch.indices)
        with self.lock:
            rest = self._give(batch, size, count)
        if rest is not None:
            self.until(self._givers, self._giving(rest))

    async def put_batch_in_loop(self, batch: Batch, size: int) -> None:
        """The same for a task, which does not hold up its event loop."""
        count = len(batch.indices)
        with self.lock:
            rest = self._give(batch, size, count)
        if rest is not None:
            await self.until_in_loop(self._givers, self._giving(rest))

    def add(
        self, record: Any, index: int, origin: Batch, size: int, raw: bytes | None = None
    ) -> None:
        """Hand over one record of the batch ``origin``; it joins others until they are taken."""
        join = partial(self._join, record, index, origin, size, raw)
        with self.lock:
            given = join()
        if not given:
            self.until(self._givers, lambda: join() or None)

    # The taking end.

    def take(self, most: int, timeout: float | None = None) -> Parcel:
        """Take up to ``most`` records of a batch; they count until their release.

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

    def exchange(self, released: Parcel | None, most: int) -> Parcel:
        """``release`` what was taken and ``take`` more, in one turn at the lock."""
        with self.lock:
            if released is not None:
                self.make_room(released.weight, released.size)
            taken = self.try_take(most)
        return self.take(most) if taken is None else taken

    # What follows is called while the lock is held.

    def _drop(self) -> deque[Parcel]:
        self._open, self._begun = None, 0
        return super()._drop()

    def try_take(self, most: int) -> Parcel | None:
        """Take what is there; None: nothing yet."""
        if not self._parcels:
            self._raise_end()
            return None
        taken = self._parcels[0]
        if self._begun or taken.weight > most:
            taken = self._some_of(taken, most)
        else:
            self._parcels.popleft()
        if not self._parcels:
            self._open = None
        self._note_taken()
        return taken

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

    def _give(self, batch: Batch, size: int, count: int) -> tuple[Batch, int, int] | None:
        """Add what there is room for; the rest, where there is one."""
        if self._finished:
            raise Abandoned
        fits = self._room(size, count)
        if not fits:
            return batch, size, count
        self._open = None
        if fits < count:
            share = size * fits // count
            self._append(batch.part(0, fits), share, fits)
            return batch.part(fits), size - share, count - fits
        self._append(batch, size, count)
        if self._givers.turns and self._room(0, 1):
            self._givers.wake()
        return None

    def _giving(self, rest: tuple[Batch, int, int]) -> Callable[[], bool | None]:
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
