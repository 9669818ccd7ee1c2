"""The caller's own file objects (anything with ``write``): flushed, never closed."""

from __future__ import annotations

import io
import os
import select
import socket

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sinks import Target, WriteStore
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import file_descriptor
from paipa_etl.stores.file_objects import (
    NotReady,
    Patience,
    is_codec_over_nonblocking,
    wanted_by_tls,
)
from paipa_etl.threads.stop import Stop

STANDARD_RAW = (io.FileIO, socket.SocketIO)
BUFFERED = (io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair)


class ObjectTarget:
    """Writes to a file object; after a failure it gets no more bytes, so the cut can be seen.

    What the object's ``write`` returns: a number of bytes that were taken, or nothing. Of a raw
    file of the standard library (``io.RawIOBase``), ``None`` says that nothing was taken, as it
    is non-blocking and full; any other object without a count has taken all.
    A full object is waited for on its descriptor; without one, it is an ``OutputError``.
    """

    live = True
    cached = False

    def __init__(self, location: Location, aborted: Stop) -> None:
        self._location, self._file = location, location.file
        self._is_raw = isinstance(self._file, io.RawIOBase)
        self._is_buffered = isinstance(self._file, BUFFERED)
        self._patience = Patience(self._file, aborted)

    def write(self, data: bytes | bytearray) -> None:
        """Write all of the bytes, however many short writes that takes."""
        view = memoryview(data)
        while view:
            try:
                taken = self._taken(view)
            except NotReady as full:
                self._wait(full.event)
                continue
            self._patience.progress()
            view = view[taken:]

    def _taken(self, view: memoryview) -> int:
        """Write once; returns how many bytes the object took, or raises ``NotReady``."""
        try:
            taken = self._file.write(view)
        except BlockingIOError as error:
            taken = self._taken_before(error)
        except BrokenPipeError:
            raise
        except (OSError, TypeError) as error:
            event = wanted_by_tls(error) if self._is_raw else None
            if event is not None:
                raise NotReady(event) from None
            raise self._failed(error) from error
        if taken is None and self._is_raw:
            raise self._full()
        if hasattr(taken, "__await__"):
            raise PlanError(f"{self._location}: its write is a coroutine function")
        if taken is True or not isinstance(taken, int):
            return len(view)
        if taken == 0:
            raise OutputError(f"{self._location} takes no more bytes")
        if not 0 < taken <= len(view):
            problem = f"says that it wrote {taken:,} of {len(view):,} bytes"
            raise OutputError(f"{self._location} {problem}")
        return taken

    def _full(self) -> Exception:
        """What ``None`` from a raw file means: it is full, or its ``write`` returns no count.

        To wait for the second kind would write the same bytes again and again.
        """
        descriptor = file_descriptor(self._file)
        if descriptor is None or isinstance(self._file, STANDARD_RAW):
            return NotReady(select.POLLOUT)
        if not os.get_blocking(descriptor):
            return NotReady(select.POLLOUT)
        problem = "returns None from write, which is nothing written, though it is blocking"
        return OutputError(f"{self._location} {problem}")

    def _taken_before(self, error: BlockingIOError) -> int:
        """How many bytes a buffer took before it was full.

        Of other objects that raise this, nobody knows how many: to go on could lose some bytes,
        or write some twice.
        """
        if not self._is_buffered:
            raise self._failed(error) from error
        if not error.characters_written:
            raise NotReady(select.POLLOUT)
        return error.characters_written

    def _wait(self, event: int) -> None:
        ready = self._patience.readiness(event)
        if ready is None:
            problem = "takes nothing now (it is non-blocking), and has no descriptor to wait on"
            raise OutputError(f"{self._location} {problem}")
        ready.wait()

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(f"{self._location}: {error}")

    def prepare(self) -> None:
        """Flush, where the object can."""
        flush = getattr(self._file, "flush", None)
        while callable(flush):
            try:
                flush()
                return
            except BlockingIOError as error:
                if not self._is_buffered:
                    raise self._failed(error) from error
                self._wait(select.POLLOUT)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise self._failed(error) from error

    def commit(self) -> None:
        """Nothing is held back."""

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
    if is_codec_over_nonblocking(location.file):
        problem = "compresses into a non-blocking file, which it cannot wait for"
        raise PlanError(f'{location} {problem}: give that file itself, with to="jsonl.gz"')
    return ObjectTarget(location, run.stops.output)


def open_bytes(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """The target for a ``bytearray``."""
    if not isinstance(location.file, bytearray):
        raise PlanError(f"{location} cannot be written: give a bytearray")
    return BytesTarget(location)


FILES = WriteStore(open_object)
BYTES_IN_MEMORY = WriteStore(open_bytes)
