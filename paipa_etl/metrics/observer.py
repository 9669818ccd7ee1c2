"""What a run reports while it runs: whose time it is, in which thread.

Runners, sources and sinks know this module only. Without a debugger, ``NOT_OBSERVED`` hands
iterators back as they are. With one, ``Watch`` in ``accounts.py`` keeps the accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from paipa_etl.metrics.plan import Plan

SOURCE, SINK = "source", "sink"
# What the time is of somebody: own work (of a source and a sink, that of the format), work of
# the store or the codec, waiting for records or for room behind it; or what its thread does else.
OWN, STORE, CODEC, WAITS, ROOM, ELSE = "own", "store", "codec", "waits", "room", "else"
ROLES = (OWN, STORE, CODEC, WAITS, ROOM, ELSE)

Owner = object
Key = tuple[Owner, str]
Weigh = Callable[[Any], int]


class Measured(Protocol):
    """What is asked of a channel."""

    def statistics(self) -> Any: ...


class Observer:
    """Nobody looks: nothing is measured."""

    def lane(self, owner: Owner, role: str = OWN) -> None:
        """The time of the thread is somebody's, as long as it is nobody else's."""

    def timed(
        self, items: Iterator[Any], owner: Owner, role: str = OWN, *, weigh: Weigh | None = None
    ) -> Iterator[Any]:
        """An iterator, whose work is an owner's time; an item weighs one record, or ``weigh``."""
        return items

    def call(
        self, function: Callable[[Any], Any], owner: Owner, gone: object
    ) -> Callable[[Any], Any]:
        """A function of one record, whose time is an owner's; ``gone`` stands for no result."""
        return function

    def section(self, owner: Owner, role: str) -> AbstractContextManager[None]:
        """What is done in the block is somebody's time."""
        return nullcontext()

    def channel(self, channel: Measured, giver: Owner, taker: Owner) -> None:
        """There is a channel."""

    def inside(self, whose: Callable[[Owner], Owner]) -> Observer:
        """What a run tells that is part of this one; ``whose`` accounts its own are."""
        return self

    def worker(self, owner: Owner) -> Callable[[float, int], None]:
        """What a worker tells how many seconds how many records took."""
        return _untold

    def watching(
        self, run: Any, plan: Callable[[], Plan], *, thread: bool = True
    ) -> AbstractContextManager[None]:
        """While the run goes on; with a thread of its own, or in passing."""
        return nullcontext()

    def details(self) -> Any:
        """What was seen, when the run is over; nothing."""
        return None


def _untold(seconds: float, count: int) -> None:
    """Nobody listens."""


NOT_OBSERVED = Observer()
