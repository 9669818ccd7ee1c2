"""Forks: the child process has its parent's objects, but none of its parent's threads.

A temporary file, an upload, a connection and a lock belong to the process that made them. What
holds one is noted by ``own``: in a forked child its ``disown()`` is called, and from then on it
ends, removes, publishes and waits for nothing. Locks made by ``lock`` are free in the child: the
thread that held one is not there to release it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import NoneType
from typing import Any, NoReturn, Protocol, TypeVar
from weakref import WeakSet

from paipa_etl.errors import ForkedChild, print_traceback


class Owned(Protocol):
    """What belongs to the process that made it."""

    def disown(self) -> None:
        """In a child of that process: leave alone whatever is shared with it."""


O = TypeVar("O", bound=Owned)  # noqa: E741

generation = 0
"""How often this process was forked from one that had imported this module."""
_owned: WeakSet[Owned] = WeakSet()
_locks: WeakSet[Any] = WeakSet()
_callbacks: list[Callable[[], None]] = []
_kept: list[object] = []


def own(thing: O) -> O:
    """Note what a child is to disown; gives it back."""
    _owned.add(thing)
    return thing


def lock() -> threading.Lock:
    """A lock that is free in a child, whoever holds it when the process is forked."""
    made = threading.Lock()
    _locks.add(made)
    return made


def reentrant_lock() -> threading.RLock:
    """The same for a lock that one thread may take several times."""
    made = threading.RLock()
    _locks.add(made)
    return made


def in_child(callback: Callable[[], None]) -> None:
    """Have a function called in each child."""
    _callbacks.append(callback)


def keep(thing: object) -> None:
    """Have an object never finalized in this process: its finalizer may publish or remove."""
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    except (ImportError, AttributeError):
        _kept.append(thing)


def thread_target(
    work: Callable[[], None], failure: Callable[[], BaseException | None]
) -> Callable[[], None]:
    """What a thread runs that calls a user's code, in which the process may be forked.

    The child has this thread only. Where it comes to the thread's end, it says what it failed
    with, and ends: nobody else could say so, and the exit code would be 0.
    """

    def carry_out() -> None:
        process = generation
        work()
        if generation != process:
            error = failure()
            _end(ForkedChild("this run", os.getppid()) if error is None else error)

    return carry_out


def _end(error: BaseException) -> NoReturn:
    code = 1
    if isinstance(error, SystemExit) and isinstance(error.code, (int, NoneType)):
        code = error.code or 0
    else:
        print_traceback(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code & 0xFF)


def _disown_all() -> None:
    global generation
    generation += 1
    for held in list(_locks):
        held._at_fork_reinit()
    for callback in _callbacks:
        callback()
    things = list(_owned)
    _owned.clear()
    for thing in things:
        thing.disown()


os.register_at_fork(after_in_child=_disown_all)
