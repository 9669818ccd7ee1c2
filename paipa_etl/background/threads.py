"""Starting, waking and joining a thread: an interrupt must not leave it half done."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paipa_etl.interrupts import held_back
from paipa_etl.stop import Stop
from paipa_etl.turns import LOOK_UP

AGAIN = 0.1  # seconds after which a thread that should end is woken once more


def surely(action: Callable[[], None]) -> None:
    """Do what ends a thread's waiting; once more, where an interrupt came in the middle."""
    try:
        action()
    except BaseException:
        action()
        raise


def start(thread: threading.Thread) -> None:
    """Start a thread, interrupts held back: one in mid-start would leave it half started.

    The thread keeps them held back: signals are the main thread's.
    """
    with held_back():
        thread.start()


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
    if timeout is None and here is threading.main_thread():
        while thread.is_alive():  # so that a signal is handled that another thread was given
            thread.join(LOOK_UP)
    elif thread.is_alive() and thread is not here:
        thread.join(timeout)
