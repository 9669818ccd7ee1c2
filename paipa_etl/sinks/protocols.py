"""Protocols that are allowed by name, through fsspec: written aside, moved when whole."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location
from paipa_etl.sinks import Target, WriteStore, register
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.remote import FSSPEC_ALLOWED, failures_as, fsspec_of


class ProtocolTarget:
    """A temporary file beside the target, moved to its name when it is whole."""

    live = False
    cached = False

    def __init__(self, location: Location, options: StoreOptions) -> None:
        self._location = location
        with failures_as(OutputError, location):
            self._filesystem, self._path = fsspec_of(location, options)
            self._temporary = f"{self._path}.{os.urandom(8).hex()}.paipa-tmp"
            self._file: Any = self._filesystem.open(self._temporary, "wb")

    def write(self, data: bytes) -> None:
        """Add to the file."""
        with failures_as(OutputError, self._location):
            self._file.write(data)

    def commit(self) -> None:
        """Publish the whole file under its name."""
        with failures_as(OutputError, self._location):
            self._file.close()
            self._filesystem.mv(self._temporary, self._path)

    def abort(self, cause: BaseException) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(Exception):  # the cause is what the caller must see
            self._file.close()
            self._filesystem.rm(self._temporary)


def open_protocol(location: Location, clobber: bool, options: StoreOptions) -> Target:
    """The target for a URL."""
    if not clobber:
        raise PlanError(f"{location}: --no-clobber is for local files")
    return ProtocolTarget(location, options)


register(WriteStore(FSSPEC_ALLOWED, open_protocol))
