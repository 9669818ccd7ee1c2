"""The event loop of a run, or of a store's connection, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from paipa_etl.background.threads import start
from paipa_etl.stop import Stopped

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

T = TypeVar("T")


class EventLoop:
    """The event loop of a run, in a thread of its own that starts when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._closed = False
        self.thread = threading.Thread(target=self._serve, name="paipa-event-loop")
        self._ready = threading.Event()

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

    def close(self) -> None:
        """Cancel what still runs and end the thread, which the caller may join."""
        with self._lock:
            self._closed = True
        if self._loop is not None and self._ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)


async def _caught(coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """What a coroutine returns; or an exit that it raises, which would end the loop's thread."""
    try:
        return await coroutine, None
    except (SystemExit, KeyboardInterrupt) as error:
        return None, error
