"""Standard output, and whatever else shows at once what is written to it."""

from __future__ import annotations

import os

from paipa_etl.errors import OutputError
from paipa_etl.location import STANDARD, Location
from paipa_etl.run import Run
from paipa_etl.sinks import Target, WriteStore, register
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import write_all

STDOUT = 1


class LiveTarget:
    """A descriptor that is written as it is: a pipe, a terminal, a device.

    A pipe that nobody reads any more is a ``BrokenPipeError``, as itself.
    """

    live = True
    cached = False

    def __init__(self, location: Location, descriptor: int, *, close: bool) -> None:
        self._location, self._descriptor, self._close = location, descriptor, close

    def write(self, data: bytes | bytearray) -> None:
        """Write all of the bytes now."""
        try:
            write_all(self._descriptor, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self._location}: {error.strerror}") from error

    def commit(self) -> None:
        """Nothing is held back."""
        self._end()

    def abort(self, cause: BaseException) -> None:
        """What was written cannot be taken back."""
        self._end()

    def _end(self) -> None:
        if self._close:
            self._close = False
            os.close(self._descriptor)

    def __del__(self) -> None:
        if getattr(self, "_close", False):
            self._end()


def open_standard(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """Standard output, when there is one."""
    try:
        os.fstat(STDOUT)
    except OSError as error:
        raise OutputError(f"standard output is closed: {error.strerror}") from error
    return LiveTarget(location, STDOUT, close=False)


register(WriteStore((STANDARD,), open_standard))
