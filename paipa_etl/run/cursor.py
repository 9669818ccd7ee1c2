"""Cursor: the record that a thread works on, and where it came from.

A thread pulls one record at a time, so the last one that was handed out is the one that a step
works on. Its place is worked out only when an error asks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from operator import length_hint
from typing import Any

from paipa_etl.errors import BadRecord
from paipa_etl.failures import ErrorPolicy, Failure, InFlight, Place
from paipa_etl.records.batch import Batch
from paipa_etl.records.places import SourceBlock
from paipa_etl.run.report import Counts
from paipa_etl.threads.stop import Stop


class Cursor:
    """The record in flight of one thread, counted as it is handed out."""

    def __init__(
        self,
        counts: Counts,
        policy: ErrorPolicy,
        where: Callable[[], InFlight] | None = None,
    ) -> None:
        self._counts, self._policy = counts, policy
        self.where = self._where if where is None else where
        """Tells the record in flight of the thread."""
        self.entered = 0
        """How many records were handed to the steps, those of the batch in flight among them."""
        self.batch: Batch | None = None
        self._rest: Iterator[Any] = iter(())
        self.position = 0
        """How many records without a block were handed out."""
        self._block: SourceBlock | None = None
        """The block in flight, of which one record after the other is decoded."""
        self._passed_over = 0
        """Raw bytes of the block so far that hold no record."""

    def follow(self, where: Callable[[], InFlight]) -> None:
        """Have another object tell the record in flight: it hands the records out."""
        self.where = where

    def numbered(self, records: Iterable[Any], until: Stop) -> Generator[Any, None, None]:
        """The records of a source without blocks, one by one, until they end or the stop is set."""
        self.batch = None
        # Looked at before the next one is asked for: a record that was taken is not lost.
        for record in () if until.is_set else records:
            self.position += 1
            self._counts.read += 1
            yield record
            if until.is_set:
                break

    def records(self, batches: Iterable[Batch]) -> Iterator[Any]:
        """The records of batches, one by one, each the record in flight while it is used."""
        return chain.from_iterable(map(self.enter, batches))

    def enter(self, batch: Batch) -> Iterator[Any]:
        """Iterate over a batch's records as the records in flight."""
        self.entered += len(batch)
        self.batch, self._rest = batch, iter(batch.records or ())
        self._passed_over = 0
        return self._rest

    def enter_rows(self, block: SourceBlock) -> Iterator[bytes]:
        """Iterate over the raw bytes of a block's records as the records in flight."""
        raws = block.rows.raws
        count = len(raws)
        self._counts.read += count
        self.entered += count
        self.batch = Batch(block.places, None, raws, range(count), count)
        self._block, self._passed_over, self._rest = block, 0, iter(raws)
        return self._rest

    def pass_over(self) -> None:
        """The raw bytes in flight hold no record."""
        assert self._block is not None
        self._passed_over += 1
        self._block.count -= 1
        self._counts.read -= 1
        self.entered -= 1

    def bad_record(self, error: BadRecord, raw: bytes) -> None:
        """The record in flight cannot be decoded: raise, or count it as bad."""
        self._counts.read -= 1
        self.entered -= 1
        self._policy.decide(Failure(error, "", self.where().place, raw))
        self._counts.bad += 1

    def unread(self) -> int:
        """How many records of the batch in flight were not handed out yet."""
        return length_hint(self._rest)

    def handed(self) -> int:
        """How many records the steps of this thread have taken."""
        return self.entered - length_hint(self._rest)

    @property
    def index(self) -> int:
        """The place of the record in flight among those of its block, or of its source."""
        if self.batch is None:
            return self.position - 1
        return self.batch.indices[self._at] - self._passed_over

    @property
    def _at(self) -> int:
        assert self.batch is not None
        return len(self.batch) - length_hint(self._rest) - 1

    @property
    def raw(self) -> bytes | None:
        """The raw bytes of the record in flight, where they are known."""
        return None if self.batch is None else self.batch.raw_of(self._at)

    def _where(self) -> InFlight:
        if self.batch is None:
            return InFlight(Place(self.position))
        return InFlight(self.batch.places.of(self.index), self.raw)
