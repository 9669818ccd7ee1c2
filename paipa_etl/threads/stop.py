"""Stop: one wish to end, heard by whatever waits: a flag, a descriptor, callbacks."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial

from paipa_etl.errors import Word
from paipa_etl.threads import forks
from paipa_etl.threads.collector import apart
from paipa_etl.threads.waiting import acquire


class Stopped(Word):
    """A wait for bytes ended because the run does; never an end of the input."""


class Stop:
    """Set once, from any thread; whoever waits for bytes waits for this too.

    A wait in ``poll`` adds ``fileno()``, which becomes readable; any other wait
    registers a callback that wakes it (a socket's shutdown). No wait is polled.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self.is_set = False
        """Whether the end is wished for."""
        self.is_foreign = False
        """Whether this is a forked child: what waits for it is in another process."""
        self._pipe: tuple[int, int] | None = None
        self._readable, self._process = False, 0
        self._wakers: list[Callable[[], None]] = []
        forks.own(self)

    def set(self) -> None:
        """Wish for the end, and wake every wait; more than once is as once."""
        with self._lock:
            self.is_set = True
            self._make_readable()
            wakers = () if self.is_foreign else tuple(self._wakers)
        for wake in wakers:
            with contextlib.suppress(OSError, RuntimeError):  # gone, or woken already
                wake()

    def wait(self, seconds: float) -> None:
        """Wait for some seconds; raises ``Stopped`` as soon as the end is wished for."""
        bell = threading.Lock()
        bell.acquire()
        with self.waking(bell.release):
            acquire(bell, max(seconds, 0))
        if self.is_set:
            raise Stopped

    def fileno(self) -> int:
        """A descriptor that becomes readable when the end is wished for."""
        with self._lock:
            if self._pipe is None:
                self._pipe, self._process, self._readable = os.pipe(), os.getpid(), False
                if self.is_set:
                    self._make_readable()
            return self._pipe[0]

    def _make_readable(self) -> None:
        """Once: a full pipe would hold up. Not in a child process, which shares the pipe."""
        if self._pipe and not self._readable and self._process == os.getpid():
            os.write(self._pipe[1], b"!")
            self._readable = True

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have ``wake`` called when the end is wished for, for as long as the block lasts."""
        with self._lock:
            self._wakers.append(wake)
            late = self.is_set
        if late:
            wake()
        try:
            yield
        finally:
            apart(partial(self._forget, wake))

    def _forget(self, wake: Callable[[], None]) -> None:
        with self._lock:
            self._wakers.remove(wake)

    def disown(self) -> None:
        """In a forked child: nothing goes on, and nobody in the parent is woken."""
        self.is_foreign = self.is_set = True
        self.close()

    def close(self) -> None:
        """Give the descriptors back; nothing waits any more."""
        with self._lock:
            pipe, self._pipe = self._pipe, None
        for descriptor in pipe or ():
            os.close(descriptor)
