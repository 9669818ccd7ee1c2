"""The meter in plain Python: what it counts, the compiled one counts the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter_ns
from typing import Any

PASSES = 1  # cycles over all boundaries that a look at the expensive clocks lasts


def bucket_of(value: int) -> int:
    """The bucket of a time: linear below 16 ns, then eight for each doubling."""
    shift = max(value.bit_length() - 4, 0)
    return 8 * shift + (value >> shift)


class Account:
    """What one step does in one thread: nanoseconds of its own, and records that left it.

    ``own``: nanoseconds while it was at work, and not what it takes its records from.
    ``buckets``: how many records took how long, by ``bucket_of``. Of its own time,
    ``looked_wall`` nanoseconds were looked at more closely, of which ``looked_cpu`` were the
    processor's. ``grown``: bytes that the process grew by while it was at work.
    ``counted``: what each of the user's counters has grown by then.
    """

    __slots__ = (
        "_mark",
        "buckets",
        "counted",
        "grown",
        "looked_cpu",
        "looked_wall",
        "own",
        "records",
    )

    def __init__(self) -> None:
        self.own = self.records = self.looked_wall = self.looked_cpu = self.grown = 0
        self.buckets: dict[int, int] = {}
        self.counted: list[int] = []
        self._mark = 0

    def left(self, count: int) -> None:
        """So many records have left the step, and took the time since the last ones did."""
        taken, self._mark = self.own - self._mark, self.own
        self.records += count
        if count:
            place = bucket_of(taken // count)
            self.buckets[place] = self.buckets.get(place, 0) + count

    def add(self, nanoseconds: int, count: int) -> None:
        """So many records took so long, together."""
        self.own += nanoseconds
        self.left(count)


class Strand:
    """The accounts of one thread's nested iterators: a stack, so that own time is one's own.

    ``clock`` gives nanoseconds. From ``period`` nanoseconds after the last time on, ``look``
    is called at each switch from one account to another, for a few cycles over all
    boundaries, with the account and the nanoseconds that it was at work; -1 where the
    cycles begin. ``counting`` is called with the account at every switch.
    """

    __slots__ = (
        "_left",
        "_period",
        "boundaries",
        "clock",
        "counting",
        "current",
        "due",
        "last",
        "look",
    )

    def __init__(
        self,
        base: Account,
        look: Callable[[Account, int], None],
        period: int,
        clock: Callable[[], int] | None = None,
        counting: Callable[[Account], None] | None = None,
    ) -> None:
        self.current = base
        self.clock = clock or perf_counter_ns
        self.look, self._period, self.counting = look, period, counting
        self._left = 0
        self.boundaries = 1
        """How many iterators of this thread are watched."""
        self.last = self.due = self.clock()

    def switch(self, account: Account) -> Account:
        """What follows is this account's time; gives the one whose time it was until now."""
        before = self.current
        now = self.clock()
        self.current = account
        spent, self.last = now - self.last, now
        before.own += spent
        if now >= self.due or self.counting is not None:
            self.look_closely(before, now, spent)
        return before

    def look_closely(self, before: Account, now: int, spent: int) -> None:
        """Look at the expensive clocks too, which is nobody's time."""
        if self.counting is not None:
            self.counting(before)
        if now >= self.due:
            self.look(before, spent if self._left else -1)
            self._left = (self._left or 2 * PASSES * self.boundaries + 1) - 1
            if not self._left:
                self.due = self.clock() + self._period
        self.last = self.clock()

    def running(self) -> tuple[Account, int]:
        """Whose time it is now, and for how many nanoseconds it has been."""
        return self.current, self.clock() - self.last

    def settle(self) -> None:
        """Have the time until now on the account whose it was."""
        self.switch(self.current)


class Probe:
    """An iterator whose ``next`` is an account's time, in the strand of the thread that asks.

    ``weigh`` says how many records an item is: nothing for one each.
    """

    __slots__ = ("_account", "_find", "_items", "_next", "_strand", "_weigh")

    def __init__(
        self,
        items: Iterable[Any],
        find: Callable[[], tuple[Strand, Account]],
        weigh: Callable[[Any], int] | None = None,
    ) -> None:
        self._items = iter(items)
        self._next = self._items.__next__
        self._find: Callable[[], tuple[Strand, Account]] | None = find
        self._weigh = weigh
        self._strand: Strand
        self._account: Account

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._find is not None:
            self._begin()
        # Twice what Strand.switch does, and what Account.left does, spelled out: calls cost most.
        strand, account = self._strand, self._account
        outer, clock = strand.current, strand.clock
        now = clock()
        spent = now - strand.last
        strand.last = now
        outer.own += spent
        strand.current = account
        if now >= strand.due or strand.counting is not None:
            strand.look_closely(outer, now, spent)
        try:
            item = self._next()
        except BaseException:
            strand.switch(outer)
            raise
        now = clock()
        spent = now - strand.last
        strand.last = now
        account.own += spent
        strand.current = outer
        if now >= strand.due or strand.counting is not None:
            strand.look_closely(account, now, spent)
        if self._weigh is not None:
            account.left(self._weigh(item))
            return item
        taken, account._mark = account.own - account._mark, account.own
        account.records += 1
        shift = taken.bit_length() - 4
        place = 8 * shift + (taken >> shift) if shift > 0 else taken
        buckets = account.buckets
        buckets[place] = buckets.get(place, 0) + 1
        return item

    def _begin(self) -> None:
        assert self._find is not None
        self._strand, self._account = self._find()
        self._strand.boundaries += 1
        self._find = None

    def close(self) -> None:
        """Close the iterator, where it can be closed."""
        method = getattr(self._items, "close", None)
        if method is None:
            return
        if self._find is not None:
            method()
            return
        outer = self._strand.switch(self._account)
        try:
            method()
        finally:
            self._strand.switch(outer)


class Tally:
    """An iterator that counts what it gives: always on, so it does nothing else."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item
