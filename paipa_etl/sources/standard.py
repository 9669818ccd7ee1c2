"""Open descriptors: standard input, and names of descriptors such as ``/dev/fd/3``."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager

from paipa_etl.errors import InputError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sources import ReadStore, always
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import STDIN, borrowed, read_pieces
from paipa_etl.stores.port import Entry


@contextmanager
def reading(location: Location) -> Generator[None, None, None]:
    """Turn the system's errors into ours, which name the location."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{location}: {error.strerror or error}") from error


def descriptor_pieces(location: Location, number: int, run: Run) -> Generator[bytes, None, None]:
    """The bytes from a descriptor's offset on, as they come; the descriptor stays open."""
    with reading(location):
        descriptor = borrowed(number, writing=False)
    try:
        with reading(location):
            yield from read_pieces(descriptor, run.stops.reading)
    finally:
        os.close(descriptor)


def descriptor_stat(location: Location, number: int) -> Entry:
    """The bytes behind the offset, and the time of the last change, if it is a regular file."""
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return Entry(location)
        left = max(status.st_size - os.lseek(number, 0, os.SEEK_CUR), 0)
    except OSError:
        return Entry(location)
    return Entry(location, left, f"{status.st_mtime_ns}", status.st_mtime)


def pieces(location: Location, run: Run, options: StoreOptions) -> Generator[bytes, None, None]:
    """The bytes of standard input, as they come."""
    yield from descriptor_pieces(location, STDIN, run)


def stat_input(location: Location, run: Run, options: StoreOptions) -> Entry:
    """The size of standard input, if it is a file."""
    return descriptor_stat(location, STDIN)


STORE = ReadStore(pieces, stat_input, once=always)
