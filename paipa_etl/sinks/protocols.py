"""Protocols that are allowed by name, through fsspec: written aside, moved when whole."""

from __future__ import annotations

import contextlib
from typing import Any

from paipa_etl.errors import OutputError, PaipaError, PlanError
from paipa_etl.location import Location
from paipa_etl.sinks import Target, WriteStore, register
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.remote import FSSPEC_ALLOWED, open_fsspec, problem


class ProtocolTarget:
    """One fsspec file that waits to be committed."""

    live = False

    def __init__(self, location: Location, options: StoreOptions) -> None:
        self._location = location
        try:
            self._file: Any = open_fsspec(location, "wb", options)
        except PaipaError:
            raise
        except Exception as error:  # each file system has its own
            raise OutputError(problem(location, error)) from None

    def write(self, data: bytes) -> None:
        """Add to the file."""
        try:
            self._file.write(data)
        except Exception as error:
            raise OutputError(problem(self._location, error)) from None

    def commit(self) -> None:
        """Close the file, then move it to its name."""
        try:
            self._file.close()
            self._file.commit()
        except Exception as error:
            raise OutputError(problem(self._location, error)) from None

    def abort(self, cause: BaseException) -> None:
        """Forget the file."""
        with contextlib.suppress(Exception):  # the cause is what the caller must see
            self._file.discard()


def open_protocol(location: Location, clobber: bool, options: StoreOptions) -> Target:
    """The target for a URL."""
    if not clobber:
        raise PlanError(f"{location}: --no-clobber is for local files")
    return ProtocolTarget(location, options)


register(WriteStore(FSSPEC_ALLOWED, open_protocol))
