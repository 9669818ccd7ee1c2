"""The accounts of a run under a debugger: time, records and memory of each owner and thread.

What is reported here is read, by any thread, in ``debugger/observed.py``.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from paipa_etl.metrics.looks import Counters, Delays, Look, Memory, ThreadTime, Worker
from paipa_etl.metrics.meter import Account, Probe, Strand, probed_call
from paipa_etl.metrics.observer import (
    ELSE,
    OWN,
    ROLES,
    ROOM,
    WAITS,
    Key,
    Measured,
    Observer,
    Owner,
    Weigh,
)
from paipa_etl.metrics.totals import Total
from paipa_etl.threads import forks

MANY = 64  # threads, from which those that have ended are kept as a sum only


@dataclass(frozen=True)
class Queue:
    """A channel, who hands over and who takes (a step's counts, ``SOURCE`` or ``SINK``)."""

    channel: Measured
    giver: Owner
    taker: Owner


class RunAccounts(Observer):
    """The accounts of one run. Each belongs to one thread; they are added up when looked at.

    Keeps some kilobytes for each thread and role; of threads that have ended only their sum,
    where they were many.

    ``counters``: numbers of the user's that only grow; what they grow by while a step is at
    work is the step's. ``lists``: a list of n counts n. ``clock`` gives nanoseconds.
    """

    def __init__(
        self,
        counters: Mapping[str, Callable[[], int]] | None = None,
        *,
        lists: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.counters = Counters({} if counters is None else counters)
        self.clock = clock
        self.queues: list[Queue] = []
        self.passing: Callable[[], None] = lambda: None
        """Called now and then by whoever carries records, at the time of nobody."""
        self._weigh = _items if lists else None
        self._accounts: defaultdict[Key, list[Account]] = defaultdict(list)
        self._ended: defaultdict[Key, Total] = defaultdict(Total)
        self._threads: list[ThreadAccounts] = []
        self._here = threading.local()
        self._lock = forks.lock()
        self.delays = Delays()
        self.memory = Memory()

    # What is told.

    def lane(self, owner: Owner, role: str = OWN) -> None:
        strand, account = self._find((owner, role))
        strand.switch(account)

    def timed(
        self, items: Iterator[Any], owner: Owner, role: str = OWN, *, weigh: Weigh | None = None
    ) -> Iterator[Any]:
        return Probe(items, partial(self._find, (owner, role)), weigh or self._weigh)

    def call(
        self, function: Callable[[Any], Any], owner: Owner, gone: object
    ) -> Callable[[Any], Any]:
        return probed_call(function, *self._find((owner, OWN)), gone, self._weigh)

    def section(self, owner: Owner, role: str) -> AbstractContextManager[None]:
        return Section(*self._find((owner, role)))

    def channel(self, channel: Measured, giver: Owner, taker: Owner) -> None:
        self.queues.append(Queue(channel, giver, taker))

    def worker(self, owner: Owner) -> Callable[[float, int], None]:
        account = self._account(owner, OWN)
        return Worker(account, self.counters, self.memory, self.delays, self._here.thread.time)

    def inside(self, whose: Callable[[Owner], Owner]) -> Observer:
        return PartAccounts(self, whose)

    # What is asked.

    def settle(self) -> None:
        """Have this thread's time until now on somebody's account."""
        strand = getattr(self._here, "strand", None)
        if strand is not None:
            strand.settle()
            self.delays.look()

    def own(self, owner: Owner, role: str = OWN) -> float:
        """The seconds on somebody's accounts, what is still going on among them."""
        ended, accounts = self._of((owner, role))
        own = ended.own + sum(account.own for account in accounts)
        return (own + self._running(accounts)) / 1e9

    def total(self, owner: Owner, role: str = OWN) -> Total:
        """All that is on somebody's accounts."""
        total, accounts = self._of((owner, role))
        for account in accounts:
            total.add(account)
        total.own += self._running(accounts)
        return total

    def busiest(self, owner: Owner) -> float:
        """The seconds of the one of somebody's threads that was at work for longest."""
        _, accounts = self._of((owner, OWN))
        return max((account.own for account in accounts), default=0) / 1e9

    def grown(self, owner: Owner) -> int:
        """The bytes that the process grew by in somebody's time, of which waits are a part."""
        grown = 0
        for role in ROLES:
            ended, accounts = self._of((owner, role))
            grown += ended.grown + sum(account.grown for account in accounts)
        return grown

    def _of(self, key: Key) -> tuple[Total, list[Account]]:
        """What threads that have ended had on their accounts, together; and the others."""
        with self._lock:
            ended = Total()
            if key in self._ended:
                ended.add(self._ended[key])
            return ended, list(self._accounts.get(key, ()))

    def _running(self, accounts: list[Account]) -> int:
        """Nanoseconds of what has begun and not ended yet."""
        with self._lock:
            strands = [known.strand for known in self._threads if known.thread.is_alive()]
        running = [strand.running() for strand in strands if strand is not None]
        return sum(spent for current, spent in running if any(current is one for one in accounts))

    # Accounts and strands.

    def _account(self, owner: Owner, role: str) -> Account:
        account = Account()
        account.counted = [0] * len(self.counters.names)
        account.waits = role in (WAITS, ROOM)
        known = getattr(self._here, "thread", None) or self._new_thread()
        with self._lock:
            self._accounts[owner, role].append(account)
            known.accounts.append(((owner, role), account))
        return account

    def _new_thread(self) -> ThreadAccounts:
        """The accounts of this thread; those of many that have ended become one of each kind."""
        known = self._here.thread = ThreadAccounts(threading.current_thread())
        with self._lock:
            if len(self._threads) >= MANY:
                self._sum_up_ended()
            self._threads.append(known)
        return known

    def _sum_up_ended(self) -> None:
        ended = [known for known in self._threads if not known.thread.is_alive()]
        self._threads = [known for known in self._threads if known.thread.is_alive()]
        for key, account in chain.from_iterable(known.accounts for known in ended):
            self._ended[key].add(account)
            self._accounts[key].remove(account)

    def _new_strand(self, base: Account) -> Strand:
        look = Look(self.counters, self.memory, self.delays, self.passing)
        counting = look.count if self.counters.names else None
        strand = Strand(base, look, self.clock, counting)
        self._here.strand, self._here.accounts = strand, {}
        self._here.thread.strand = strand
        return strand

    def _find(self, key: Key) -> tuple[Strand, Account]:
        """The strand of the thread, and its account for somebody."""
        strand = getattr(self._here, "strand", None)
        if strand is None:
            strand = self._new_strand(self._account(key[0], ELSE))
        accounts: dict[Key, Account] = self._here.accounts
        account = accounts.get(key)
        if account is None:
            account = accounts[key] = self._account(*key)
        return strand, account


@dataclass(slots=True)
class ThreadAccounts:
    """What a thread has: its strand, where it has one, and its accounts."""

    thread: threading.Thread
    strand: Strand | None = None
    time: ThreadTime = field(default_factory=ThreadTime)
    accounts: list[tuple[Key, Account]] = field(default_factory=list)


class PartAccounts(Observer):
    """A run that is part of another: ``whose`` says on whose accounts its own are; no channels."""

    def __init__(self, watch: RunAccounts, whose: Callable[[Owner], Owner]) -> None:
        self._watch, self._whose = watch, whose

    def lane(self, owner: Owner, role: str = OWN) -> None:
        self._watch.lane(self._whose(owner), role)

    def timed(
        self, items: Iterator[Any], owner: Owner, role: str = OWN, *, weigh: Weigh | None = None
    ) -> Iterator[Any]:
        return self._watch.timed(items, self._whose(owner), role, weigh=weigh)

    def call(
        self, function: Callable[[Any], Any], owner: Owner, gone: object
    ) -> Callable[[Any], Any]:
        return self._watch.call(function, self._whose(owner), gone)

    def section(self, owner: Owner, role: str) -> AbstractContextManager[None]:
        return self._watch.section(self._whose(owner), role)

    def inside(self, whose: Callable[[Owner], Owner]) -> Observer:
        return PartAccounts(self._watch, lambda owner: self._whose(whose(owner)))

    def worker(self, owner: Owner) -> Callable[[float, int], None]:
        return self._watch.worker(self._whose(owner))


class Section:
    """A block whose time is an account's, in the thread that made it; a class, as it is cheaper."""

    __slots__ = ("_account", "_before", "_strand")

    def __init__(self, strand: Strand, account: Account) -> None:
        self._strand, self._account = strand, account

    def __enter__(self) -> None:
        self._before = self._strand.switch(self._account)

    def __exit__(self, *_: object) -> None:
        self._strand.switch(self._before)


def _items(record: Any) -> int:
    return len(record) if isinstance(record, list) else 1
