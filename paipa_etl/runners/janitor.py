"""The janitor: ends what still runs when the interpreter does, and what the collector drops.

Threads that are not daemons are joined before ``atexit`` functions run, so a run that
nobody waits for would hold up the interpreter for ever. One thread joins the main thread,
and then stops all live runs. It starts with the first run that has threads.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

from paipa_etl import forks
from paipa_etl.background import start

_lock = forks.lock()
_live: dict[object, tuple[threading.Thread, Callable[[], None]]] = {}
_thread: threading.Thread | None = None
_collecting: int | None = None


def watch(key: object, end: Callable[[], None]) -> None:
    """Have ``end`` called when the main thread is over, unless a thread of the user's waits for it.

    That is the calling one, where it is neither the main thread nor a daemon.
    """
    global _thread
    with _lock:
        _live[key] = (threading.current_thread(), end)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_serve, name="paipa-janitor")
            start(_thread)


def leave(key: object) -> None:
    """It has ended."""
    with _lock:
        _live.pop(key, None)


def _serve() -> None:
    main = threading.main_thread()
    main.join()
    with _lock:
        live = list(_live.values())
    for owner, end in live:
        if owner is main or owner.daemon or owner.name.startswith("paipa-"):
            end()


def apart(action: Callable[[], None], name: str) -> None:
    """Do what takes locks and joins threads; in the middle of a collection, in another thread.

    The collector may run in any thread, and while it holds one of those very locks.
    """
    if _collecting == threading.get_ident():
        start(threading.Thread(target=action, name=name))
    else:
        action()


def _note_collection(phase: str, info: dict[str, Any]) -> None:
    global _collecting
    _collecting = threading.get_ident() if phase == "start" else None


def _disown() -> None:
    """In a forked child: the runs are the parent's, and so is the thread."""
    global _thread, _collecting
    _live.clear()
    _thread = _collecting = None


gc.callbacks.append(_note_collection)
forks.in_child(_disown)
