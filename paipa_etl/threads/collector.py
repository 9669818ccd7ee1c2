"""Cleanup on behalf of the cyclic collector, which may run between any two instructions.

It runs in any thread, which may hold any lock, and may be one that another thread waits for.
What the collector calls (the ``finally`` of a dropped generator, ``__del__``) therefore takes no
lock, joins no thread and starts none: it hands its cleanup to the closing thread, which exists
beforehand.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

_collecting: int | None = None  # the thread that a collection runs in; there is one at a time
_served = False  # whether the closing thread takes cleanups
_collected: deque[Callable[[], object]] = deque()  # cleanups of the collection that goes on
_cleanups: SimpleQueue[Callable[[], object] | None] = SimpleQueue()  # put() is re-entrant, in C


def is_collecting() -> bool:
    """Whether the calling thread is in a collection."""
    return _collecting == threading.get_ident()


def apart(cleanup: Callable[[], object]) -> None:
    """Call a cleanup now; in a collection, have the closing thread call it.

    Cleanups that are handed over are called in order. Without a closing thread (no run has
    started a thread yet, or the interpreter ends) a cleanup is called at once.
    """
    if _hands_over():
        _collected.append(cleanup)
    else:
        cleanup()


def _hands_over() -> bool:
    """Whether cleanups are for the closing thread now."""
    return _served and is_collecting()


class CleanupStack(ExitStack):
    """An ``ExitStack`` for generators: in a collection, all of it is handed over, in its order.

    Were only a part, the rest would be closed while threads of that part still use it.
    """

    def __exit__(self, *error: Any) -> bool | None:
        if _hands_over():
            apart(self.pop_all().close)
            return False
        return super().__exit__(*error)


def begin_serving() -> None:
    """The closing thread exists: hand cleanups to it."""
    global _served
    _served = True


def end_serving() -> None:
    """End the closing thread, after the cleanups that it was given."""
    global _served
    _served = False
    _cleanups.put(None)


def serve() -> None:
    """What the closing thread does. A cleanup that fails is reported as a failed thread is."""
    while (cleanup := _cleanups.get()) is not None:
        try:
            cleanup()
        except BaseException:
            kind, error, traceback = sys.exc_info()
            assert kind is not None
            here = threading.current_thread()
            threading.excepthook(threading.ExceptHookArgs((kind, error, traceback, here)))
            del error, traceback
        del cleanup  # or it would be kept until the next one comes


def _note_collection(phase: str, info: dict[str, Any]) -> None:
    global _collecting
    if phase == "start":
        _collecting = threading.get_ident()
        return
    _collecting = None
    # Not before: the collector closes one generator after the other, in any order, and what
    # is handed over closes some of the same.
    while _collected:
        _cleanups.put(_collected.popleft())


def _after_fork() -> None:
    """The closing thread is the parent's."""
    global _served, _cleanups
    _served, _cleanups = False, SimpleQueue()


# Twice: a signal handler may raise in the first call, which then notes nothing, and whoever asks
# later would take the collection for one that goes on for ever.
gc.callbacks += [_note_collection, _note_collection]
os.register_at_fork(after_in_child=_after_fork)
