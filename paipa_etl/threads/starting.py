"""Threads whose start cannot hang, and how threads are woken and joined."""

from __future__ import annotations

import math
import mmap
import threading
import weakref
from collections.abc import Callable
from functools import partial
from time import monotonic, sleep
from typing import Any

from paipa_etl.threads.stop import Stop
from paipa_etl.threads.waiting import LOOK_UP

AGAIN = 0.1  # seconds after which a thread that should end is woken once more
LOOK = 0.05  # seconds between two looks at a thread that has not begun
ATTEMPTS = 50  # of what must be done, while there is no memory for it
PAUSE = 0.02  # seconds between two of them
ROOM = 4 << 20  # bytes of address space that have to be left when a thread begins


class SafeThread(threading.Thread):
    """A thread whose ``start`` raises ``MemoryError`` where the new thread dies before it begins.

    A new thread with no memory for its first frame ends without a word, and
    ``threading.Thread.start`` waits for it for ever. Here, nothing but the new thread holds
    what it is to call, so a weak reference to that tells when the thread is gone. Relies on
    CPython, 3.11 to 3.14: ``start`` hands ``_bootstrap`` to the new thread, waits for
    ``_started``, and keeps the thread in ``threading._limbo`` until then.
    """

    def __init__(self, target: Callable[[], object], name: str, *, daemon: bool | None = None):
        super().__init__(target=target, name=name, daemon=daemon)
        self._started = self._beginning = _Beginning()

    @property
    def _bootstrap(self) -> Callable[[], object]:
        first = partial(super()._bootstrap)  # type: ignore[misc]
        self._beginning.first = weakref.ref(first)
        return first

    def start(self) -> None:
        """Start it. The caller holds interrupts back: one in here would leave it half started."""
        try:
            super().start()
        except _NotBegun:
            threading._limbo.pop(self, None)  # type: ignore[attr-defined]
            raise MemoryError("no memory to begin a thread") from None


def require_room() -> None:
    """Raise ``MemoryError`` where hardly any address space is left (``ulimit -v``).

    Threads take most of it: the C library reserves up to 128 MiB for each. An exception that is
    raised when not one byte is left makes CPython 3.11 to 3.13 loop for ever with the lock of the
    interpreter held: to enter a handler, it makes an integer, fails, and enters the handler
    (``exception_unwind`` in ceval.c). So threads fail before that, while an error can be handled.
    """
    try:
        mmap.mmap(-1, ROOM).close()
    except OSError:
        raise MemoryError("hardly any memory is left for a thread") from None


class _NotBegun(Exception):
    """The thread has died before its first instruction."""


class _Beginning(threading.Event):
    """Set by a thread when it begins; the wait for it ends when the thread is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Callable[[], Any] = lambda: None
        self._bell = threading.Lock()
        self._bell.acquire()

    def set(self) -> None:
        super().set()
        self._bell.release()

    def wait(self, timeout: float | None = None) -> bool:
        while not self._bell.acquire(timeout=LOOK):
            if self.first() is None and not self.is_set():
                raise _NotBegun
        return True


def first_of(*errors: BaseException | None) -> BaseException | None:
    """The first that is there; an exception of the user's own may well be false."""
    return next((error for error in errors if error is not None), None)


def surely(action: Callable[[], None]) -> None:
    """Do what ends a thread's waiting; once more, where an interrupt came in the middle."""
    try:
        action()
    except BaseException:
        action()
        raise


def insist(action: Callable[[], object]) -> None:
    """Do what must be done, again where there is no memory for it: others may give some back."""
    for _ in range(ATTEMPTS):
        try:
            action()
            return
        except MemoryError:
            sleep(PAUSE)


def join_waking(thread: threading.Thread, stop: Stop) -> None:
    """End a thread's waits, and wait for it.

    The stop is set again and again: a call to a client library that began just before
    the stop was set had nothing yet that could have been woken.
    """
    surely(stop.set)
    join(thread, AGAIN)
    while thread.is_alive() and thread is not threading.current_thread():
        stop.set()
        join(thread, AGAIN)


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait for a thread, where it was started and is another than this one."""
    here = threading.current_thread()
    if here is not threading.main_thread():
        if thread.is_alive() and thread is not here:
            thread.join(timeout)
        return
    end = monotonic() + (math.inf if timeout is None else timeout)
    while thread.is_alive() and (left := end - monotonic()) > 0:
        thread.join(min(left, LOOK_UP))  # then a signal is handled that another thread was given
