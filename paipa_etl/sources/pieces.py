"""Pieces: decoded bytes of an input on their way to a reader, with the points to decode from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from paipa_etl.formats.blocks import Position
from paipa_etl.location import Location


class Input:
    """One opened input: what messages call it; the same location twice is two of them."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def __str__(self) -> str:
        return str(self.location)


class Piece(NamedTuple):
    """Decoded bytes of an input, and the restart point at or before them.

    ``restart`` is a byte of the encoded input and the decoded byte that a decoder started
    there gives first; None where decoding may start anywhere, as the input is not encoded.
    """

    source: Input
    data: bytes
    restart: tuple[int, int] | None


def size_of_piece(piece: Piece) -> int:
    """The bytes that a piece counts while it is read ahead."""
    return len(piece.data)


class Restarts:
    """The restart points of the pieces that are not in blocks yet; at most one for each piece."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, tuple[int, int] | None]] = deque()
        self._read = 0

    def passing(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        """The bytes of the pieces, noting their restart points."""
        for piece in pieces:
            if piece.data:
                self._points.append((self._read, piece.restart))
                self._read += len(piece.data)
            yield piece.data

    def complete(self, position: Position, line: int) -> Position:
        """The position of a block with its restart point and its line; blocks ascend."""
        while len(self._points) > 1 and self._points[1][0] <= position.offset:
            self._points.popleft()
        restart = self._points[0][1] if self._points else None
        encoded, decoded = restart or (position.offset, position.offset)
        return Position(encoded, decoded, position.offset, line, position.state)
