"""Standard error as the command uses it: what nobody can be told ends no run."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast


class Unfailing:
    """A text file whose writes may fail unheard: the disk of a log is full, its reader is gone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write it, if that can be done."""
        with suppress(OSError, ValueError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush it, if that can be done."""
        with suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def make_unfailing() -> None:
    """Have ``sys.stderr`` never fail; one that is closed becomes the null device.

    That takes its descriptor, too: a file of the run's own would, and hold what
    libraries write to it.
    """
    file = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - open as long as the process
    sys.stderr = cast(TextIO, Unfailing(file))
