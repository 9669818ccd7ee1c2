"""Protocols that are allowed by name, through fsspec: written aside, moved when whole."""

from __future__ import annotations

import contextlib
import os
import warnings
from functools import partial
from typing import Any

from paipa_etl.errors import OutputError, PaipaWarning, shown
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sinks import WriteStore
from paipa_etl.stores import StoreOptions, check_words, exists_already
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.protocols import ProtocolFile


class ProtocolTarget:
    """A temporary file beside the target, moved to its name when it is whole."""

    live = False
    cached = False

    def __init__(self, location: Location, clobber: bool, run: Run, options: StoreOptions) -> None:
        self._file_object: Any = None
        self._begun = False
        check_words(location, options, ProtocolFile.words)
        self._attempts = Attempts(location, options, run.clients, run.stops.output, OutputError)
        self._file = ProtocolFile(location, options, run.clients)
        self._temporary = f"{self._file.path}.{os.urandom(8).hex()}.paipa-tmp"
        self._clobber, self._location = clobber, location
        self._prepared = False
        self._refuse_existing()
        self._begun = True
        try:
            opened = partial(self._file.filesystem.open, self._temporary, "wb")
            self._file_object = self._told(opened)
        except BaseException as error:
            self.abort(error)
            raise

    def _told(self, action: Any) -> Any:
        return self._attempts.call(lambda: self._file.told(action))

    def _refuse_existing(self) -> None:
        with contextlib.suppress(StoreFailure):
            self._file.stat()
            if not self._clobber:
                raise exists_already(self._location)

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
        self._begun = False

    def abort(self, cause: BaseException) -> None:
        """Remove the temporary file; what fails here must not hide the cause."""
        if not self._begun:
            return
        self._begun = False
        if self._file_object is not None:
            with contextlib.suppress(Exception):
                self._file_object.close()
        try:
            if self._file.filesystem.exists(self._temporary):
                self._file.filesystem.rm(self._temporary)
        except Exception:
            problem = f"a temporary file may be left over: {self._temporary}"
            warnings.warn(f"{self._location}: {shown(problem)}", PaipaWarning, 2)


STORE = WriteStore(ProtocolTarget)
