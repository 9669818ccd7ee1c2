"""Looks at what is expensive to look at: the processor's time of a thread, the memory, counters."""

from __future__ import annotations

import operator
import os
import resource
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from time import perf_counter_ns, thread_time_ns

from paipa_etl.errors import PaipaWarning, describe, shown
from paipa_etl.metrics.meter import Account, peek, peek_open
from paipa_etl.threads import forks

SPAN = 2_000_000  # nanoseconds at work in one go, from which the processor's part is always read
PERIOD = 20_000_000  # nanoseconds between two cycles in which it is read for what is shorter
SELDOM = 200_000_000  # nanoseconds between two looks of a worker at what only the system knows


class Look:
    """Looks at what is expensive to look at, for the strand of one thread.

    How much of a long span was the processor's is always asked. Of short ones that would cost
    more than they do: they are looked at in one cycle over all boundaries every 20 ms, and so
    is who the memory grows with; what it grows by between two cycles goes to the same.
    """

    def __init__(
        self,
        counters: Counters,
        memory: Memory,
        delays: Delays,
        passing: Callable[[], None],
    ) -> None:
        self._counters, self._memory, self._passing = counters, memory, passing
        self._delays = delays
        delays.look()
        self._seen = counters.read()
        self._cpu, self._at, self._due = thread_time_ns(), 0, 0
        self._left = 0
        self._short = Account()
        self._growths: list[tuple[Account, int]] = []

    def __call__(self, account: Account, spent: int, now: int, boundaries: int) -> int:
        """Look at what an account did in its last span; gives how long not to look again.

        All in nanoseconds, 0: not at all. ``now`` is when the span ended, by the strand's clock.
        """
        if spent < SPAN and not self._left and now < self._due:  # where most looks end
            self._at, self._cpu = now, thread_time_ns()
            return SPAN
        used = thread_time_ns() - self._cpu
        self._at = self._at or now - spent
        if spent >= SPAN:
            account.long_wall += spent
            account.long_cpu += self._of_long(used, spent, now - self._at)
        elif self._left:
            for one in (account, self._short):
                one.looked_wall += spent
                one.looked_cpu += min(used, spent)
        if self._left:
            self._grown(account)
        elif now >= self._due:
            self._begin(now, boundaries)
        self._at, self._cpu = now, thread_time_ns()
        return 0 if self._left else SPAN

    def _of_long(self, used: int, spent: int, passed: int) -> int:
        """What of the processor's time since the last look was within the span that ends now."""
        short = self._short
        ratio = short.looked_cpu / short.looked_wall if short.looked_wall else 1.0
        before = int(max(passed - spent, 0) * ratio)
        return min(max(used - before, 0), spent)

    def _begin(self, now: int, boundaries: int) -> None:
        self._left = 2 * boundaries
        self._due = now + PERIOD
        self._growths.clear()
        self._memory.set_aside()
        self._delays.look()
        self._passing()

    def _grown(self, account: Account) -> None:
        self._left -= 1
        if account.waits:
            self._memory.set_aside()
        else:
            growth = self._memory.grown()
            account.grown += growth
            if growth > 0:
                self._growths.append((account, growth))
        if not self._left:
            self._share_out()

    def _share_out(self) -> None:
        """What was set aside goes to those with whom the memory grew in this cycle, as it did."""
        total = sum(growth for _, growth in self._growths)
        rest = self._memory.taken() if total else 0
        for account, growth in self._growths:
            share = rest * growth // total
            account.grown += share
            rest, total = rest - share, total - growth

    def count(self, account: Account) -> None:
        """What the user's counters have grown by."""
        self._seen = self._counters.counted(account, self._seen)


class ThreadTime:
    """The processor's time of one thread, as of the last time that any of its workers asked."""

    __slots__ = ("cpu", "due", "seldom")

    def __init__(self) -> None:
        self.cpu, self.due, self.seldom = thread_time_ns(), 0, 0


class Worker:
    """The account of a worker, which tells its times itself."""

    def __init__(
        self,
        account: Account,
        counters: Counters,
        memory: Memory,
        delays: Delays,
        thread: ThreadTime,
    ) -> None:
        self._account, self._memory, self._thread = account, memory, thread
        self._delays = delays
        delays.look()
        self._counters = counters
        self._seen = counters.read()

    def __call__(self, seconds: float, count: int) -> None:
        """So many records took so many seconds."""
        account = self._account
        account.add(max(int(seconds * 1e9), 0), count)
        if self._counters.names:
            self._seen = self._counters.counted(account, self._seen)
        now = perf_counter_ns()
        if now >= self._thread.due:
            self._look(now)
        account.long_wall = account.own

    def _look(self, now: int) -> None:
        """All that its thread used is the step's; of tasks that share one, whoever tells next."""
        thread, cpu = self._thread, thread_time_ns()
        self._account.long_cpu += cpu - thread.cpu
        self._account.grown += self._memory.grown()
        thread.cpu, thread.due = cpu, now + PERIOD
        if now >= thread.seldom:
            self._delays.look()
            thread.seldom = now + SELDOM


class Counters:
    """Numbers of the user's that only grow. One that raises is left out, with a warning."""

    def __init__(self, counters: Mapping[str, Callable[[], int]]) -> None:
        self.names = tuple(counters)
        self._counters: dict[str, Callable[[], int] | None] = dict(counters)

    def read(self) -> list[int]:
        """What they say now, in the thread that asks; 0 where one is left out."""
        return [self._said(name) for name in self.names]

    def counted(self, account: Account, before: list[int]) -> list[int]:
        """Give an account what they have grown by; give what they say now."""
        now = self.read()
        for place, (one, other) in enumerate(zip(now, before, strict=True)):
            # It says 0 from when on it was left out: what it had counted stays.
            if account.counted and self._counters[self.names[place]] is not None:
                account.counted[place] += one - other
        return now

    def _said(self, name: str) -> int:
        counter = self._counters[name]
        if counter is None:
            return 0
        try:
            return operator.index(counter())
        except Exception as error:
            self._counters[name] = None
            problem = f"the counter {shown(name)} failed: {describe(error)}"
            warnings.warn(f"{problem}; the run goes on without it", PaipaWarning, stacklevel=2)
            return 0


class Delays:
    """How long threads were ready to go on and had no processor, all of them together."""

    def __init__(self) -> None:
        self._here = threading.local()
        self._lock = forks.lock()
        self.nanoseconds = 0

    def look(self) -> None:
        """Add that of the thread that asks, since it asked last; costs some 10 microseconds."""
        delay = _delay()
        since = delay - getattr(self._here, "seen", delay)
        self._here.seen = delay
        with self._lock:
            self.nanoseconds += since


def _delay() -> int:
    """That of this thread since it began, in nanoseconds; 0 where the system does not tell."""
    said = peek("/proc/thread-self/schedstat").split()
    return int(said[1]) if len(said) > 1 else 0


class Memory:
    """The resident memory of this process, in bytes."""

    def __init__(self) -> None:
        self._page = resource.getpagesize()
        try:
            self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1
        self._lock = forks.lock()
        self._seen = self.held()
        self._aside = 0

    def held(self) -> int:
        """What it is now; where the system does not tell, the most that it was."""
        if self._file >= 0:
            return int(peek_open(self._file).split()[1]) * self._page
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def grown(self) -> int:
        """What it has grown by since this was asked last, by anybody."""
        with self._lock:
            before, self._seen = self._seen, self.held()
            return self._seen - before

    def set_aside(self) -> None:
        """Keep what it has grown by: nobody knows yet whose it is."""
        growth = self.grown()
        with self._lock:
            self._aside += growth

    def taken(self) -> int:
        """What was set aside, which is somebody's now."""
        with self._lock:
            aside, self._aside = self._aside, 0
        return aside

    def close(self) -> None:
        """Close what the system tells it by; it says the most that it was from now on."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
