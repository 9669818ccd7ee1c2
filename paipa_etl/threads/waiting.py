"""How threads and tasks wait in a line, and are woken one at a time. No items here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from signal import SIG_BLOCK, pthread_sigmask
from threading import Lock, get_ident, main_thread
from time import perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar

from paipa_etl.errors import Word
from paipa_etl.threads import forks

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")

LOOK_UP = 0.5  # seconds after which the main thread's wait lets a signal be handled


_main = main_thread().ident


def _after_fork() -> None:
    """The thread that forked is the main thread of the child."""
    global _main
    _main = get_ident()


forks.in_child(_after_fork)


def acquire(lock: Lock, timeout: float = -1) -> bool:
    """Take a lock; false when the seconds have passed before.

    A signal that the kernel gives to another thread wakes nobody, and its handler is called
    by the main thread only: that one looks for it now and then.
    """
    if get_ident() != _main:
        return lock.acquire(timeout=timeout)
    while True:
        seconds = LOOK_UP if timeout < 0 else min(LOOK_UP, timeout)
        if lock.acquire(timeout=seconds):
            return True
        pthread_sigmask(SIG_BLOCK, ())  # has CPython call the handlers
        if timeout >= 0:
            timeout -= seconds
            if timeout <= 0:
                return False


class Turn:
    """A thread's place in a line: a lock that its waker gives back."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def wait(self, timeout: float = -1) -> bool:
        """Wait to be woken; false when the seconds have passed before."""
        return acquire(self._lock, timeout)

    def wake(self) -> bool:
        """Wake who waits; false where it was woken already."""
        if not self._lock.locked():
            return False
        self._lock.release()
        return True


class LoopTurn:
    """A task's place in a line: a future of its event loop."""

    __slots__ = ("_future", "_loop", "_woken")

    def __init__(self) -> None:
        import asyncio  # here, because it takes long and most runs have no loop

        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()
        self._woken = False

    async def wait(self) -> None:
        """Wait to be woken; afterwards it can be waited for again."""
        await self._future
        self._future, self._woken = self._loop.create_future(), False

    def wake(self) -> bool:
        """Wake who waits, from any thread; false where it was woken already."""
        if self._woken or self._loop.is_closed():
            return False
        self._woken = True
        self._loop.call_soon_threadsafe(self._end, self._future)
        return True

    @staticmethod
    def _end(future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)


class Line:
    """Those who wait at one end, woken one at a time, in order.

    One that was woken and has not arrived yet is not followed by another: it wakes the
    next itself where there is more to do. Called while the channel's lock is held.
    """

    __slots__ = ("_coming", "turns", "waited")

    def __init__(self) -> None:
        self.turns: deque[Turn | LoopTurn] = deque()
        self.waited = 0.0
        self._coming = False

    def wake(self) -> None:
        """Wake the first. It leaves the line afterwards: interrupted between, it is woken again."""
        while self.turns and not self._coming:
            self._coming = self.turns[0].wake()
            self.turns.popleft()

    def wake_all(self) -> None:
        """Wake all of them."""
        while self.turns:
            self.turns[0].wake()
            self.turns.popleft()

    def arrived(self) -> None:
        """One that was woken is here, and does what is to be done."""
        self._coming = False

    def leave(self, turn: Turn | LoopTurn) -> bool:
        """Give up one's place; who was woken passes it on. False: there was no place any more."""
        if turn in self.turns:
            self.turns.remove(turn)
            return True
        self._coming = False
        self.wake()
        return False


class Elapsed(Word):
    """``take``: nothing came in the time that was given."""


class Waiting:
    """A lock, and how to wait, in a line, for what can be done while it is held."""

    def __init__(self) -> None:
        self.lock = forks.lock()

    def until(self, line: Line, attempt: Callable[[], R | None], timeout: float | None = None) -> R:
        """Try, and try again whenever it is one's turn; whatever ends it, the turn is passed on.

        Raises ``Elapsed`` when so many seconds have passed.
        """
        turn = Turn()
        with _Attempts(self.lock, line, turn, attempt) as attempts:
            came = True
            while (result := attempts.next(came)) is None:
                left = -1 if timeout is None else max(timeout - attempts.seconds(), 0)
                came = turn.wait(left)
        return result

    async def until_in_loop(self, line: Line, attempt: Callable[[], R | None]) -> R:
        """The same for a task."""
        turn = LoopTurn()
        with _Attempts(self.lock, line, turn, attempt) as attempts:
            while (result := attempts.next()) is None:
                await turn.wait()
        return result


class _Attempts(Generic[R]):
    """The attempts of one thread or task, which has a place in the line between two of them.

    Leaving the block with an exception passes the turn on to the next one in the line.
    """

    __slots__ = ("_attempt", "_began", "_line", "_lock", "_turn", "_waited")

    def __init__(
        self, lock: Lock, line: Line, turn: Turn | LoopTurn, attempt: Callable[[], R | None]
    ) -> None:
        self._lock, self._line, self._turn, self._attempt = lock, line, turn, attempt
        self._began = perf_counter()
        self._waited = False

    def __enter__(self) -> _Attempts[R]:
        return self

    def next(self, came: bool = True) -> R | None:
        """Try, and get in line where nothing can be done yet.

        ``came``: the wait before ended with its turn, and not because its time was over. Then
        raises ``Elapsed``, unless the turn came at the same moment.
        """
        with self._lock:
            if self._waited:
                if not came and self._line.leave(self._turn):
                    raise Elapsed
                self._line.arrived()
            result = self._attempt()
            if result is None:
                self._line.turns.append(self._turn)
                self._waited = True
        return result

    def seconds(self) -> float:
        """How long it has waited."""
        return perf_counter() - self._began

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            with self._lock:
                self._line.leave(self._turn)
        self._line.waited += self.seconds()
