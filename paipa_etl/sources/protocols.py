"""Protocols that are allowed by name, through fsspec."""

from __future__ import annotations

from collections.abc import Generator

from paipa_etl.errors import InputError
from paipa_etl.location import Location
from paipa_etl.sources import ReadStore, register
from paipa_etl.stop import Stop, Stopped
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import TRIP
from paipa_etl.stores.remote import FSSPEC_ALLOWED, failures_as, fsspec_of


def pieces(location: Location, stop: Stop, options: StoreOptions) -> Generator[bytes, None, None]:
    """The bytes of a file, in order."""
    with failures_as(InputError, location):
        filesystem, path = fsspec_of(location, options)
        with filesystem.open(path, "rb") as file:
            while piece := file.read(TRIP):
                yield piece
                if stop.is_set:
                    raise Stopped


register(ReadStore(FSSPEC_ALLOWED, pieces))
