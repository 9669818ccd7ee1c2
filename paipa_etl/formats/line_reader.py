"""What formats with one record a line share: the reader that cuts lines, and where lines begin."""

from __future__ import annotations

from array import array
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, compress

from paipa_etl.records.blocks import HEAD, Block, Limits, Position

BLANK = b" \t\r"


def split_lines(data: bytes) -> list[bytes]:
    """The lines of some bytes, without their newlines."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def starts_of_lines(data: bytes, *, blanks_count: bool) -> array[int]:
    """The byte at which each line begins; without the blank lines, where they do not count."""
    lines = split_lines(data)
    starts = accumulate(map(len, lines), lambda start, size: start + size + 1, initial=0)
    return array("q", compress(starts, (blanks_count or line.strip(BLANK) for line in lines)))


def without_mark(pieces: Iterable[bytes], passed: Callable[[int], None]) -> Iterator[bytes]:
    """The pieces without a byte order mark at their start, however small they are.

    ``passed`` is called with the size of the mark, if there is one.
    """
    pieces = iter(pieces)
    head = b""
    for piece in pieces:
        head += piece
        if not piece or (len(head) < len(BOM_UTF8) and BOM_UTF8.startswith(head)):
            yield b""
            continue
        if head.startswith(BOM_UTF8):
            head = head[len(BOM_UTF8) :]
            passed(len(BOM_UTF8))
        break
    if head:
        yield head
    yield from pieces


class LineReader:
    """Cuts one input into blocks of whole lines; keeps one block, or one line up to the limit.

    A byte order mark at the start of the input is left out. A line that is longer than
    ``limits.max_record`` gives one block marked ``oversize`` as soon as the length is
    known, and the rest of the line is passed over. ``at`` is the position of a block
    where an earlier reading of the same input ended.
    """

    def __init__(self, limits: Limits, at: Position | None = None) -> None:
        self._max_record = limits.max_record
        self._size = min(limits.block, limits.max_record + 1)
        self._offset = at.offset if at else 0
        self._held: list[bytes] = []
        self._held_size = 0
        self._passing = False

    def cut(self, pieces: Iterable[bytes]) -> Iterator[Block]:
        """Blocks of the decoded bytes; an empty piece is passed on as an empty block."""
        for piece in pieces if self._offset else without_mark(pieces, self._pass_mark):
            if piece:
                yield from self._cut(piece)
            else:
                yield self._block(b"")
        if self._held:
            yield self._take()

    def _pass_mark(self, size: int) -> None:
        """The input begins with a byte order mark of that many bytes."""
        self._offset += size

    def _cut(self, piece: bytes) -> Iterator[Block]:
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
        """How many bytes of a piece belong to the line that is passed over."""
        end = piece.find(b"\n") + 1
        self._passing = not end
        self._offset += end or len(piece)
        return end or len(piece)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)

    def _take(self) -> Block:
        """The held bytes as a block; only the head of them, when they are one line too long."""
        held, size = self._held, self._held_size
        self._held, self._held_size = [], 0
        oversize = size - held[-1].endswith(b"\n") > self._max_record
        data = held[0][:HEAD] if oversize else held[0] if len(held) == 1 else b"".join(held)
        block = self._block(data, oversize)
        self._offset += size
        return block

    def _block(self, data: bytes, oversize: bool = False) -> Block:
        return Block(data, Position(offset=self._offset), oversize=oversize)
