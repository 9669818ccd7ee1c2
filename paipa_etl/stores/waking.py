"""Ending another thread's wait for the network, whichever client library it waits in.

A thread that waits for a socket, or for an event loop, does so in a frame that knows it. Only
the frames above the one that called the library are looked at: nothing else can be meant. Our
event loop counts as a library here: a store waits in it for what its client does there.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

CALLERS = "paipa_etl.stores"
EVENT_LOOP = "paipa_etl.threads.event_loop"
NAMES = ("sock", "_sock")


def waker() -> Callable[[], None]:
    """What ends a wait of the calling thread for a socket, when another thread calls it."""
    thread = threading.get_ident()

    def wake() -> None:
        frame = sys._current_frames().get(thread)
        for found in list(_waited_for(frame)):
            with contextlib.suppress(OSError):  # gone already, or not connected yet
                if isinstance(found, socket.socket):
                    found.shutdown(socket.SHUT_RDWR)
                else:
                    found.cancel()

    return wake


def _waited_for(frame: types.FrameType | None) -> Iterator[socket.socket | Future[Any]]:
    """What the library's frames wait for; nothing where no store of ours called it."""
    frames = []
    while frame is not None and not _is_ours(frame):
        frames.append(frame)
        frame = frame.f_back
    if frame is None or not frame.f_globals.get("__name__", "").startswith(CALLERS):
        return
    for above in frames:
        for value in tuple(above.f_locals.values()):
            for found in (value, *(_attribute(value, name) for name in NAMES)):
                if isinstance(found, (socket.socket, Future)):
                    yield found


def _is_ours(frame: types.FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    # With the dot: another package may be called paipa_etl_something.
    return name.startswith("paipa_etl.") and name != EVENT_LOOP


def _attribute(value: object, name: str) -> object:
    """An attribute that is there as it stands: no code of the library's may run for it."""
    try:
        return object.__getattribute__(value, "__dict__").get(name)
    except AttributeError:
        return None
