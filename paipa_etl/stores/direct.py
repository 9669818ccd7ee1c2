"""Awaitables of obstore, waited for by the thread that asks: no event loop turns for them.

Of a loop, obstore (that is, pyo3-async-runtimes) wants a future, and to have a function called
when the request has ended. A loop in a thread of its own would cost two more hand-overs each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any


class Answer(Future[Any]):
    """What a request will give; one that was cancelled meanwhile is not interested any more."""

    def set_result(self, result: Any) -> None:
        """It has ended."""
        with suppress(InvalidStateError):
            super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        """It has failed."""
        with suppress(InvalidStateError):
            super().set_exception(exception)


class Direct:
    """What is asked of a loop. It does not turn: callbacks run at once, in obstore's thread."""

    def create_future(self) -> Answer:
        """Where the thread that asked waits."""
        return Answer()

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> None:
        """The request has ended."""
        callback(*args)


_DIRECT: Any = Direct()


def waited_for(begin: Callable[[], Any], seconds: float) -> Any:
    """What a request gives; raises what it fails with.

    ``TimeoutError`` behind so many seconds, and ``CancelledError`` of ``concurrent.futures``
    where a stop has cancelled it; the request is given up then.
    """
    around = asyncio._get_running_loop()
    asyncio._set_running_loop(_DIRECT)
    try:
        future = begin()
    finally:
        asyncio._set_running_loop(around)
    try:
        return future.result(seconds)
    finally:
        future.cancel()
        del future  # it holds what it raised, whose traceback holds this frame
