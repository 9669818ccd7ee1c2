"""The caller's own file objects (anything with ``write``): flushed, never closed."""

from __future__ import annotations

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import BYTES, OBJECT, Location
from paipa_etl.run import Run
from paipa_etl.sinks import Target, WriteStore, register
from paipa_etl.stores import StoreOptions


class ObjectTarget:
    """Writes to a file object; after a failure it gets no more bytes, so the cut can be seen."""

    live = True
    cached = False

    def __init__(self, location: Location) -> None:
        self._location, self._file = location, location.file

    def write(self, data: bytes | bytearray) -> None:
        """Write all of the bytes, however many short writes that takes."""
        view = memoryview(data)
        while view:
            try:
                written = self._file.write(view)
            except BrokenPipeError:
                raise
            except (OSError, TypeError) as error:
                raise OutputError(f"{self._location}: {error}") from error
            if written == 0:
                raise OutputError(f"{self._location} takes no more bytes")
            # Some objects return nothing: they have written all.
            view = view[written:] if isinstance(written, int) else view[len(view) :]

    def commit(self) -> None:
        """Flush, where the object can."""
        flush = getattr(self._file, "flush", None)
        if callable(flush):
            try:
                flush()
            except OSError as error:
                raise OutputError(f"{self._location}: {error}") from error

    def abort(self, cause: BaseException) -> None:
        """Leave the object as it is."""


class BytesTarget:
    """Extends the caller's ``bytearray``, all at once."""

    live = False
    cached = False

    def __init__(self, location: Location) -> None:
        self._location, self._data = location, bytearray()

    def write(self, data: bytes | bytearray) -> None:
        """Keep the bytes until the commit."""
        self._data += data

    def commit(self) -> None:
        """Hand the whole output over."""
        self._location.file.extend(self._data)

    def abort(self, cause: BaseException) -> None:
        """Forget what was written."""
        self._data.clear()


def open_object(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """The target for a file object."""
    if not callable(getattr(location.file, "write", None)):
        raise PlanError(f"{location} cannot be written: it has no write(data)")
    return ObjectTarget(location)


def open_bytes(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """The target for a ``bytearray``."""
    if not isinstance(location.file, bytearray):
        raise PlanError(f"{location} cannot be written: give a bytearray")
    return BytesTarget(location)


register(WriteStore((OBJECT,), open_object))
register(WriteStore((BYTES,), open_bytes))
