"""S3, GCS, Azure, HTTP, SFTP: in ranges that survive, or as smart_open streams them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from paipa_etl.errors import InputError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sources import ReadStore
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.descriptors import TRIP
from paipa_etl.stores.listing import matching
from paipa_etl.stores.port import Entry, ObjectReader, StoreFailure
from paipa_etl.stores.ranged import ranged
from paipa_etl.stores.remote import object_of, open_smart, told_as, waker
from paipa_etl.threads.collector import apart
from paipa_etl.threads.stop import Stopped

Bytes = Generator[bytes, None, None]


def pieces(location: Location, run: Run, options: StoreOptions) -> Bytes:
    """The bytes of a remote object, in order."""
    reader = object_of(location, options, run.clients)
    if reader is None:
        yield from stream(location, run, options)
    else:
        yield from ranged(reader, location, run, options)


def stream(location: Location, run: Run, options: StoreOptions) -> Bytes:
    """The bytes as smart_open streams them: in one request, which its client may repeat."""
    file = told_as(InputError, location, partial(open_smart, location, "rb", options, run.clients))
    try:
        with run.stops.reading.waking(waker(file)):
            while piece := told_as(InputError, location, partial(file.read, TRIP)):
                yield piece
                if run.stops.reading.is_set:
                    raise Stopped
    finally:
        apart(partial(_close, file))


def _close(file: Any) -> None:
    with suppress(Exception):  # what was read of it is read
        file.close()


def stat(location: Location, run: Run, options: StoreOptions) -> Entry:
    """What the store tells of one object."""
    reader = object_of(location, options, run.clients)
    if reader is None:
        return Entry(location)
    attempts = Attempts(location, options, run.clients, run.stops.reading, InputError)
    found: Entry = attempts.call(reader.stat)
    return found


def expand(location: Location, run: Run, options: StoreOptions) -> Iterable[Entry]:
    """What a wildcard stands for, sorted, a page of the listing in memory; never nothing.

    An object of that very name overrules it: names may hold wildcards.
    """
    lister = object_of(location, options, run.clients) if location.is_glob else None
    if lister is None:
        return (Entry(location),)
    attempts = Attempts(location, options, run.clients, run.stops.reading, InputError)
    itself: Entry | None = attempts.call(partial(found, lister))
    if itself:
        return (itself,)
    return matching(lister, location, options, run.clients, run.stops.reading)


def found(reader: ObjectReader) -> Entry | None:
    """What there is of a name; None where there is nothing, or a folder."""
    try:
        return reader.stat()
    except StoreFailure as failure:
        if failure.retryable:
            raise
        return None


STORE = ReadStore(pieces, stat, expand)
