"""The least pace of a store: a request that trickles is given up, like one that is silent.

A client library's timeout counts silence: one byte every few seconds ends it. Here a thread
looks several times per timeout at every call in progress, and ends those that bring too
little. Time is counted in these looks, and only within a call: a slow consumer costs the
store nothing, nor does a process that is stopped or has no CPU time, as it does not look.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakMethod, finalize

from paipa_etl.stores.port import CHUNK, StoreFailure
from paipa_etl.stores.waking import waker
from paipa_etl.threads.stop import Stopped
from paipa_etl.threads.ticking import Ticking

RATE = 500  # bytes a second, the least of a body; measured over one timeout of waiting
COARSE = CHUNK // 60  # bytes a second, of what comes in pieces of that size: SFTP
LOOKS = 8  # per timeout
SHORTEST = 0.01  # seconds between two looks
FIRST = 2  # timeouts from a request to the first byte of the body that answers it
T = TypeVar("T")

_current: ContextVar[Pace | None] = ContextVar("pace", default=None)


def moved(count: int) -> None:
    """Count bytes of a body that the current call has received or sent."""
    pace = _current.get()
    if pace is not None:
        pace.moved(count)


def ended() -> bool:
    """Whether the current call is being ended, as it brings too little."""
    pace = _current.get()
    return pace is not None and pace.ended


def allow(timeouts: int) -> None:
    """Give the current call more time for its answer."""
    pace = _current.get()
    if pace is not None:
        pace.begin(timeouts)


def piece_of(timeout: float) -> int:
    """How many bytes to ask a library for that tells of nothing less: they come in one timeout."""
    return min(CHUNK, int(COARSE * timeout) or 1)


class Watch:
    """Looks at the calls in progress that have the same timeout; belongs to a run."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.calls: dict[Pace, Callable[[], None]] = {}
        """Those in progress, and what ends the wait of each."""
        look = WeakMethod(self._look)  # a watch that is never closed can be collected

        def look_again() -> None:
            found = look()
            if found is not None:
                found()

        self._ticking = Ticking(look_again, max(timeout / LOOKS, SHORTEST), "store-watch")
        finalize(self, self._ticking.ring).atexit = False
        self._ticking.start()

    def pace(self) -> Pace:
        """That of one thread."""
        return Pace(self)

    def _look(self) -> None:
        for pace, wake in self.calls.copy().items():
            if pace.look():
                with suppress(OSError, RuntimeError):  # woken already
                    wake()

    def close(self) -> None:
        """Look no more. Does not wait for the thread: the collector may call this."""
        self._ticking.ring()


class Pace:
    """The pace of one thread's calls to a store: one request after the other, each with its body.

    A call that is ended raises ``StoreFailure``, which may be tried again.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.seconds = 0.0
        """Spent within calls, until it is set again."""
        self.ended = False
        """Whether the current call is being ended."""
        self._looks = self._begun = self._most = self._moved = 0
        self._quota = 1.0

    def begin(self, timeouts: int, quota: float | None = None) -> None:
        """Begin a window of so many timeouts, and another whenever so many bytes have moved."""
        self._quota = RATE * self._watch.timeout if quota is None else quota
        self._begun, self._most, self._moved = self._looks, LOOKS * timeouts, 0

    def request(self, action: Callable[[], T]) -> T:
        """What a request gives: its answer begins in time, what is sent with it moves."""
        self.begin(FIRST)
        return self.call(action)

    def body(self, known: bool) -> None:
        """Begin to read a body: of a length that is not known, any byte is enough."""
        self.begin(1, None if known else 1)

    def call(self, action: Callable[[], T]) -> T:
        """What one call gives, in the window that has begun."""
        self.ended, began = False, monotonic()
        try:
            _current.set(self)
            self._watch.calls[self] = waker()
            found = action()
            if not self.ended:
                return found
            _close(found)  # a wait was ended: what the library made of that is not trusted
        except (StoreFailure, Stopped):
            if not self.ended:
                raise
        finally:
            self._watch.calls.pop(self, None)
            _current.set(None)
            self.seconds += monotonic() - began
        raise StoreFailure(self._problem(), retryable=True, kind="silent")

    def moved(self, count: int) -> None:
        """Count bytes of a body."""
        self._moved += count
        if self._moved >= self._quota:
            self._begun, self._moved = self._looks, 0

    def look(self) -> bool:
        """Whether the call has to end; called by the thread that looks."""
        self._looks += 1
        self.ended = self.ended or self._looks - self._begun > self._most
        return self.ended

    def _problem(self) -> str:
        timeout = self._watch.timeout
        if self._most > LOOKS:
            return f"no whole answer within {timeout * self._most / LOOKS:g} seconds"
        if self._quota <= 1:
            return f"silent for {timeout:g} seconds"
        return f"slower than {RATE} bytes a second for {timeout:g} seconds"


class Outgoing(io.BytesIO):
    """Bytes to be sent by a library that reads them piece by piece: each piece has moved."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next piece."""
        piece = super().read(size)
        moved(len(piece))
        return piece


def _close(found: Any) -> None:
    close = getattr(found, "close", None)
    if close is not None:
        close()
