"""Interrupts: holding signals back while something must not be left half done, or is finished."""

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


@contextmanager
def put_off() -> Generator[None, None, None]:
    """Have the first interrupt come behind the block; Ctrl-C after it comes at once.

    For what takes long and is to be finished. Does nothing outside of the main thread, which
    no interrupt reaches.
    """
    keeper = _Keeper(patient=False)
    try:
        keeper.take_over()
        yield
    finally:
        keeper.give_back()


class _Keeper:
    """Keeps what other threads are given: the kernel hands them what this one has blocked.

    CPython has the main thread handle it, wherever that is. One that is not ``patient``
    hands over all that came as soon as Ctrl-C follows another interrupt.
    """

    def __init__(self, *, patient: bool = True) -> None:
        self._patient = patient
        self._handlers: dict[int, Callable[[int, FrameType | None], Any] | int] = {}
        self._taken: list[int] = []
        self._came: list[tuple[int, FrameType | None]] = []
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
            self._hand_over()

    def _restore(self) -> None:
        while self._taken:  # the last one first: an interrupt may set what the alarm does
            signal.signal(self._taken[-1], self._handlers[self._taken[-1]])
            self._taken.pop()

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))
        again = number == signal.SIGINT and len(self._came) > 1
        if not self._keeps or (again and not self._patient):
            self._hand_over()

    def _hand_over(self) -> None:
        """Handle what came, in order; what the first handler raises answers all of it."""
        came, self._came = self._came, []
        for number, frame in came:
            self._handle(number, frame)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)
        else:  # the system's own
            signal.signal(number, handler)
            signal.raise_signal(number)
