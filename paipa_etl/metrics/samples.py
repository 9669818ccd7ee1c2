"""Samples: what a run was like over time, in a bounded number of points whatever its length."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

POINTS = 400  # at the most: then two and two become one, and half as many are taken
EVERY = 0.1  # seconds between two of them, at first
TOTALS = ("records_read", "records_written", "bytes_in", "bytes_out", "memory")  # then the steps'
FULL = 0.75  # from which a queue is full: a giver that waits is woken below


class Samples:
    """Columns of numbers over time: totals, of which the later of two stays, and fills.

    A fill is from 0 to 1, and averaged. How often each was seen full is counted apart.
    """

    def __init__(self) -> None:
        self.every = EVERY
        self.at = array("d")
        self.totals: list[array[float]] = []
        self.fills: list[array[float]] = []
        self._seen: list[list[float]] = []
        """Of each fill: how often it was looked at, the sum, how often it was full."""

    def is_due(self, seconds: float) -> bool:
        """Whether it is time for the next point."""
        return not self.at or seconds - self.at[-1] >= self.every

    def add(self, seconds: float, totals: Sequence[float], fills: Sequence[float]) -> None:
        """Add a point. What is there for the first time was zero before."""
        if len(self.at) >= POINTS:
            self._merge()
        for columns, values in ((self.totals, totals), (self.fills, fills)):
            while len(columns) < len(values):
                columns.append(array("d", [0.0]) * len(self.at))
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        self.at.append(seconds)
        while len(self._seen) < len(fills):
            self._seen.append([0, 0.0, 0])
        for seen, fill in zip(self._seen, fills, strict=True):
            seen[0], seen[1], seen[2] = seen[0] + 1, seen[1] + fill, seen[2] + (fill >= FULL)

    def occupancy(self, place: int) -> tuple[float, float]:
        """How full a queue was on average, and how often it was full; both from 0 to 1."""
        if place >= len(self._seen):
            return 0.0, 0.0
        looks, total, full = self._seen[place]
        return total / looks, full / looks

    def _merge(self) -> None:
        self.every *= 2
        self.at = self.at[1::2]
        self.totals = [column[1::2] for column in self.totals]
        self.fills = [
            array(
                "d",
                ((one + other) / 2 for one, other in zip(column[::2], column[1::2], strict=False)),
            )
            for column in self.fills
        ]


def plain(columns: dict[str, Any]) -> dict[str, Any]:
    """A view's samples as lists, for JSON: totals are whole numbers, seconds and fills rounded."""
    if not columns:
        return {}
    return {
        "at": [round(at, 4) for at in columns["at"]],
        **{name: [int(total) for total in columns.get(name, ())] for name in TOTALS},
        "steps": [[round(seconds, 6) for seconds in step] for step in columns["steps"]],
        "queues": [[round(fill, 4) for fill in queue] for queue in columns["queues"]],
    }
