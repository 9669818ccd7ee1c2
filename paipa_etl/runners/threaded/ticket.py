"""Ticket: a batch in one worker's hands, and what has become of its records so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paipa_etl.failures import InFlight
from paipa_etl.records.batch import Batch


class Ticket:
    """A batch that one worker has taken, and its place in the order.

    ``records`` hands each record out once, whoever asks: the worker, or the watch that
    takes back what the worker has not begun. Each record begun has one entry in
    ``results`` when it is done, so the next one in flight is known by their number.
    """

    __slots__ = (
        "batch",
        "collected",
        "count",
        "done",
        "failure",
        "gaps",
        "over",
        "ready",
        "records",
        "results",
        "seen",
        "size",
        "stopped",
        "waited",
    )

    def __init__(self, batch: Batch, count: int, size: int) -> None:
        self.batch, self.count, self.size = batch, count, size
        self.records: Iterator[Any] = iter(batch.records or ())
        self.results: list[Any] = []
        self.collected = 0
        """How many records' results have left ``results`` already."""
        self.ready: list[tuple[Batch, int]] = []
        """What waits to be handed on, and its bytes."""
        self.gaps = False
        """Whether some of the results stand for a record that is gone."""
        self.done = self.over = False
        self.stopped = False
        """Whether the record in flight raised ``StopIteration``."""
        self.waited = 0.0
        """Seconds of its time that were waits for those who take what it gives."""
        self.failure: BaseException | None = None
        self.seen = -1
        """How many records the watch saw unbegun when it last looked."""

    def in_flight(self) -> InFlight:
        """Where the record in flight came from."""
        return self.batch.at(self.collected + len(self.results))
