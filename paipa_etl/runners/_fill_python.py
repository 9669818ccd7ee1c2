"""The loop of a block task in plain Python: decode, call, encode and append, record by record.

``_fill.pyx`` is the compiled form of this module; ``fill.py`` exports whichever is installed.
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


class PieceBuilder:
    """Builds a piece record by record; the piece is full at ``limit`` bytes or more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._count = 0

    def take(self) -> Piece:
        """Return the piece and begin an empty one."""
        piece = Piece(self._data, self._count)
        self._data, self._count = bytearray(), 0
        return piece

    def add(self, before: bytes, line: bytes, after: bytes) -> bool:
        """Append a record; returns whether the piece is full."""
        self._data += before
        self._data += line
        self._data += after
        self._count += 1
        return len(self._data) >= self._limit


class RecordFunctions(NamedTuple):
    """The functions that ``fill`` calls for each record, each with one argument.

    ``decode`` takes raw bytes and returns a record. If it raises an ``Exception``,
    ``decode_slowly`` is called with the same bytes and returns a record, or ``gone`` for none.
    ``call`` takes a record and returns a record, or ``gone`` if the record is dropped; ``failed``
    is called with the exception that ``call`` raises. ``encode`` takes a record and returns
    bytes, or is None if the raw bytes are written, as ``copy`` gives them where it is not None;
    ``unencodable`` is called with the ``BadRecord`` that ``encode`` raises. The bytes ``before``
    and ``after`` surround each record.
    """

    decode: Call
    decode_slowly: Call
    call: Call
    failed: Failed
    encode: Callable[[Any], bytes] | None
    copy: Callable[[bytes], bytes] | None
    unencodable: Callable[[BadRecord], None]
    before: bytes
    after: bytes
    gone: object


def fill(
    functions: RecordFunctions, rows: Iterator[bytes], builder: PieceBuilder, first: Call
) -> bool:
    """Process raw records and append the results to a piece.

    Returns True when the piece is full and False when all rows are processed. ``first`` replaces
    ``call`` for the first record. Exceptions of the functions for failures pass through.
    """
    decode, decode_slowly, rest, failed, encode, copy, unencodable, before, after, gone = functions
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
            if encode is not None:
                line = encode(record)
            elif copy is not None:
                line = copy(raw)
            else:
                line = raw
        except BadRecord as error:
            unencodable(error)
            continue
        if builder.add(before, line, after):
            return True
    return False
