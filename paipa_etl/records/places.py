"""Places: which input the records of a block are from, and where in it each of them is."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from paipa_etl.failures import Place
from paipa_etl.records.blocks import Block, Copy, Decoder, Rows


@dataclass(frozen=True, slots=True)
class Origin:
    """The input that blocks are from (its ``str`` names it), and the decoder of its records."""

    source: object
    decoder: Decoder


@dataclass(slots=True, eq=False)
class SourceBlock:
    """A block, its input, and the number of its first record; ``rows`` is worked out once.

    ``count`` is how many records it holds, good and bad: whoever finds raw bytes that hold
    no record subtracts them, before the next block is asked for. A block without rows
    says that the input is silent.
    """

    block: Block
    origin: Origin
    first: int
    copies: Copy | None = None
    """How the sink writes untouched records from their raw bytes; None where it encodes them."""
    count: int = 0
    _rows: Rows | None = None

    @property
    def rows(self) -> Rows:
        """Its records as raw bytes, and their fast decoder."""
        if self._rows is None:
            self._rows = self.origin.decoder.rows(self.block)
            self.count = len(self._rows.raws)
        return self._rows

    @property
    def places(self) -> Places:
        """Where its records are."""
        return Places(self.origin, self.block, self.first)

    @property
    def physical_lines(self) -> int:
        """How many lines of the input it is; asked for when all of its records are done."""
        if self.block.tape is not None:
            return self.block.data.count(b"\n")
        if self.origin.decoder.rows_are_lines:
            return self.count if self._rows is None else len(self._rows.raws)
        return count_lines(self.block.data)


def no_records(block: SourceBlock) -> int:
    """A block counts as no record for whoever times it: its records are counted one by one."""
    return 0


class Places:
    """Where the records of one block are; ``first`` is the number of its first record.

    Keeps the block, until ``light`` gives the same without the bytes.
    """

    __slots__ = ("_block", "_lines", "_origin", "_starts", "first")

    def __init__(self, origin: Origin | None, block: Block | None, first: int) -> None:
        self._origin, self._block, self.first = origin, block, first
        self._starts: Sequence[int] | None = None
        self._lines: Sequence[int] | None = None

    def light(self) -> Places:
        """The same without the bytes of the block; keeps 8 bytes for each record, or 16."""
        if self._block is None or self._origin is None or not self._block.data:
            return self
        block, light = self._block, Places(self._origin, None, self.first)
        light._block = Block(b"", block.position, oversize=block.oversize)
        light._starts = self._origin.decoder.starts(block)
        if not self._origin.decoder.rows_are_lines or len(light._starts) != count_lines(block.data):
            light._lines = lines_of(block.data, light._starts)
        return light

    def raws(self) -> list[bytes]:
        """The raw bytes of each record of a block without bad records or blank lines."""
        assert self._origin is not None
        assert self._block is not None
        return list(self._origin.decoder.rows(self._block).raws)

    def of(self, index: int) -> Place:
        """The place of the block's record with this index (bad ones count)."""
        if self._origin is None or self._block is None:
            return Place(self.first + index)
        position = self._block.position
        start, line = (0, 0) if self._block.oversize else self._within(index)
        return Place(
            self.first + index,
            str(self._origin.source),
            position.line + line,
            position.offset + start,
        )

    def _within(self, index: int) -> tuple[int, int]:
        """The byte and the line of the block at which a record begins, both from 0."""
        assert self._origin is not None
        assert self._block is not None
        data = self._block.data
        starts = self._origin.decoder.starts(self._block) if self._starts is None else self._starts
        start = starts[index] if index < len(starts) else len(data)
        if data:
            return start, data.count(b"\n", 0, start)
        return start, index if self._lines is None else self._lines[index]


def count_lines(data: bytes) -> int:
    """How many physical lines some bytes are; the last one may have no newline."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def lines_of(data: bytes, starts: Sequence[int]) -> array[int]:
    """How many newlines stand before each of the starts, which ascend."""
    lines, line = array("q"), 0
    for before, start in pairwise((0, *starts)):
        line += data.count(b"\n", before, start)
        lines.append(line)
    return lines
