"""The meter in plain Python: what it counts, the compiled one counts the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from time import perf_counter_ns
from types import GeneratorType
from typing import Any

BUCKETS = 512  # eight for each doubling of a time in nanoseconds


def bucket_of(value: int) -> int:
    """The bucket of a time: linear below 16 ns, then eight for each doubling."""
    shift = max(value.bit_length() - 4, 0)
    return 8 * shift + (value >> shift)


SHORT = tuple(map(bucket_of, range(4_096)))


def peek(path: str) -> bytes:
    """The first bytes of a file of the system's, which has them at hand; ``b""``: it has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 64)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def peek_open(descriptor: int) -> bytes:
    """The same of one that is open."""
    try:
        return os.pread(descriptor, 64, 0)
    except OSError:
        return b""


class Account:
    """What one step does in one thread: nanoseconds of its own, and records that left it.

    ``own``: nanoseconds while it was at work, and not what it takes its records from; of them,
    ``long_wall`` nanoseconds were long spans, and some of the short ones, ``looked_wall``, were
    looked at more closely; of which ``long_cpu`` and ``looked_cpu`` were the processor's.
    ``grown``: bytes that the process grew by while it was at work. ``counted``: what each of the
    user's counters has grown by then. ``waits``: its work is to wait for others.
    """

    __slots__ = (
        "counted",
        "counts",
        "grown",
        "long_cpu",
        "long_wall",
        "looked_cpu",
        "looked_wall",
        "mark",
        "own",
        "waits",
    )

    def __init__(self) -> None:
        self.own = self.looked_wall = self.looked_cpu = self.long_wall = self.long_cpu = 0
        self.grown = 0
        self.waits = False
        self.counts = [0] * BUCKETS
        self.counted: list[int] = []
        self.mark = 0

    @property
    def records(self) -> int:
        """How many have left it."""
        return sum(self.counts)

    @property
    def buckets(self) -> dict[int, int]:
        """How many records took how long, by ``bucket_of``."""
        return {place: count for place, count in enumerate(self.counts) if count}

    def left(self, count: int) -> None:
        """So many records have left the step, and took the time since the last ones did."""
        taken, self.mark = self.own - self.mark, self.own
        if count:
            self.counts[bucket_of(taken // count)] += count

    def add(self, nanoseconds: int, count: int) -> None:
        """So many records took so long, together."""
        self.own += nanoseconds
        self.left(count)


class Strand:
    """The accounts of one thread's nested iterators: a stack, so that own time is one's own.

    ``clock`` gives nanoseconds. ``look`` is called at a switch from one account to another, with
    the account whose span has ended, how long the span was, the time, and how many boundaries
    there are; it gives the nanoseconds until it wants to be called again. ``counting`` is called
    with the account at every switch.
    """

    __slots__ = (
        "_rested",
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
        look: Callable[[Account, int, int, int], int],
        clock: Callable[[], int] | None = None,
        counting: Callable[[Account], None] | None = None,
    ) -> None:
        self.current = base
        self.clock = perf_counter_ns if clock is None else clock
        self.look, self.counting = look, counting
        self.boundaries = 1
        """How many iterators of this thread are watched."""
        self.last = self._rested = self.clock()
        self.due = 0 if counting is not None else self._rested
        """From when on a switch is looked at closely."""

    def switch(self, account: Account) -> Account:
        """What follows is this account's time; gives the one whose time it was until now."""
        before = self.current
        now = self.clock()
        self.current = account
        spent, self.last = now - self.last, now
        before.own += spent
        if now >= self.due:
            self.look_closely(before, now, spent)
        return before

    def look_closely(self, before: Account, now: int, spent: int) -> None:
        """Look at the expensive clocks too, which is nobody's time."""
        if self.counting is not None:
            self.counting(before)
        if now >= self._rested:
            self._rested = self.look(before, spent, now, self.boundaries) + self.clock()
            self.due = 0 if self.counting is not None else self._rested
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

    __slots__ = ("_account", "_find", "_flow", "_items", "_strand", "_weigh")

    def __init__(
        self,
        items: Iterable[Any],
        find: Callable[[], tuple[Strand, Account]],
        weigh: Callable[[Any], int] | None = None,
    ) -> None:
        self._items = iter(items)
        self._find: Callable[[], tuple[Strand, Account]] | None = find
        self._weigh = weigh
        self._strand: Strand
        self._account: Account
        self._flow = self._timed()

    def __iter__(self) -> Iterator[Any]:
        # A generator is over when it has raised, and the one around it as well.
        return self._flow if isinstance(self._items, GeneratorType) else self

    def __next__(self) -> Any:
        try:
            return next(self._flow)
        except BaseException:
            self._flow = self._timed()
            raise

    def _timed(self) -> Generator[Any, None, None]:
        """What the iterator gives; what ``Strand.switch`` does is spelled out: calls cost most."""
        if self._find is not None:
            self._begin()
        strand, account, weigh = self._strand, self._account, self._weigh
        clock, counts = strand.clock, account.counts
        short, limit, mark = SHORT, len(SHORT), account.mark
        outer, asking = strand.switch(account), True
        try:
            for item in self._items:
                now = clock()
                spent = now - strand.last
                strand.last = now
                account.own = own = account.own + spent
                strand.current = outer
                asking = False
                if now >= strand.due:
                    strand.look_closely(account, now, spent)
                if weigh is None:  # as Account.left does
                    taken = own - mark
                    mark = own
                    counts[short[taken] if taken < limit else bucket_of(taken)] += 1
                else:
                    account.left(weigh(item))
                yield item
                now = clock()
                spent = now - strand.last
                strand.last = now
                outer = strand.current
                strand.current = account
                asking = True
                outer.own += spent
                if now >= strand.due:
                    strand.look_closely(outer, now, spent)
        finally:
            account.mark = max(account.mark, mark)
            if asking:
                strand.switch(outer)

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


def probed_call(
    function: Callable[[Any], Any],
    strand: Strand,
    account: Account,
    gone: object,
    weigh: Callable[[Any], int] | None = None,
) -> Callable[[Any], Any]:
    """The function, whose time is an account's; a record has left where it does not give ``gone``.

    It may be called only in the thread of the strand.
    """
    strand.boundaries += 1
    switch, left = strand.switch, account.left

    def call(record: Any) -> Any:
        outer = switch(account)
        try:
            result = function(record)
        finally:
            switch(outer)
        if result is not gone:
            left(1 if weigh is None else weigh(result))
        return result

    return call


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
