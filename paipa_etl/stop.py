"""Stop: one wish to end, heard by whatever waits: a flag, a descriptor, callbacks."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator


class Stopped(Exception):
    """A wait for bytes ended because the run does; never an end of the input."""


class Stop:
    """Set once, from any thread; whoever waits for bytes waits for this too.

    A wait in ``poll`` adds ``fileno()``, which becomes readable; any other wait
    registers a callback that wakes it (a socket's shutdown). No wait is polled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._pipe: tuple[int, int] | None = None
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        """Whether the end is wished for."""
        return self._set

    def set(self) -> None:
        """Wish for the end, and wake every wait; more than once is as once."""
        with self._lock:
            self._set = True
            if self._pipe:
                os.write(self._pipe[1], b"!")
            wakers = tuple(self._wakers)
        for wake in wakers:
            with contextlib.suppress(OSError):
                wake()

    def fileno(self) -> int:
        """A descriptor that becomes readable when the end is wished for."""
        with self._lock:
            if self._pipe is None:
                self._pipe = os.pipe()
                if self._set:
                    os.write(self._pipe[1], b"!")
            return self._pipe[0]

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have ``wake`` called when the end is wished for, for as long as the block lasts."""
        with self._lock:
            self._wakers.append(wake)
            late = self._set
        if late:
            wake()
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)

    def close(self) -> None:
        """Give the descriptors back; nothing waits any more."""
        with self._lock:
            pipe, self._pipe = self._pipe, None
        for descriptor in pipe or ():
            os.close(descriptor)
