"""Blocks: pieces of one input that end on a record boundary, and the reader that cuts lines."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

BLOCK = 1 << 17  # about this many bytes a block: large enough for C speed, small for the cache
DECODED_BLOCK = 1 << 15  # where records are made of it: they take ten times its room in the cache
MAX_RECORD = 64 << 20
HEAD = 1024  # bytes that are kept of a record that is longer than a record may be


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes: the largest record, and about how large a block is."""

    max_record: int = MAX_RECORD
    block: int = BLOCK


@dataclass(frozen=True, slots=True)
class Position:
    """Where a block begins in its input; all of it is known before the block is decoded.

    A decoder that starts at byte ``encoded`` of the encoded input gives the decoded bytes
    from ``restart`` on; those before ``offset`` are to be discarded. ``state`` is the state
    of the reader as of the first byte of the block; it is frozen and can be pickled.
    """

    encoded: int = 0
    restart: int = 0
    offset: int = 0
    """Decoded bytes of the input before the block."""
    line: int = 1
    """The number of the physical line in which the block begins."""
    state: Any = None


@dataclass(slots=True, eq=False)
class Block:
    """Whole records of one input as bytes, and where they begin.

    An empty block says that the input is silent for now: what was read may be shown.
    """

    data: bytes
    position: Position
    context: Any = None
    """What the format's decoder needs beside the bytes, such as column names; can be pickled."""
    oversize: bool = False
    """Whether this is the head of one record that is longer than a record may be."""
    skipped_lines: int = 0
    """Physical lines before it that are in no block: of a header, of the rest of a long record."""


def split_lines(data: bytes) -> list[bytes]:
    """The lines of some bytes, without their newlines."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


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
        for piece in pieces if self._offset else self._without_mark(pieces):
            if piece:
                yield from self._cut(piece)
            else:
                yield self._block(b"")
        if self._held:
            yield self._take()

    def _without_mark(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces without a byte order mark at their start, however small they are."""
        pieces = iter(pieces)
        head = b""
        for piece in pieces:
            head += piece
            if not piece or (len(head) < len(BOM_UTF8) and BOM_UTF8.startswith(head)):
                yield b""
                continue
            if head.startswith(BOM_UTF8):
                head, self._offset = head[len(BOM_UTF8) :], len(BOM_UTF8)
            break
        if head:
            yield head
        yield from pieces

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
