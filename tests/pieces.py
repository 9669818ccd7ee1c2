"""Inputs that come in pieces, cut wherever a test likes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable


class Pieces(io.RawIOBase):
    """A file object that gives its pieces one by one."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def read(self, size: int = -1) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def split(data: bytes, at: Iterable[int]) -> list[bytes]:
    """The data, cut at these offsets (of one too large, what is left behind its length)."""
    edges = [0, *sorted(n % (len(data) + 1) for n in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def of_size(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]
