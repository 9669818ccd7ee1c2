"""Writing behind whoever hands over, and single calls beside it, such as uploads of parts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from paipa_etl.threads import forks
from paipa_etl.threads.channel import Abandoned, Channel, Finished
from paipa_etl.threads.exit import Thread
from paipa_etl.threads.starting import first_of, join, join_waking, surely
from paipa_etl.threads.stop import Stop, Stopped
from paipa_etl.threads.waiting import LOOK_UP

BEHIND = 1 << 20  # bytes: eight blocks


class Task:
    """One call, made by a thread of its own from ``start`` on.

    Whoever makes a task keeps it before starting it: an interrupt between the two loses nothing.
    ``end`` makes the call end soon, for the janitor.
    """

    def __init__(self, action: Callable[[], Any], end: Callable[[], object]) -> None:
        self._action = action
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._thread = Thread(self._work, "upload", end)

    def start(self) -> None:
        """Have the call made."""
        self._thread.start()

    def _work(self) -> None:
        try:
            self._action()
        except BaseException as error:  # raised again where the result is asked for
            self._failure = error
        finally:
            self._over.set()

    def finish(self) -> None:
        """Wait for the end of the call; raises what it raised."""
        join(self._thread)
        failure = first_of(self._failure, self._thread.failure)
        if failure is not None:
            raise failure

    def finish_unless(self, stop: Stop) -> None:
        """Wait for the end of the call, as ``finish`` does, or for the stop.

        Raises ``Stopped`` when the stop comes first; the call goes on then.
        """
        with stop.waking(self._over.set):
            while not self._over.wait(LOOK_UP):  # so that the main thread handles signals
                pass
        if stop.is_set and self._thread.is_alive():
            raise Stopped
        self.finish()

    def ended(self, seconds: float) -> bool:
        """Whether the call ends within some seconds."""
        join(self._thread, seconds)
        return not self._thread.is_alive()

    def abort(self, stop: Stop) -> None:
        """Wait for the end of the call, which the stop brings about."""
        join_waking(self._thread, stop)


class Output(Protocol):
    """What encoded bytes are written to: a compressor over a store's target."""

    def write(self, data: bytes | bytearray) -> None: ...
    def pause(self) -> None: ...
    def finish(self) -> None: ...


class WriteBehind:
    """An output whose work is done by a thread of its own, at most ``BEHIND`` bytes behind.

    What the thread fails with is raised by the next call here. The thread starts with
    the first call, when whoever made this can already abort it: an interrupt between
    the two would leave it waiting for ever. ``end`` ends the run, for the janitor.
    """

    def __init__(self, output: Output, end: Callable[[], None], limit: int = BEHIND) -> None:
        self._output = output
        self.channel: Channel[Callable[[], Any]] = forks.own(Channel(limit))
        self._failure: BaseException | None = None

        def end_all() -> None:
            end()
            self.channel.abandon()

        self._thread = Thread(self._work, "write-behind", end_all)
        self._begun = self._done = False

    def write(self, data: bytes | bytearray) -> None:
        """Have the bytes written."""
        self._call(lambda: self._output.write(data), len(data))

    def pause(self) -> None:
        """Have what was written shown to readers of a live output."""
        self._call(self._output.pause, 0)

    def finish(self) -> None:
        """Write everything, with the codec's trailer, and end the thread."""
        self._call(self._output.finish, 0)
        self.channel.finish()
        join(self._thread)
        if not self._done:
            raise self._cause()

    def abort(self) -> None:
        """Drop what is not written yet and end the thread."""
        surely(self.channel.abandon)
        join(self._thread)

    def _call(self, action: Callable[[], Any], size: int) -> None:
        if not self._begun:
            self._begun = True
            self._thread.start()
        try:
            self.channel.put(action, size)
        except Abandoned:
            join(self._thread)
            raise self._cause() from None

    def _cause(self) -> BaseException:
        """Why not everything was written."""
        cause = first_of(self._failure, self._thread.failure)
        return Abandoned() if cause is None else cause

    def _work(self) -> None:
        try:
            while True:
                self.channel.get()()
        except Finished:
            self._done = True
        except Abandoned:
            pass
        except BaseException as error:  # raised again in the thread that hands over
            self._failure = error
        finally:
            self.channel.abandon()
