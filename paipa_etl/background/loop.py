"""The event loop of a run, or of a store's connection, in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from paipa_etl import forks
from paipa_etl.background.threads import start
from paipa_etl.stop import Stopped

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

T = TypeVar("T")


class EventLoop:
    """The event loop of a run, in a thread of its own that starts when it is first needed."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._closed = False
        self.thread = threading.Thread(target=self._serve, name="paipa-event-loop")
        self._ready = threading.Event()
        forks.own(self)

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, and give what it returns; raises ``Stopped`` at the run's."""
        import concurrent.futures

        try:
            future = self.submit(_caught(coroutine))
        except Stopped:
            coroutine.close()
            raise
        try:
            result, error = future.result()
            if error is not None:
                raise error
            return result
        except concurrent.futures.CancelledError:
            if not self._closed:
                raise  # the coroutine's own: something that it awaits was cancelled
            raise Stopped from None
        finally:
            future.cancel()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Start a coroutine."""
        import asyncio

        with self._lock:
            if self._closed:
                coroutine.close()
                raise Stopped
            if self._loop is None:
                start(self.thread)
                self._ready.wait()
            assert self._loop is not None
            # Under the lock: behind the word to end, the loop would never come to begin it.
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _serve(self) -> None:
        import asyncio

        async def until_closed() -> None:
            self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._ended.wait()

        with asyncio.Runner() as runner:
            runner.run(until_closed())

    def disown(self) -> None:
        """In a forked child: its thread is not there, and its descriptors are the parent's.

        A coroutine that forked must not turn the loop, which shares the parent's epoll object:
        its child ends when it would.
        """
        self._closed = True
        if self._loop is not None:
            forks.keep(self._loop)
            if threading.current_thread() is self.thread:
                self._loop.call_soon(os._exit, 1)
        self._loop = None

    def close(self) -> None:
        """Cancel what still runs and end the thread, which the caller may join."""
        with self._lock:
            self._closed = True
        if self._loop is not None and self._ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)


async def _caught(coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """What a coroutine returns, and what it raises.

    An exit would end the loop's thread; and a ``concurrent.futures.Future`` does not raise an
    exception that is false, but gives None.
    """
    from asyncio import CancelledError

    try:
        return await coroutine, None
    except CancelledError:
        raise
    except BaseException as error:
        return None, error
