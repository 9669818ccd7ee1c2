"""Cutting a stream of pieces into blocks that end on a newline, whatever the pieces are."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK = 1 << 17  # about this many bytes a block: large enough for C speed, small for the cache
DECODED_BLOCK = 1 << 15  # where records are made of it: they take ten times its room in the cache
MAX_RECORD = 64 << 20
BLANK = b" \t\r"


@dataclass(slots=True, eq=False)
class Block:
    """Whole lines of one input, and the offset of their first byte in its decoded stream.

    An empty block says that the input is silent for now: what was read may be shown.
    ``oversize`` marks the head of a line that is longer than a record may be.
    """

    data: bytes
    offset: int
    oversize: bool = False
    blanks_count: bool = False
    """Whether a blank line is a record."""

    def lines(self) -> list[bytes]:
        """The lines, without their newlines."""
        return split_lines(self.data)

    def offset_of(self, index: int) -> int:
        """The offset of the record with this index in the decoded stream."""
        offset = self.offset
        if self.oversize:  # one record, of which only the head is here
            return offset
        for line in self.lines():
            if self.blanks_count or line.strip(BLANK):
                if not index:
                    return offset
                index -= 1
            offset += len(line) + 1
        return offset


def split_lines(data: bytes) -> list[bytes]:
    """The lines of some bytes, without their newlines."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def cut_lines(
    pieces: Iterable[bytes], max_record: int, size: int = BLOCK, *, blanks_count: bool = False
) -> Iterator[Block]:
    """Yield blocks of whole lines; keeps one block, or one line up to ``max_record`` bytes.

    An empty piece is passed on as an empty block. A longer line gives one block
    marked ``oversize`` as soon as it is known to be one, and is read past.
    """
    cutter = _LineCutter(max_record, size, blanks_count)
    for piece in _without_mark(pieces, cutter):
        if piece:
            yield from cutter.cut(piece)
        else:
            yield Block(b"", cutter.offset)
    yield from cutter.finish()


def _without_mark(pieces: Iterable[bytes], cutter: _LineCutter) -> Iterator[bytes]:
    """The pieces without a byte order mark at their start, however small they are."""
    pieces = iter(pieces)
    head = b""
    for piece in pieces:
        head += piece
        if not piece or (len(head) < len(BOM_UTF8) and BOM_UTF8.startswith(head)):
            yield b""
            continue
        if head.startswith(BOM_UTF8):
            head, cutter.offset = head[len(BOM_UTF8) :], len(BOM_UTF8)
        break
    if head:
        yield head
    yield from pieces


class _LineCutter:
    """What is held between two pieces: the beginning of a line, or that one is read past."""

    def __init__(self, max_record: int, size: int, blanks_count: bool) -> None:
        self.offset = 0
        self._max_record = max_record
        self._size = min(size, max_record + 1)
        self._held: list[bytes] = []
        self._held_size = 0
        self._passing = False
        self._blanks_count = blanks_count

    def cut(self, piece: bytes) -> Iterator[Block]:
        start = self._end_of_line(piece) if self._passing else 0
        while start < len(piece):
            room = max(self._size - self._held_size, 0)
            end = piece.rfind(b"\n", start, start + room) + 1 or piece.find(b"\n", start + room) + 1
            if not end:
                self._hold(piece[start:])
                break
            self._hold(piece[start:end])
            yield self._take()
            start = end
        if self._held_size > self._max_record:
            yield self._take()
            self._passing = True

    def _end_of_line(self, piece: bytes) -> int:
        end = piece.find(b"\n") + 1
        self._passing = not end
        self.offset += end or len(piece)
        return end or len(piece)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)

    def _take(self) -> Block:
        """The held bytes as a block; only the head of them, when they are one line too long."""
        held, size = self._held, self._held_size
        self._held, self._held_size = [], 0
        oversize = size - held[-1].endswith(b"\n") > self._max_record
        data = held[0][:1024] if oversize else held[0] if len(held) == 1 else b"".join(held)
        block = Block(data, self.offset, oversize, self._blanks_count)
        self.offset += size
        return block

    def finish(self) -> Iterator[Block]:
        if self._held:
            yield self._take()
