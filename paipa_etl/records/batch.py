"""Batch: the records of a block with what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, NamedTuple

from paipa_etl.errors import BadRecord
from paipa_etl.failures import Fault, InFlight
from paipa_etl.records.blocks import Block, Copy, NoRecord
from paipa_etl.records.places import Places, SourceBlock

SAMPLED = 3  # records of which a batch's size is worked out


class Kept(NamedTuple):
    """A record that no step has changed, its raw bytes, and how the sink copies those."""

    record: Any
    raw: bytes
    copies: Copy | None


@dataclass(slots=True, eq=False)
class Batch:
    """Records, their raw bytes, or both; and where they came from.

    ``records`` is None where no step reads them: then the raw bytes are the records.
    ``raws`` are the raw bytes that each record came from, where they are split already.
    ``whole`` is the block where its bytes are the records' raw bytes as they stand.
    ``copies`` says how the sink writes the raw bytes; where it is None, as for records that a
    step has made, they only tell the origin.
    ``indices`` are the places of the records in their block, counting good and bad ones:
    number, line and offset of one are worked out from it when an error asks, never before.
    """

    places: Places
    records: list[Any] | None
    raws: Sequence[bytes] | None
    indices: Sequence[int]
    count: int
    """How many records the block held, good and bad."""
    whole: Block | None = None
    copies: Copy | None = None
    faults: list[Fault] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)

    def keep(self, flags: Sequence[object]) -> Batch:
        """The batch with only the records whose flag is true."""
        return self if all(flags) else self._chosen(lambda items: list(compress(items, flags)))

    def part(self, start: int, stop: int | None = None) -> Batch:
        """The batch with only a slice of its records."""
        if not start and (stop is None or stop >= len(self.indices)):
            return self
        return self._chosen(lambda items: items[start:stop])

    def singly(self) -> Iterator[Batch]:
        """A batch for each of its records."""
        return (self.part(n, n + 1) for n in range(len(self.indices)))

    def before_faults(self) -> Batch:
        """The good records that stand before the first bad one."""
        first = self.faults[0].at
        return self.part(0, sum(1 for index in self.indices if index < first))

    def _chosen(self, choose: Callable[[Any], Any]) -> Batch:
        raws = self.raw_records()
        return replace(
            self,
            records=None if self.records is None else choose(self.records),
            raws=None if raws is None else choose(raws),
            indices=choose(self.indices),
            whole=None,
            faults=[],
        )

    def light(self) -> Batch:
        """The batch without its block, which one record left of it would keep in memory."""
        return replace(
            self, places=self.places.light(), raws=self.raw_records(), whole=None, faults=[]
        )

    def made(
        self, records: list[Any], indices: Sequence[int], raws: Sequence[bytes] | None = None
    ) -> Batch:
        """What a step has made of the records with these indices; ``raws`` where they are known."""
        if raws is None and self.raws is not None:
            raws = self.raws if indices is self.indices else self._raws_of(indices)
        return Batch(self.places, records, raws, indices, self.count)

    def takes(self, origin: Batch, raw: bytes | None) -> bool:
        """Whether a record of another batch can be added: of the same block, as well known."""
        return self.places is origin.places and (self.raws is None) == (raw is None)

    def _raws_of(self, indices: Sequence[int]) -> list[bytes]:
        assert self.raws is not None
        known = dict(zip(self.indices, self.raws, strict=True))
        return [known[index] for index in indices]

    def raw_records(self) -> Sequence[bytes] | None:
        """The raw bytes of each record, where they are known."""
        if self.raws is None and self.whole is not None:
            return self.places.raws()
        return self.raws

    @property
    def size(self) -> int:
        """What it counts in a channel: its raw bytes, and the bytes of text in changed records."""
        if self.whole is not None:
            return len(self.whole.data)
        raw = sum(map(len, self.raws or ()))
        return raw if self.copies else raw + size_of(self.records or ())

    def encoded(self, separator: bytes, terminator: bytes) -> bytes:
        """The records as the sink writes them, copied from their raw bytes.

        The separator precedes each record, the terminator ends each.
        """
        assert self.copies is not None
        if self.whole is not None:
            data = self.whole.data if self.copies.block is None else self.copies.block(self.whole)
            ended = data if data.endswith(terminator) else data + terminator
            return separator + ended if separator else ended
        raws = self.raws or ()
        if self.copies.record is not None:
            raws = list(map(self.copies.record, raws))
        return b"".join([separator + raw + terminator for raw in raws])

    def at(self, position: int) -> InFlight:
        """Where the record at a position came from, and its raw bytes."""
        index = self.indices[position] if position < len(self.indices) else self.count - 1
        return InFlight(self.places.of(index), self.raw_of(position))

    def raw_of(self, position: int) -> bytes | None:
        """The raw bytes that the record at a position came from, where they are known."""
        raws = self.raw_records()
        return raws[position] if raws is not None and 0 <= position < len(raws) else None


def validated(given: SourceBlock) -> Batch:
    """The batch of a block whose records no step reads: all validated, none decoded."""
    block = given.block
    count = given.origin.decoder.count_valid(block)
    if count < 0:
        return _one_by_one(given, keep=False)
    given.count = count
    return Batch(given.places, None, None, range(count), count, block, given.copies)


def decoded(given: SourceBlock) -> Batch:
    """The batch of a block, all of its records decoded."""
    raws, decode = list(given.rows.raws), given.rows.decode
    try:
        records = list(map(decode, raws))
    except Exception:  # whatever it was, the careful way finds the record and says why
        return _one_by_one(given, keep=True)
    count = len(raws)
    return Batch(given.places, records, raws, range(count), count, given.block, given.copies)


def _one_by_one(given: SourceBlock, *, keep: bool) -> Batch:
    """The same for a block with bad records, or with raw bytes that hold none."""
    decoder = given.origin.decoder
    good: list[bytes] = []
    records: list[Any] = []
    indices: list[int] = []
    faults: list[Fault] = []
    count = 0
    for raw in given.rows.raws:
        try:
            if keep:
                records.append(decoder.decode(raw))
            else:
                decoder.validate(raw)
        except NoRecord:
            continue
        except BadRecord as error:
            faults.append(Fault(count, error, raw))
        else:
            good.append(raw)
            indices.append(count)
        count += 1
    given.count = count
    kept = records if keep else None
    return Batch(given.places, kept, good, indices, count, None, given.copies, faults)


NUMBERED = Batch(Places(None, None, 1), None, None, (), 0)
"""Stands for the block of records of which only their order is known."""


def size_of(records: Sequence[Any]) -> int:
    """The bytes of text and binary data in records, or one level down in them.

    Of more than three records three are looked at. Everything else counts nothing.
    """
    count = len(records)
    if count <= SAMPLED:
        return sum(map(_size, records))
    sample = (records[0], records[count // 2], records[-1])
    return sum(map(_size, sample)) * count // SAMPLED


def _size(record: Any) -> int:
    kind = record.__class__
    if kind in _SIZED:
        return len(record)
    if kind is dict:
        return sum(len(value) for value in record.values() if value.__class__ in _SIZED)
    if kind is tuple or kind is list:
        return sum(len(value) for value in record if value.__class__ in _SIZED)
    return 0


_SIZED = frozenset((bytes, str, bytearray))
