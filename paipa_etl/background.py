"""The one place beside the runners that starts threads: reading ahead, writing behind.

Each thread belongs to a run and ends with it: closing its taking end joins it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, TypeVar

from paipa_etl.channel import Abandoned, Channel, Finished
from paipa_etl.stop import Stop

AHEAD = 2 << 20  # bytes: four trips of a decoder, enough to keep both threads busy
BEHIND = 1 << 20  # bytes: eight blocks

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


def read_ahead(
    items: Generator[T, None, None], size: Callable[[T], int], stop: Stop
) -> Iterator[T]:
    """Yield what a generator yields, run by a thread of its own that keeps ``AHEAD`` bytes ahead.

    The generator is closed by the thread that runs it. Closing this one sets the
    stop, so that a read that waits for bytes ends, and waits for the thread.
    """
    channel: Channel[T] = Channel(AHEAD)
    thread = threading.Thread(target=_pump, args=(items, size, channel), name="paipa-read-ahead")
    try:
        _start(thread)
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
            _join(thread)


def surely(action: Callable[[], None]) -> None:
    """Do what ends a thread's waiting; once more, where an interrupt came in the middle."""
    try:
        action()
    except BaseException:
        action()
        raise


def _start(thread: threading.Thread) -> None:
    """Start a thread, interrupts held back: one in mid-start would leave it half started.

    The thread keeps them held back: signals are the main thread's.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _join(thread: threading.Thread) -> None:
    """Wait for a thread, where it was started."""
    if thread.is_alive():
        thread.join()


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

    def __init__(self, output: Output) -> None:
        self._output = output
        self._channel: Channel[Callable[[], Any]] = Channel(BEHIND)
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
        _join(self._thread)
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Drop what is not written yet and end the thread."""
        surely(self._channel.abandon)
        _join(self._thread)

    def _call(self, action: Callable[[], Any], size: int) -> None:
        if not self._begun:
            self._begun = True
            _start(self._thread)
        try:
            self._channel.put(action, size)
        except Abandoned:
            _join(self._thread)
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
