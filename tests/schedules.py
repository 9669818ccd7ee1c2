"""Schedules: threads that are none, under a scheduler that decides at every lock who goes on."""

from __future__ import annotations

import gc
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from types import SimpleNamespace

import pytest
from greenlet import GreenletExit, getcurrent, greenlet

from paipa_etl.runners.threaded import share, stage, thread_group
from paipa_etl.runners.threaded.reorder import Ticket
from paipa_etl.threads import forks, waiting

ENDLESS = 10_000  # decisions: a run that takes more of them does not end
IDLE = 8  # times that a timed wait elapses, one after the other, while nobody else can go on

Script = dict[int, int]
"""Which way is taken at which decision; the first one at all others."""


class Task:
    """A logical thread; stands for ``threading.Thread``."""

    greenlet: greenlet

    failure: BaseException | None = None

    def __init__(
        self, target: Callable[[], object], name: str = "", end: Callable[[], object] | None = None
    ) -> None:
        self.name, self._target = name, target
        self.lock: Lock | None = None
        """What it waits for."""
        self.timed = self.started = self.ended = False
        self._running = Lock()

    def start(self) -> None:
        self.greenlet = greenlet(self._run, scheduler.hub)
        self.started = self._running.held = True
        scheduler.tasks.append(self)
        scheduler.decide()

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self.ended = True
            self._running.held = False

    def is_alive(self) -> bool:
        return self.started and not self.ended

    def join(self, timeout: float | None = None) -> None:
        with self._running:  # no grace: one that does not end is what is looked for
            pass


class Lock:
    """Stands for ``threading.Lock``; another may go on where it is taken or given back."""

    __slots__ = ("_new", "held")

    def __init__(self) -> None:
        self._new, self.held = True, False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._new:  # nobody else knows it yet
            self._new, self.held = False, True
            return True
        return scheduler.acquire(self, timeout >= 0)

    def release(self) -> None:
        assert self.held
        self.held = False
        scheduler.decide()

    def locked(self) -> bool:
        return self.held

    def __enter__(self) -> bool:
        return scheduler.acquire(self, False)

    def __exit__(self, *error: object) -> None:
        self.release()


class Scheduler:
    """Runs logical threads, one at a time; at each decision a script, or chance, takes a way.

    The first way is to go on with the same thread, or with the next one that can. Behind
    all that can go on come the timed waits that may elapse and, where that is asked for,
    an interrupt of the first thread, which happens once.
    """

    def __init__(
        self,
        script: Script,
        chance: random.Random | None = None,
        *,
        interrupts: bool = False,
        grows: bool = False,
    ) -> None:
        self.script, self._chance = script, chance
        self._likely = chance.choice((0.02, 0.1, 0.3, 0.6)) if chance else 0.0
        self._last = max(script, default=-1) if grows else ENDLESS
        self.hub = getcurrent()
        self.tasks: list[Task] = []
        self.others: list[tuple[int, int]] = []
        """The ways that were not taken behind the script's last one, each with its decision."""
        self.look: Callable[[], str] = str
        """Says what is wrong; called whenever another thread goes on."""
        self.problem = ""
        self.interrupts = interrupts
        self.interrupted = False
        self._decision = 0
        self._current: Task | None = None
        self._interrupt = False
        self._elapsed: Task | None = None
        self._idle = 0

    def run(self, target: Callable[[], object]) -> str:
        """Run until all threads have ended; what was wrong, where something was."""
        global scheduler
        scheduler = self
        Task(target, "consumer").start()
        try:
            while not self.problem and (following := self._next(self._takes_first())):
                self._current = following
                following.greenlet.switch()
        finally:
            self._current = None
            for task in self.tasks:
                if not task.ended:
                    task.greenlet.throw(GreenletExit)
        return self.problem

    def acquire(self, lock: Lock, timed: bool) -> bool:
        """Take a lock when it is free and the caller's turn; false: its time has passed before."""
        task = self._current
        if task is None:  # outside of the run, or when it is given up
            lock.held = True
            return True
        task.lock, task.timed = lock, timed
        try:
            self.decide()
        finally:
            task.lock = None
        if lock.held:
            return False
        lock.held = True
        return True

    def decide(self) -> None:
        """Let the one that is chosen go on; returns when it is the caller's turn again."""
        here = self._current
        if here is None:
            return
        first = self._takes_first()
        if first and self._decision <= self._last and (here.lock is None or not here.lock.held):
            return
        following = self._next(first)
        if following is not here:
            self.problem = self.problem or self.look()
            if self.problem or following is None:
                self.hub.switch()
            self._current = following
            following.greenlet.switch()
        if self._interrupt and here is self.tasks[0]:
            self._interrupt = False
            self.interrupted = True
            raise KeyboardInterrupt

    def _takes_first(self) -> bool:
        """Whether it is the first way that is taken at this decision."""
        self._decision += 1
        if self._decision > ENDLESS:
            self.problem = "does not end"
        if self._chance:
            return self._chance.random() >= self._likely
        return self._decision not in self.script

    def _next(self, first: bool) -> Task | None:
        """Who goes on; None: all have ended, or wait for ever."""
        at = self.tasks.index(self._current) if self._current else 0
        ready: list[Task] = []
        timed: list[Task] = []
        for task in self.tasks[at:] + self.tasks[:at]:
            if task.ended:
                continue
            if task.lock is None or not task.lock.held:
                ready.append(task)
            elif task.timed:
                timed.append(task)
        if not ready and not (timed and self._idle < IDLE):
            waiting = ", ".join(task.name for task in self.tasks if not task.ended)
            self.problem = waiting and f"wait for ever: {waiting}"
            return None
        interruptible = self.interrupts and not self.interrupted and not self.tasks[0].ended
        way = self._way(first, len(ready) + len(timed) + interruptible)
        if way < len(ready):
            if ready[way] is not self._elapsed:
                self._idle = 0
            return ready[way]
        way -= len(ready)
        if way < len(timed):
            self._idle += not ready
            self._elapsed = timed[way]
            return timed[way]
        self._interrupt = True
        return self.tasks[0]

    def _way(self, first: bool, count: int) -> int:
        if self._decision > self._last:
            self.others += ((self._decision, way) for way in range(1, count))
        if first:
            return 0
        if self._chance:
            self.script[self._decision] = self._chance.randrange(count)
        return min(self.script[self._decision], count - 1)


scheduler = Scheduler({})


def make_cooperative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the core use these locks and threads, and a clock that stands still."""
    threads = SimpleNamespace(Lock=Lock, current_thread=lambda: None)
    monkeypatch.setattr(thread_group, "threading", threads)
    monkeypatch.setattr(forks, "lock", Lock)
    monkeypatch.setattr(waiting, "Lock", Lock)
    for module in (share, stage, waiting):
        monkeypatch.setattr(module, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(thread_group, "Thread", Task)
    # What the collector drops is closed at once: a thread of its own would not be one of these.
    monkeypatch.setattr(thread_group, "apart", lambda cleanup: cleanup())
    monkeypatch.setattr(Ticket, "__hash__", lambda ticket: ticket.batch.indices[0])


def schedules(
    run: Callable[[Scheduler], str], budget: int, *, interrupts: bool = False, seed: int = 0
) -> Iterator[tuple[Script, str]]:
    """Run under so many schedules, no two the same; yields the script of each and what was wrong.

    Half of them take other ways than the first ones by plan: at no decision, then at every
    one, then at every two, and so on; of what exceeds the budget, a sample. The others take
    their ways by chance.
    """
    gc.collect()
    gc.disable()  # in the middle of a run it would close iterators in whichever task goes on
    try:
        yield from _schedules(run, budget, interrupts, random.Random(seed))
    finally:
        gc.collect()
        gc.enable()


def _schedules(
    run: Callable[[Scheduler], str], budget: int, interrupts: bool, chance: random.Random
) -> Iterator[tuple[Script, str]]:
    seen: set[frozenset[tuple[int, int]]] = set()
    level: list[Script] = [{}]
    while level:
        grows = len(seen) + len(level) < budget // 2
        grown: list[tuple[Script, list[tuple[int, int]]]] = []
        for script in level:
            scheduled = Scheduler(script, interrupts=interrupts, grows=grows)
            yield script, run(scheduled)
            seen.add(frozenset(script.items()))
            grown.append((script, scheduled.others))
        level = list(_one_more(grown, budget // 2 - len(seen), chance)) if grows else []
    for _ in range(budget):  # not for ever, where there are not so many
        if len(seen) == budget:
            return
        scheduled = Scheduler({}, chance, interrupts=interrupts)
        problem = run(scheduled)
        key = frozenset(scheduled.script.items())
        if key not in seen:
            seen.add(key)
            yield scheduled.script, problem


def _one_more(
    scripts: list[tuple[Script, list[tuple[int, int]]]], most: int, chance: random.Random
) -> Iterator[Script]:
    """Scripts that take one other way more, behind their last; at most so many of them."""
    ends = list(accumulate(len(others) for _, others in scripts))
    numbers: Iterable[int] = range(ends[-1])
    if ends[-1] > most:
        numbers = chance.sample(range(ends[-1]), most)
    for number in numbers:
        script, others = scripts[bisect_right(ends, number)]
        decision, way = others[number - ends[bisect_right(ends, number)]]
        yield {**script, decision: way}
