"""The loop of a block task in plain Python: decode, call, encode and append, record by record.

``_fill.pyx`` is the same, compiled; ``fill.py`` is the one that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from paipa_etl.errors import BadRecord

Call = Callable[[Any], Any]
Failed = Callable[[Exception], None]


class Piece(NamedTuple):
    """Encoded records, and how many they are."""

    data: bytearray
    records: int


class Filling:
    """The piece that grows; it is full once it has ``limit`` bytes or more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._count = 0

    def take(self) -> Piece:
        """Hand out the piece and begin another."""
        piece = Piece(self._data, self._count)
        self._data, self._count = bytearray(), 0
        return piece

    def add(self, before: bytes, line: bytes, after: bytes) -> bool:
        """Append a record; whether the piece is full."""
        self._data += before
        self._data += line
        self._data += after
        self._count += 1
        return len(self._data) >= self._limit


class Loop(NamedTuple):
    """What is done with each raw record; each of the functions is called with one argument.

    ``decode`` gives a record; where it raises an ``Exception``, ``decode_slowly`` gives one, or
    ``gone`` where there is none. ``call`` is made on it and gives ``gone`` where the record is
    dropped; ``failed`` gets what it raises. ``encode`` gives the bytes of the result, or is None
    where the raw bytes are written; ``unencodable`` gets the ``BadRecord`` that it raises. What
    stands ``before`` and ``after`` each record is appended too.
    """

    decode: Call
    decode_slowly: Call
    call: Call
    failed: Failed
    encode: Callable[[Any], bytes] | None
    unencodable: Callable[[BadRecord], None]
    before: bytes
    after: bytes
    gone: object


def fill(loop: Loop, rows: Iterator[bytes], filling: Filling, first: Call) -> bool:
    """Append what becomes of each raw record; True when the piece is full, False at the end.

    ``first`` is called in place of ``call`` on the first record that there is. What the
    functions for failures raise is raised.
    """
    decode, decode_slowly, rest, failed, encode, unencodable, before, after, gone = loop
    call = first
    for raw in rows:
        try:
            record = decode(raw)
        except Exception:
            record = decode_slowly(raw)
            if record is gone:
                continue
        try:
            record = call(record)
        except Exception as error:
            failed(error)
            continue
        call = rest
        if record is gone:
            continue
        try:
            line = raw if encode is None else encode(record)
        except BadRecord as error:
            unencodable(error)
            continue
        if filling.add(before, line, after):
            return True
    return False
