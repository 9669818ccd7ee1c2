"""The sink of a pipeline that has none: records are counted and thrown away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paipa_etl.run import Run
from paipa_etl.sinks import Sink


class OpenDiscard:
    """An opened sink that keeps nothing."""

    live = False

    def __init__(self, run: Run) -> None:
        self._run = run

    def write_all(self, records: Iterable[Any]) -> None:
        """Count records."""
        for _ in records:
            self._run.counts.written += 1

    def show(self) -> None:
        """Nobody reads it yet."""

    def prepare(self) -> None:
        """Nothing is held back."""

    def commit(self) -> None:
        """Nothing is published."""

    def abort(self, cause: BaseException) -> None:
        """Nothing is taken back."""


class Discard(Sink):
    """Counts records and keeps none."""

    def open(self, run: Run) -> OpenDiscard:
        """Nothing is opened."""
        return OpenDiscard(run)
