"""The event loop of a run, or of a store's connection, in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from paipa_etl.threads import forks
from paipa_etl.threads.exit import Thread
from paipa_etl.threads.starting import join
from paipa_etl.threads.stop import Stopped
from paipa_etl.threads.waiting import LOOK_UP

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
        self.thread: Thread | None = None
        forks.own(self)

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, and give what it returns; raises ``Stopped`` at the run's."""
        import concurrent.futures

        try:
            future = self.submit(_caught(coroutine))
        except BaseException:
            coroutine.close()
            raise
        try:
            result, error = self.result(future)
            if error is not None:
                raise error
            return result
        except concurrent.futures.CancelledError:
            if not self._closed:
                raise  # the coroutine's own: something that it awaits was cancelled
            raise Stopped from None
        finally:
            future.cancel()

    def begin(self) -> None:
        """Have the loop there; raises what the system has against it."""
        with self._lock:
            self._begin()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Start a coroutine."""
        import asyncio

        with self._lock:
            try:
                self._begin()
            except BaseException:
                coroutine.close()
                raise
            assert self._loop is not None
            # Under the lock: behind the word to end, the loop would never come to begin it.
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def result(self, future: concurrent.futures.Future[T]) -> T:
        """Wait for a coroutine and give what it returns; raises what ended the loop before that."""
        assert self.thread is not None
        while not future.done():
            try:
                return future.result(LOOK_UP)
            except TimeoutError:  # where it is the coroutine's own, it is raised below
                if not (self.thread.is_alive() or future.done()):
                    failure = self.thread.failure
                    raise (Stopped if failure is None else failure) from None
        return future.result()

    def _begin(self) -> None:
        """Make the loop here, where a failure is the caller's, and start its thread."""
        if self._closed:
            raise Stopped
        if self._loop is not None:
            return
        import asyncio

        loop, ended = _new_loop(), asyncio.Event()
        thread = Thread(partial(_serve, loop, ended), "event-loop", self.close)
        try:
            thread.start()
        except BaseException:
            loop.close()
            raise
        self._loop, self._ended, self.thread = loop, ended, thread

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
        if self._loop is not None and self._ended is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._ended.set)

    def join(self) -> None:
        """Wait for the end of the thread, where there is one."""
        if self.thread is not None:
            join(self.thread)


def _new_loop() -> asyncio.AbstractEventLoop:
    """A new event loop. One that is half made complains when it is dropped: see if it can be."""
    import asyncio
    import selectors
    import socket

    with selectors.DefaultSelector():
        for end in socket.socketpair():
            end.close()
    return asyncio.new_event_loop()


def _serve(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    import asyncio

    async def until_ended() -> None:
        await ended.wait()

    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(until_ended())
    finally:
        loop.close()


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
