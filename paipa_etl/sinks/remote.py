"""S3, GCS and Azure, through smart_open: published by completing the upload, or not at all."""

from __future__ import annotations

import contextlib
from typing import Any

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location
from paipa_etl.sinks import Target, WriteStore, register
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.remote import failures_as, open_smart


class UploadTarget:
    """One upload; bytes become visible when it is completed."""

    live = False
    cached = False

    def __init__(self, location: Location, options: StoreOptions) -> None:
        self._location = location
        with failures_as(OutputError, location):
            self._file: Any = open_smart(location, "wb", options)

    def write(self, data: bytes) -> None:
        """Add to the upload."""
        with failures_as(OutputError, self._location):
            self._file.write(data)

    def commit(self) -> None:
        """Complete the upload."""
        with failures_as(OutputError, self._location):
            self._file.close()
        self._file = None

    def abort(self, cause: BaseException) -> None:
        """End the upload with nothing published."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # the cause is what the caller must see
                file.__exit__(type(cause), cause, cause.__traceback__)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.abort(GeneratorExit())


def open_upload(location: Location, clobber: bool, options: StoreOptions) -> Target:
    """The target for a URL."""
    if not clobber:
        raise PlanError(f"{location}: --no-clobber is for local files")
    return UploadTarget(location, options)


register(WriteStore(("s3", "gs", "az"), open_upload))
