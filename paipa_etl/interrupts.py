"""Interrupts: holding signals back while something must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# The alarm is what the command tries an interrupt again by, that came at a bad moment.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextmanager
def held_back() -> Generator[None, None, None]:
    """Have interrupts come behind the block. Threads that it starts never get any."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    keeper = _Keeper()
    try:
        # Each call handles what came before it: one that raises must not leave them blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        keeper.take_over()
        yield
    finally:
        try:
            keeper.give_back()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Keeper:
    """Keeps what other threads are given: the kernel hands them what this one has blocked.

    CPython has the main thread handle it, wherever that is.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any] | int] = {}
        self._taken: list[int] = []
        self._came: dict[int, FrameType | None] = {}
        self._keeps = True

    def take_over(self) -> None:
        """Stand for the handlers. Only the main thread has any."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in INTERRUPTS:
            handler = signal.getsignal(number)
            if handler not in (None, signal.SIG_IGN):
                self._handlers[number] = handler
                self._taken.append(number)
                signal.signal(number, self._keep)

    def give_back(self) -> None:
        """Have the handlers back, and handle what came."""
        self._keeps = False
        try:
            self._restore()
        except BaseException:  # a handler that is back already raised what comes now
            self._restore()
            raise
        finally:
            for number, frame in self._came.items():
                self._handle(number, frame)

    def _restore(self) -> None:
        while self._taken:  # the last one first: an interrupt may set what the alarm does
            signal.signal(self._taken[-1], self._handlers[self._taken[-1]])
            self._taken.pop()

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self._keeps:
            self._came[number] = frame
        else:
            self._handle(number, frame)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)
        else:  # the system's own
            signal.signal(number, handler)
            signal.raise_signal(number)
