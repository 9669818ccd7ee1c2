"""Pieces: decoded bytes of an input on their way to a reader, with the points to decode from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from paipa_etl.codecs.members import Restart
from paipa_etl.location import Location
from paipa_etl.records.blocks import Position

RESTART_SIZE = 128  # bytes of memory that a restart point takes
MOST_RESTARTS = 16_384  # 2 MiB


class Input:
    """One opened input: what messages call it; the same location twice is two of them."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def __str__(self) -> str:
        return str(self.location)


class Piece(NamedTuple):
    """Decoded bytes of an input, and the restart points that became known with them.

    ``restarts`` is None where decoding may start anywhere, as the input is not encoded.
    """

    source: Input
    data: bytes
    restarts: list[Restart] | None


def size_of_piece(piece: Piece) -> int:
    """The bytes that a piece counts while it is read ahead."""
    return len(piece.data) + RESTART_SIZE * len(piece.restarts or ())


class Restarts:
    """The restart points of the pieces that are not in blocks yet, and the last one before them.

    Keeps ``MOST_RESTARTS``: of more, which only many tiny members in one huge record have,
    every other one is dropped, so that a block may be given an earlier one than necessary.
    """

    def __init__(self) -> None:
        self._points: deque[Restart] = deque()

    def passing(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        """The bytes of the pieces, noting their restart points."""
        for piece in pieces:
            self._points.extend(piece.restarts or ())
            if len(self._points) > MOST_RESTARTS:
                self._points = deque(islice(self._points, 0, None, 2))
            yield piece.data

    def complete(self, position: Position, line: int) -> Position:
        """The position of a block with its restart point and its line; blocks ascend."""
        while len(self._points) > 1 and self._points[1].decoded <= position.offset:
            self._points.popleft()
        anywhere = Restart(position.offset, position.offset)
        encoded, decoded = self._points[0] if self._points else anywhere
        return Position(encoded, decoded, position.offset, line, position.state)
