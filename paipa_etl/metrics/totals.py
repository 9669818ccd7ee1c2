"""Totals: the accounts of several threads added up, and what can be read off them."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add

from paipa_etl.metrics.meter import Account


@dataclass(slots=True)
class Total:
    """Several accounts, added up."""

    own: int = 0
    records: int = 0
    looked_wall: int = 0
    looked_cpu: int = 0
    long_wall: int = 0
    long_cpu: int = 0
    grown: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    counted: list[int] = field(default_factory=list)

    def add(self, account: Account | Total) -> None:
        """Add one, or those that were added up already."""
        self.own += account.own
        self.records += account.records
        self.looked_wall += account.looked_wall
        self.looked_cpu += account.looked_cpu
        self.long_wall += account.long_wall
        self.long_cpu += account.long_cpu
        self.grown += account.grown
        for place, count in dict(account.buckets).items():
            self.buckets[place] = self.buckets.get(place, 0) + count
        self.counted = list(map(add, self.counted, account.counted)) or list(account.counted)

    @property
    def cpu(self) -> float | None:
        """Seconds of the processor's time: of long spans all, of others scaled; None: unseen."""
        if not self.looked_wall and not self.long_wall:
            return None
        scale = min(self.looked_cpu / self.looked_wall, 1.0) if self.looked_wall else 0.0
        return (self.long_cpu + max(self.own - self.long_wall, 0) * scale) / 1e9

    def percentile(self, share: float) -> float | None:
        """Seconds that a share of the records took at the most, to 6 percent."""
        wanted, reached = share * sum(self.buckets.values()), 0
        for place, count in sorted(self.buckets.items()):
            reached += count
            if reached >= wanted:
                return middle(place) / 1e9
        return None


def middle(place: int) -> float:
    """The nanoseconds in the middle of a bucket.

    >>> [middle(place) for place in (0, 15, 16, 24)]
    [0.0, 15.0, 16.5, 33.5]
    """
    shift = max(place // 8 - 1, 0)
    return ((place - 8 * shift) << shift) + ((1 << shift) - 1) / 2
