"""Batch: the records of a block with what is known of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from typing import Any

from paipa_etl.formats.blocks import BLANK, Block

SAMPLED = 3  # records of which a batch's size is worked out


@dataclass(slots=True, eq=False)
class BadLine:
    """A record of a block that could not be decoded: its place in the block, and why."""

    index: int
    problem: str
    raw: bytes


@dataclass(slots=True, eq=False)
class Batch:
    """Records, their raw lines, or both; and where they came from.

    ``records`` is None where no step reads them: then the raw lines are the records.
    ``lines`` are the records' raw lines, where they are split already; ``whole`` says
    that the raw lines are the block's own bytes. ``indices`` are the places of the
    records in their block, counting good and bad ones and no blank lines: number and
    offset of one are worked out from it when an error asks, never before.
    """

    block: Block
    records: list[Any] | None
    lines: list[bytes] | None
    indices: Sequence[int]
    count: int
    """How many records the block held, good and bad."""
    whole: bool = False
    bad: list[BadLine] = field(default_factory=list)
    source: object = None
    """The input that the block is from, whose ``str`` names it."""
    first: int = 1
    """The number of the block's first record in its input, from 1."""

    def __len__(self) -> int:
        return len(self.indices)

    def keep(self, flags: Sequence[object]) -> Batch:
        """The batch with only the records whose flag is true."""
        return self if all(flags) else self._chosen(lambda items: list(compress(items, flags)))

    def part(self, start: int, stop: int | None = None) -> Batch:
        """The batch with only a slice of its records."""
        if not start and (stop is None or stop >= len(self.indices)):
            return self
        if self.lines is None and not self.whole and self.records is not None:
            return self.made(self.records[start:stop], self.indices[start:stop])
        return self._chosen(lambda items: items[start:stop])

    def before_bad(self) -> Batch:
        """The good records that stand before the first bad one."""
        first = self.bad[0].index
        return self.part(0, sum(1 for index in self.indices if index < first))

    def _chosen(self, choose: Callable[[Any], Any]) -> Batch:
        lines = self.block.lines() if self.whole and self.lines is None else self.lines
        return Batch(
            self.block,
            None if self.records is None else choose(self.records),
            None if lines is None else choose(lines),
            choose(self.indices),
            self.count,
            source=self.source,
            first=self.first,
        )

    def light(self, raw: bool) -> Batch:
        """The batch without its block, which one record left of it would keep in memory."""
        block = self.block if isinstance(self.block, Offsets) else Offsets(self.block)
        lines = self.block.lines() if self.lines is None else self.lines
        return Batch(
            block,
            self.records,
            lines if raw else None,
            self.indices,
            self.count,
            source=self.source,
            first=self.first,
        )

    def made(self, records: list[Any], indices: Sequence[int]) -> Batch:
        """What a step has made of the records with these indices: raw lines no more."""
        return Batch(
            self.block, records, None, indices, self.count, False, [], self.source, self.first
        )

    def raw(self) -> bytes:
        """The raw bytes of the records, each ended by a newline."""
        if self.whole:
            return self.block.data if self.block.data.endswith(b"\n") else self.block.data + b"\n"
        return b"\n".join([*(self.lines or ()), b""])

    def place(self, position: int) -> str:
        """Where the record at a position came from, for a message."""
        index = self.indices[position] if position < len(self.indices) else self.count - 1
        return self.place_of(index)

    def place_of(self, index: int) -> str:
        """Where the block's record with this index (bad ones counted) came from."""
        if self.source is None:
            return f"record {self.first + index:,}"
        return (
            f"record {self.first + index:,} of {self.source} (byte {self.block.offset_of(index):,})"
        )


class Offsets(Block):
    """What is left of a block without its bytes: where in the stream each record began."""

    __slots__ = ("_offsets",)

    def __init__(self, block: Block) -> None:
        Block.__init__(self, b"", block.offset, block.oversize, block.blanks_count)
        lines = block.lines()
        starts = accumulate(
            map(len, lines), lambda start, size: start + size + 1, initial=block.offset
        )
        wanted = (block.blanks_count or line.strip(BLANK) for line in lines)
        self._offsets = array("q", compress(starts, wanted))

    def offset_of(self, index: int) -> int:
        """The offset of the record with this index in the decoded stream."""
        return self._offsets[index]


NUMBERED = Batch(Block(b"", 0), None, None, (), 0)
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
