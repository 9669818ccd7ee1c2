"""The one place beside the runners that starts threads: read-ahead, write-behind, event loop.

Each thread belongs to a run and ends with it: closing its taking end joins it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from paipa_etl.channel import Abandoned, Channel, Finished
from paipa_etl.interrupts import held_back
from paipa_etl.stop import Stop, Stopped

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

AHEAD = 2 << 20  # bytes: four trips of a decoder, enough to keep both threads busy
BEHIND = 1 << 20  # bytes: eight blocks

T = TypeVar("T")


def read_ahead(
    items: Generator[T, None, None], size: Callable[[T], int], stop: Stop, limit: int = AHEAD
) -> Iterator[T]:
    """Yield what a generator yields, run by a thread of its own that keeps ``limit`` bytes ahead.

    The generator is closed by the thread that runs it. Closing this one sets the
    stop, so that a read that waits for bytes ends, and waits for the thread.
    """
    channel: Channel[T] = Channel(limit)
    thread = threading.Thread(target=_pump, args=(items, size, channel), name="paipa-read-ahead")
    try:
        start(thread)
        while True:
            try:
                item = channel.get()
            except Finished:
                return
            yield item
    finally:
        try:
            surely(channel.abandon)
        finally:
            surely(stop.set)
            join(thread)


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


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait for a thread, where it was started and is another than this one."""
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(timeout)


def _pump(items: Generator[T, None, None], size: Callable[[T], int], channel: Channel[T]) -> None:
    failure: BaseException | None = None
    try:
        for item in items:
            channel.put(item, size(item))
    except Abandoned:
        pass
    except BaseException as error:  # whatever it is, it is raised where the items are taken
        failure = error
    finally:
        try:
            items.close()
        except BaseException as error:
            failure = failure or error
        channel.finish(failure)


class Output(Protocol):
    """What encoded bytes are written to: a compressor over a store's target."""

    def write(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def finish(self) -> None: ...


class WriteBehind:
    """An output whose work is done by a thread of its own, at most ``BEHIND`` bytes behind.

    What the thread fails with is raised by the next call here. The thread starts with
    the first call, when whoever made this can already abort it: an interrupt between
    the two would leave it waiting for ever.
    """

    def __init__(self, output: Output, limit: int = BEHIND) -> None:
        self._output = output
        self._channel: Channel[Callable[[], Any]] = Channel(limit)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="paipa-write-behind")
        self._begun = False

    def write(self, data: bytes) -> None:
        """Have the bytes written."""
        self._call(lambda: self._output.write(data), len(data))

    def pause(self) -> None:
        """Have what was written shown to readers of a live output."""
        self._call(self._output.pause, 0)

    def finish(self) -> None:
        """Write everything, with the codec's trailer, and end the thread."""
        self._call(self._output.finish, 0)
        self._channel.finish()
        join(self._thread)
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Drop what is not written yet and end the thread."""
        surely(self._channel.abandon)
        join(self._thread)

    def _call(self, action: Callable[[], Any], size: int) -> None:
        if not self._begun:
            self._begun = True
            start(self._thread)
        try:
            self._channel.put(action, size)
        except Abandoned:
            join(self._thread)
            if self._failure is None:
                raise
            raise self._failure from None

    def _work(self) -> None:
        try:
            while True:
                self._channel.get()()
        except (Finished, Abandoned):
            pass
        except BaseException as error:  # raised again in the thread that hands over
            self._failure = error
        finally:
            self._channel.abandon()


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
