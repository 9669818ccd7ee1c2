"""S3, GCS, Azure, HTTP and SFTP, as sequential streams through smart_open."""

from __future__ import annotations

from collections.abc import Generator

from paipa_etl.errors import InputError
from paipa_etl.location import Location
from paipa_etl.sources import ReadStore, register
from paipa_etl.stop import Stop, Stopped
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import TRIP
from paipa_etl.stores.remote import failures_as, open_smart, waker


def pieces(location: Location, stop: Stop, options: StoreOptions) -> Generator[bytes, None, None]:
    """The bytes of a remote object, in order."""
    with (
        failures_as(InputError, location),
        open_smart(location, "rb", options) as file,
        stop.waking(waker(file)),
    ):
        while piece := file.read(TRIP):
            yield piece
            if stop.is_set:
                raise Stopped


register(ReadStore(("s3", "gs", "az", "http", "https", "sftp"), pieces))
