"""Protocols that are allowed by name, through fsspec: written aside, moved when whole."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sinks import WriteStore, register
from paipa_etl.stores import StoreOptions, check_words
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.protocols import ALLOWED, ProtocolFile


class ProtocolTarget:
    """A temporary file beside the target, moved to its name when it is whole."""

    live = False
    cached = False

    def __init__(self, location: Location, clobber: bool, run: Run, options: StoreOptions) -> None:
        self._file_object: Any = None
        check_words(location, options, ProtocolFile.words)
        self._attempts = Attempts(location, options, run.clients, run.aborted, OutputError)
        self._file = ProtocolFile(location, options, run.clients)
        self._temporary = f"{self._file.path}.{os.urandom(8).hex()}.paipa-tmp"
        self._clobber, self._location = clobber, location
        self._prepared = False
        self._refuse_existing()
        filesystem = self._file.filesystem
        self._file_object = self._told(lambda: filesystem.open(self._temporary, "wb"))

    def _told(self, action: Any) -> Any:
        return self._attempts.call(lambda: self._file.told(action))

    def _refuse_existing(self) -> None:
        with contextlib.suppress(StoreFailure):
            self._file.stat()
            if not self._clobber:
                raise PlanError(f"{self._location} exists already, and --no-clobber keeps it")

    def write(self, data: bytes | bytearray) -> None:
        """Add to the file."""
        self._told(lambda: self._file_object.write(data))

    def prepare(self) -> None:
        """Have the whole file at the store."""
        self._refuse_existing()
        self._told(self._file_object.close)
        self._prepared = True

    def commit(self) -> None:
        """Give the file its name."""
        if not self._prepared:
            self.prepare()
        self._told(lambda: self._file.filesystem.mv(self._temporary, self._file.path))
        self._file_object = None

    def abort(self, cause: BaseException) -> None:
        """Remove the temporary file."""
        file, self._file_object = self._file_object, None
        if file is not None:
            with contextlib.suppress(Exception):  # the cause is what the caller must see
                file.close()
                self._file.filesystem.rm(self._temporary)


register(WriteStore(ALLOWED, ProtocolTarget))
