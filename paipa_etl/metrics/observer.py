"""What a run reports while it runs: whose time it is, in which thread.

Runners, sources and sinks know this module only. Without a debugger, ``NOT_OBSERVED`` hands
iterators back as they are. With one, ``RunAccounts`` in ``accounts.py`` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from paipa_etl.metrics.plan import Plan
    from paipa_etl.metrics.view import View
    from paipa_etl.threads.channel import Statistics

SOURCE, SINK = "source", "sink"
# What an owner's time is spent on: its own work (of a source and a sink, that of the format), the
# store, the codec, waiting for records, waiting for room to hand them over, or anything else.
OWN, STORE, CODEC, WAITS, ROOM, ELSE = "own", "store", "codec", "waits", "room", "else"
ROLES = (OWN, STORE, CODEC, WAITS, ROOM, ELSE)

Owner = object
"""Whose time is measured: the counts of a step, ``SOURCE`` or ``SINK``."""
Key = tuple[Owner, str]
Weigh = Callable[[Any], int]


class Measured(Protocol):
    """What is asked of a channel."""

    def statistics(self) -> Statistics: ...


class Observer:
    """What a run reports to. This one measures nothing; ``RunAccounts`` overrides every method."""

    def lane(self, owner: Owner, role: str = OWN) -> None:
        """Until further notice, the time of the calling thread counts for an owner."""

    def timed(
        self, items: Iterator[Any], owner: Owner, role: str = OWN, *, weigh: Weigh | None = None
    ) -> Iterator[Any]:
        """The iterator; the time of its work counts for an owner.

        ``weigh`` gives the number of records in an item; without it, an item is one record.
        """
        return items

    def call(
        self, function: Callable[[Any], Any], owner: Owner, gone: object
    ) -> Callable[[Any], Any]:
        """The function; its time counts for an owner. ``gone`` says that it dropped one."""
        return function

    def section(self, owner: Owner, role: str) -> AbstractContextManager[None]:
        """A context manager; the time of its block counts for an owner."""
        return nullcontext()

    def channel(self, channel: Measured, giver: Owner, taker: Owner) -> None:
        """A channel exists: who hands over, and who takes."""

    def inside(self, whose: Callable[[Owner], Owner]) -> Observer:
        """The observer of a run that is a part of this one.

        ``whose`` gives the owner in this run for an owner in the part.
        """
        return self

    def worker(self, owner: Owner) -> Callable[[float, int], None]:
        """A function by which a worker reports seconds of work and the number of records."""
        return _ignored

    def watching(
        self, run: Any, plan: Callable[[], Plan], *, thread: bool = True
    ) -> AbstractContextManager[None]:
        """A context manager for the time of the run.

        ``thread``: a thread takes the samples; otherwise the threads of the run do.
        """
        return nullcontext()

    def details(self) -> View | None:
        """What was measured, when the run is over; None where nothing was."""
        return None


def _ignored(seconds: float, count: int) -> None:
    """A report that is not kept."""


NOT_OBSERVED = Observer()
