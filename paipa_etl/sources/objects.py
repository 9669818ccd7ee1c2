"""The caller's own file objects (anything with ``read(n)``, never closed) and bytes in memory."""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Generator
from typing import Any

from paipa_etl.errors import InputError, PlanError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sources import ReadStore, always
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import TRIP, Readiness, file_descriptor
from paipa_etl.stores.file_objects import (
    NotReady,
    Patience,
    bytes_missing,
    failures,
    is_codec_over_nonblocking,
    wanted_by_tls,
)
from paipa_etl.stores.port import Entry


def pieces(location: Location, run: Run, options: StoreOptions) -> Generator[bytes, None, None]:
    """What a file object gives until its end; short reads are fine.

    ``None`` says that there is nothing yet (a non-blocking raw file). It is waited for on the
    object's descriptor; without one, it is an ``InputError``. ``b""`` is the end, but for a
    buffered reader over a non-blocking descriptor, whose ``read`` tells the two apart. An HTTP
    body that ends before its last byte is an ``InputError`` too.
    """
    reader = _Reader(location)
    patience = Patience(location.file, run.stops.reading)
    while True:
        try:
            piece = reader.read()
        except NotReady as nothing:
            ready = patience.readiness(nothing.event)
            if ready is None:
                problem = "has nothing yet (it is non-blocking), and no descriptor to wait on"
                raise InputError(f"{location} {problem}") from None
            yield from ready.silence()
            continue
        patience.progress()
        if not piece:
            break
        yield piece
    left = bytes_missing(location.file)
    if left:
        problem = f"was cut {left:,} bytes before its end, as counted from its Content-Length"
        raise InputError(f"{location} {problem}")


class _Reader:
    """Reads a file object; raises ``NotReady`` where there is nothing yet."""

    def __init__(self, location: Location) -> None:
        self._location, self._file = location, location.file
        if not callable(getattr(self._file, "read", None)):
            raise PlanError(f"{location} cannot be read: it has no read(n)")
        if isinstance(self._file, io.TextIOBase):
            raise self._text()
        if is_codec_over_nonblocking(self._file):
            problem = "decompresses a non-blocking file, which it cannot wait for: give that file"
            raise PlanError(f"{location} {problem} itself, its codec is found by its first bytes")
        # The standard library's buffered readers wait in read() until they have all of n bytes.
        buffered = isinstance(self._file, io.BufferedIOBase)
        self._read = self._file.read1 if buffered else self._file.read
        self._is_ambiguous = isinstance(self._file, io.BufferedReader)
        self._is_io = self._is_ambiguous or isinstance(self._file, io.RawIOBase)

    def read(self) -> bytes:
        """The next bytes; none at the end."""
        piece = self._call(self._read, TRIP)
        if not piece and self._is_ambiguous:
            return self._settled()
        return piece

    def _settled(self) -> bytes:
        """What ``b""`` from ``read1`` means: the end, or nothing yet."""
        descriptor = file_descriptor(self._file)
        if descriptor is not None:
            if self._is_pipe(descriptor):
                # The blocking mode is no evidence: another process may have changed it since the
                # read. Readiness is no evidence of the end either: bytes may have arrived since
                # the read. A read of a ready pipe returns at once and decides.
                if not Readiness(descriptor, select.POLLIN).wait(0):
                    raise NotReady(select.POLLIN)
            elif os.get_blocking(descriptor):
                return b""
        return self._call(self._file.read, 1)  # of an empty buffer: None, or the end, or a byte

    def _is_pipe(self, descriptor: int) -> bool:
        if not isinstance(self._file.raw, io.FileIO):
            return False
        mode = os.fstat(descriptor).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def _call(self, read: Any, size: int) -> bytes:
        try:
            piece = read(size)
        except failures() as error:
            event = wanted_by_tls(error) if self._is_io else None
            if event is not None:
                raise NotReady(event) from None
            raise InputError(f"{self._location}: {str(error) or type(error).__name__}") from error
        if piece is None:
            raise NotReady(select.POLLIN)
        if isinstance(piece, str):
            raise self._text()
        if type(piece) is bytes:
            return piece
        try:
            return bytes(memoryview(piece))
        except TypeError:
            kind = type(piece).__name__
            raise PlanError(f"{self._location}: read(n) gives {kind}, not bytes") from None

    def _text(self) -> PlanError:
        return PlanError(f"{self._location} gives text: open it in binary mode")


def bytes_pieces(
    location: Location, run: Run, options: StoreOptions
) -> Generator[bytes, None, None]:
    """Bytes in memory."""
    view = memoryview(location.file).cast("B")
    for start in range(0, len(view), TRIP):
        yield bytes(view[start : start + TRIP])


def bytes_stat(location: Location, run: Run, options: StoreOptions) -> Entry:
    """How many bytes there are."""
    return Entry(location, memoryview(location.file).nbytes)


BYTES_IN_MEMORY = ReadStore(bytes_pieces, bytes_stat)
FILES = ReadStore(pieces, once=always)
