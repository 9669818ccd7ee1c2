"""Looks at what is expensive to look at: the processor's time of a thread, the memory, counters."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping
from time import perf_counter_ns, thread_time_ns

from paipa_etl.metering.meter import Account

PERIOD = 20_000_000  # nanoseconds between two looks at the clocks that cost a microsecond each


class Look:
    """Looks at what is expensive to look at, for the strand of one thread."""

    def __init__(
        self,
        counters: Mapping[str, Callable[[], int]],
        memory: Memory,
        passing: Callable[[], None],
    ) -> None:
        self._counters, self._memory, self._passing = list(counters.values()), memory, passing
        self._seen = [counter() for counter in self._counters]
        self._cpu = 0

    def __call__(self, account: Account, wall: int) -> None:
        """The processor's time since the last look; where looks begin, the memory instead.

        Who is at work when it is time to look is so as often as it works long: it gets all
        that the process grew by since the last time, and on average everyone their share.
        """
        if wall < 0:
            account.grown += self._memory.grown()
            self._passing()
        else:
            account.looked_wall += wall
            account.looked_cpu += min(thread_time_ns() - self._cpu, wall)
        self._cpu = thread_time_ns()

    def count(self, account: Account) -> None:
        """What the user's counters have grown by."""
        seen = [counter() for counter in self._counters]
        grown = zip(seen, self._seen, strict=True)
        for place, (now, before) in enumerate(grown):
            if account.counted:
                account.counted[place] += now - before
        self._seen = seen


class Worker:
    """The account of a worker, which tells its times itself."""

    def __init__(self, account: Account, counters: Mapping[str, Callable[[], int]]) -> None:
        self._account = account
        self._counters = list(counters.values())
        self._seen = [counter() for counter in self._counters]
        self._cpu: int | None = None
        self._due = self._own = 0

    def __call__(self, seconds: float, count: int) -> None:
        """So many records took so many seconds."""
        nanoseconds = max(int(seconds * 1e9), 0)
        self._account.add(nanoseconds, count)
        if self._counters:
            self._count()
        now = perf_counter_ns()
        if now >= self._due:
            cpu, self._due = thread_time_ns(), now + PERIOD
            # Its thread does little else: all of the processor's time of it is the step's.
            if self._cpu is not None:
                self._account.looked_cpu += cpu - self._cpu
                self._account.looked_wall += self._account.own - self._own
            self._cpu, self._own = cpu, self._account.own

    def _count(self) -> None:
        for place, counter in enumerate(self._counters):
            now = counter()
            self._account.counted[place] += now - self._seen[place]
            self._seen[place] = now


class Memory:
    """The resident memory of this process, in bytes."""

    def __init__(self) -> None:
        self._page = resource.getpagesize()
        try:
            self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1
        self._seen = self.held()

    def held(self) -> int:
        """What it is now; where the system does not tell, the most that it was."""
        if self._file >= 0:
            return int(os.pread(self._file, 64, 0).split()[1]) * self._page
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def grown(self) -> int:
        """What it has grown by since this was asked last, by anybody."""
        before, self._seen = self._seen, self.held()
        return self._seen - before

    def close(self) -> None:
        """Close what the system tells it by; it says the most that it was from now on."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
