"""The caller's own file objects (anything with ``read(n)``, never closed) and bytes in memory."""

from __future__ import annotations

import io
from collections.abc import Generator

from paipa_etl.errors import InputError, PlanError
from paipa_etl.location import BYTES, OBJECT, Location
from paipa_etl.run import Run
from paipa_etl.sources import ReadStore, always, register
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import TRIP
from paipa_etl.stores.port import Entry


def pieces(location: Location, run: Run, options: StoreOptions) -> Generator[bytes, None, None]:
    """What ``read(n)`` gives until it gives nothing; short reads are fine."""
    file = location.file
    if not callable(getattr(file, "read", None)):
        raise PlanError(f"{location} cannot be read: it has no read(n)")
    # The standard library's buffered readers wait in read() until they have all of n bytes.
    read = file.read1 if isinstance(file, io.BufferedIOBase) else file.read
    while True:
        try:
            piece = read(TRIP)
        except OSError as error:
            raise InputError(f"{location}: {error}") from error
        if isinstance(piece, str):
            raise PlanError(f"{location} gives text: open it in binary mode")
        if not piece:
            return
        yield bytes(piece)


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


register(ReadStore((BYTES,), bytes_pieces, bytes_stat))
register(ReadStore((OBJECT,), pieces, once=always))
