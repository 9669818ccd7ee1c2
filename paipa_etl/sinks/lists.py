"""The caller's list as a sink: extended by all records at once, or left as it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from paipa_etl.errors import PlanError
from paipa_etl.run import Run
from paipa_etl.sinks import Sink


class OpenList:
    """An opened list: records are kept until the commit."""

    live = False

    def __init__(self, target: list[Any], run: Run) -> None:
        self._target, self._run, self._records = target, run, list[Any]()
        self._closed = False

    def write_all(self, records: Iterable[Any]) -> None:
        """Keep records."""
        for record in records:
            self.write(record)

    def write(self, record: Any) -> None:
        """Keep one record."""
        if self._closed:
            raise PlanError("the sink is closed: no record can follow its end")
        self._records.append(record)
        self._run.counts.written += 1

    def show(self) -> None:
        """Nobody reads it yet."""

    def prepare(self) -> None:
        """Nothing is held back."""
        self._closed = True

    def commit(self) -> None:
        """Hand all records over."""
        self._closed = True
        self._target.extend(self._records)

    def abort(self, cause: BaseException) -> None:
        """Forget the records."""
        self._closed = True
        self._records.clear()


@dataclass(frozen=True)
class ListSink(Sink):
    """The caller's list, extended by all records at once: keeps them all."""

    records: list[Any] = field(repr=False)

    def open(self, run: Run) -> OpenList:
        """Open the list."""
        return OpenList(self.records, run)

    def __str__(self) -> str:
        return "<list>"
