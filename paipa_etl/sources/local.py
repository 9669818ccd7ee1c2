"""Local files: regular ones, FIFOs, devices; globs."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable
from contextlib import suppress

from paipa_etl.errors import InputError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.schemes import LOCAL
from paipa_etl.sources import ReadStore
from paipa_etl.sources.standard import descriptor_pieces, descriptor_stat, reading
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import named_descriptor, read_pieces
from paipa_etl.stores.port import Entry


def pieces(location: Location, run: Run, options: StoreOptions) -> Generator[bytes, None, None]:
    """The bytes of a file; of a FIFO, those that come while a writer has it open.

    A name of a descriptor is read through that descriptor, from its offset on.
    """
    number = named_descriptor(location.target)
    if number is not None:
        yield from descriptor_pieces(location, number, run)
        return
    with reading(location):
        # Without waiting: a FIFO would hold up the opening until it has a writer.
        descriptor = os.open(location.target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{location}: is a directory")
        if stat.S_ISREG(mode):
            advise_sequential(descriptor)
        with reading(location):
            yield from read_pieces(descriptor, run.stops.reading)
    finally:
        os.close(descriptor)


def advise_sequential(descriptor: int) -> None:
    """Have the kernel read far ahead, where it takes the hint."""
    with suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)


def stat_local(location: Location, run: Run, options: StoreOptions) -> Entry:
    """The size of a regular file, and the time it was last modified."""
    number = named_descriptor(location.target)
    if number is not None:
        return descriptor_stat(location, number)
    try:
        status = os.stat(location.target)
    except OSError:
        return Entry(location)
    if not stat.S_ISREG(status.st_mode):
        return Entry(location)
    return Entry(location, status.st_size, f"{status.st_mtime_ns}", status.st_mtime)


def expand(location: Location, run: Run, options: StoreOptions) -> Iterable[Entry]:
    """The files that a wildcard stands for, sorted; never none of them."""
    if not location.is_glob or os.path.lexists(location.target):
        return (Entry(location),)
    import glob

    found = sorted(glob.glob(location.target, recursive=True))
    files = [Entry(Location(LOCAL, path)) for path in found if not os.path.isdir(path)]
    if not files:
        raise InputError(f"{location}: no file matches")
    return files


def read_once(location: Location) -> bool:
    """Whether reading moves the offset of a descriptor that is not ours."""
    return named_descriptor(location.target) is not None


STORE = ReadStore(pieces, stat_local, expand, read_once)
