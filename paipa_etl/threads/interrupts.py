"""Interrupts: holding signals back while something must not be left half done, or is finished."""

from __future__ import annotations

import os
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
    """Have the handlers of interrupts called after the block, in the order of arrival.

    Handlers run in the main thread only, so other threads need nothing. No signal is blocked:
    a thread that starts in the block, and every process that such a thread starts, has the mask
    of the thread that starts it. The block must be short and must not wait
    for user code: a fork in another thread waits for the end of the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    keeper = _Keeper()
    with _no_fork:
        try:
            keeper.take_over()
            yield
        finally:
            keeper.give_back()


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
    """Stands in for the handlers of interrupts, and keeps the signals that arrive.

    CPython may call a handler between any two instructions here. The handler may raise, and
    may set other handlers (the command's second interrupt differs from its first). One that is
    not ``patient`` calls the handlers at once when Ctrl-C follows another interrupt.
    """

    def __init__(self, *, patient: bool = True) -> None:
        self._patient = patient
        self._handlers: dict[int, Callable[[int, FrameType | None], Any] | int] = {}
        self._arrived: list[tuple[int, FrameType | None, int]] = []
        """Signal number, frame, and process that received the signal: a forked child has a copy."""

    def take_over(self) -> None:
        """Replace the handlers. Only the main thread has any."""
        if threading.current_thread() is not threading.main_thread():
            return
        _active.append(self)
        for number in INTERRUPTS:
            handler = signal.getsignal(number)
            if handler not in (None, signal.SIG_IGN):
                self._handlers[number] = handler
                signal.signal(number, self._keep)

    def give_back(self) -> None:
        """Restore the handlers, then call them for what arrived; raises what they raise."""
        try:
            self.restore()
        finally:
            if self in _active:
                _active.remove(self)
        arrived, self._arrived = self._arrived, []
        for number, frame, process in arrived:
            if process == os.getpid():
                _handle(number, frame, signal.getsignal(number))

    def restore(self) -> None:
        """Restore all handlers, then raise what one of them raised meanwhile."""
        raised: BaseException | None = None
        while self._handlers:
            try:
                self._restore_last()
            except BaseException as error:
                raised = error if raised is None else raised
        if raised is not None:
            raise raised

    def _restore_last(self) -> None:
        """Restore one handler, the last one first: an interrupt may set the alarm's."""
        number, handler = list(self._handlers.items())[-1]
        replaced = signal.signal(number, handler)
        if replaced not in (self._keep, handler):  # set meanwhile, by another handler
            signal.signal(number, replaced)
        del self._handlers[number]

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append((number, frame, os.getpid()))
        if self._patient or number != signal.SIGINT or len(self._arrived) == 1:
            return
        arrived, self._arrived = self._arrived, []
        for each, at, _ in arrived:
            _handle(each, at, self._handlers.get(each))


_active: list[_Keeper] = []
_no_fork = threading.RLock()
_forking = threading.local()
FORK_TIMEOUT = 5.0  # seconds, the longest wait of a fork


def _before_fork() -> None:
    """Wait until no handlers are replaced.

    CPython drops a signal that arrives in a forked child before the child's first instruction if a
    Python handler is set. Without the wait, ``SIGTERM`` would not end such a child.
    """
    _forking.waited = _no_fork.acquire(timeout=FORK_TIMEOUT)


def _after_fork_in_parent() -> None:
    if _forking.waited:
        _no_fork.release()


def _after_fork_in_child() -> None:
    """The thread that forked is the main one of the child; the one with the block is not there."""
    if _forking.waited:
        _no_fork.release()
    else:
        _no_fork._at_fork_reinit()  # type: ignore[attr-defined]
    while _active:
        _active[-1].give_back()


def _handle(number: int, frame: FrameType | None, handler: Any) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, handler)
        signal.raise_signal(number)


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
