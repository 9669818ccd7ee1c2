"""Inputs in their turn; small ones of a remote store are fetched side by side before it comes.

Each costs a request, and most of that is waiting: one after the other, thousands of them
would take no less than as many latencies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial

from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.run.budget import RANGES
from paipa_etl.stores.port import Entry
from paipa_etl.threads.ahead import Ahead
from paipa_etl.threads.channel import Channel
from paipa_etl.threads.collector import apart

SMALL = 1 << 20  # bytes, up to which an input is fetched whole before its turn
AT_ONCE = 16

Bytes = Generator[bytes, None, None]


def in_turn(
    entries: Iterator[Entry], opened: Callable[[Location], Bytes], run: Run
) -> Generator[tuple[Location, Iterator[bytes]], None, None]:
    """Yield each input's location and its bytes, which are to be taken before the next one's.

    Keeps at most ``AT_ONCE`` inputs, and together no more than the run's share of
    ``RANGES``. What one of them fails with is raised in its turn.
    """
    waiting: deque[tuple[Entry, Ahead[bytes] | None]] = deque()
    try:
        while True:
            _fill(waiting, entries, opened, run)
            if not waiting:
                return
            entry, ahead = waiting[0]
            if ahead is None:
                with closing(opened(entry.location)) as pieces:
                    yield entry.location, pieces
            else:
                yield entry.location, iter(ahead)
                ahead.finish()
            waiting.popleft()
    finally:
        apart(partial(_close, [ahead for _, ahead in waiting if ahead is not None], run))


def _close(running: list[Ahead[bytes]], run: Run) -> None:
    if running:
        run.stops.reading.set()  # nobody takes what they wait for
    for ahead in running:
        ahead.close()


def _fill(
    waiting: deque[tuple[Entry, Ahead[bytes] | None]],
    entries: Iterator[Entry],
    opened: Callable[[Location], Bytes],
    run: Run,
) -> None:
    """Begin as many inputs as may wait; one that is not known to be small ends the row."""
    room = run.budget.share(RANGES) - sum(entry.size or 0 for entry, _ in waiting)
    while len(waiting) < AT_ONCE and room > 0 and (not waiting or waiting[-1][1] is not None):
        entry = next(entries, None)
        if entry is None:
            return
        small = run.background and entry.size is not None and entry.size <= SMALL
        ahead = None
        if small:
            opening, stop = opened(entry.location), run.stops.reading
            ahead = Ahead(opening, len, stop, Channel(SMALL + 1), run.end)
            ahead.start()
        waiting.append((entry, ahead))
        room -= entry.size or 0
