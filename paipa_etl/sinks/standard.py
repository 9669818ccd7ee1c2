"""Open descriptors that are written as they are: standard output, ``/dev/fd/3``, pipes, devices."""

from __future__ import annotations

import os

from paipa_etl.errors import OutputError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sinks import Target, WriteStore
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import STDOUT, borrowed, write_all
from paipa_etl.threads.stop import Stop


class LiveTarget:
    """Writes to a descriptor, at its offset, and closes the descriptor at the end.

    A reader sees at once what is written. A pipe that nobody reads any more is a
    ``BrokenPipeError``, as itself.
    """

    live = True
    cached = False

    def __init__(self, location: Location, descriptor: int, aborted: Stop) -> None:
        self._location, self._descriptor, self._aborted = location, descriptor, aborted
        self._open = True

    def write(self, data: bytes | bytearray) -> None:
        """Write all of the bytes now; an aborted run ends the wait for room."""
        try:
            write_all(self._descriptor, data, self._aborted)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self._location}: {error.strerror}") from error

    def commit(self) -> None:
        """Nothing is held back."""
        self._close()

    def abort(self, cause: BaseException) -> None:
        """What was written cannot be taken back."""
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def __del__(self) -> None:
        if getattr(self, "_open", False):
            self._close()


def open_descriptor(location: Location, number: int, run: Run) -> Target:
    """The target for an open descriptor, which stays open for its owner."""
    try:
        descriptor = borrowed(number, writing=True)
    except OSError as error:
        raise OutputError(f"{location}: {error.strerror}") from error
    return LiveTarget(location, descriptor, run.stops.output)


def open_standard(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """Standard output, if it is open."""
    return open_descriptor(location, STDOUT, run)


STORE = WriteStore(open_standard)
