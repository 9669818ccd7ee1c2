"""Connections of urllib3 that count transferred bytes and bound the head of an answer.

``http.client`` bounds a head to 100 lines of 64 KiB; the other bounds are here.
"""

from __future__ import annotations

import re
from http.client import (
    BadStatusLine,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    LineTooLong,
)
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from paipa_etl.stores.pace import moved

INTERIM = 20  # answers before the one that counts: 100 Continue, 103 Early Hints
LINE = 1 << 13  # bytes of a line between chunks, the most
LINES = 100  # of the trailers, the most
SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
PIECE = 1 << 14  # bytes that are sent at a time


class Answer(HTTPResponse):
    """An answer; a limited number of interim answers before it is skipped."""

    _heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > INTERIM:
            raise BadStatusLine("too many interim answers")
        return super()._read_status()  # type: ignore[misc, no-any-return]

    def begin(self) -> None:
        """Read the head; ``http.client`` itself leaves out 100 only."""
        super().begin()
        while 100 < self.status < 200 and self.status != 101:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()

    def read(self, amt: int | None = None) -> bytes:
        """Read so many bytes of the body; called by a library that reads it all by itself."""
        data = super().read(amt)
        moved(len(data))
        return data

    def read1(self, n: int = -1) -> bytes:
        """Read what has come; of a chunked body, so much of a chunk, or the rest of it."""
        if not self.chunked or self.fp is None:
            return super().read1(n)
        self.chunk_left = self.chunk_left or self._next_chunk()
        wanted = min(self.chunk_left, n) if n >= 0 else self.chunk_left
        data = bytearray()
        while len(data) < wanted:
            piece = self.fp.read1(wanted - len(data))
            if not piece:
                raise IncompleteRead(b"")
            moved(len(piece))
            data += piece
        self.chunk_left -= wanted
        return bytes(data)

    def _next_chunk(self) -> int:
        """The size of the next chunk, from its line; 0 behind the last one.

        ``http.client`` takes a line that was cut for a whole one.
        """
        if self.chunk_left is not None:
            self._line()
        digits = self._line().partition(b";")[0].strip()
        if not SIZE.fullmatch(digits):
            raise IncompleteRead(b"")
        size = int(digits, 16)
        lines = 0
        while size == 0 and self._line() not in (b"\r\n", b"\n"):
            lines += 1
            if lines > LINES:
                raise HTTPException("too many trailers")
        return size

    def _line(self) -> bytes:
        """A line of what frames the chunks."""
        line: bytes = self.fp.readline(LINE + 1)
        if len(line) > LINE:
            raise LineTooLong("of a chunk")
        if not line.endswith(b"\n"):
            raise IncompleteRead(b"")
        return line


class Sending:
    """Sends piece by piece, so that the timeout applies to each piece."""

    def send(self, data: Any) -> None:
        """Send bytes, or what a file gives."""
        if not isinstance(data, (bytes, bytearray, memoryview)) or len(data) <= PIECE:
            super().send(data)  # type: ignore[misc]
            moved(len(data) if hasattr(data, "__len__") else 0)
            return
        for start in range(0, len(data), PIECE):
            piece = memoryview(data)[start : start + PIECE]
            super().send(piece)  # type: ignore[misc]
            moved(len(piece))


class Connection(Sending, HTTPConnection):
    """A connection of http."""

    response_class = Answer


class SecureConnection(Sending, HTTPSConnection):
    """A connection of https."""

    response_class = Answer


class Pool(HTTPConnectionPool):
    """Connections of http to one host."""

    ConnectionCls = Connection


class SecurePool(HTTPSConnectionPool):
    """Connections of https to one host."""

    ConnectionCls = SecureConnection


POOLS = {"http": Pool, "https": SecurePool}
