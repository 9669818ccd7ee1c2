"""Steps that call a function of the user's on each record: map, flat_map, filter, tap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from paipa_etl.formats.batch import Batch
from paipa_etl.report import StepCount
from paipa_etl.run import Run, close
from paipa_etl.steps.contract import BatchFlow, Flow, Step, guarded, name_of

Function = Callable[[Any], Any]


@dataclass(frozen=True, repr=False)
class Map(Step):
    """Calls a function on each record and passes on what it returns."""

    function: Function

    def bind(self, run: Run, count: StepCount) -> Flow:
        return partial(self._flow, run, count)

    def _flow(self, run: Run, count: StepCount, records: Iterable[Any]) -> Iterator[Any]:
        function = self.function
        for record in records:
            try:
                result = function(record)
            except Exception as error:
                guarded(run, count, error)
            else:
                yield result

    def __str__(self) -> str:
        return f"map({name_of(self.function)})"


@dataclass(frozen=True, repr=False)
class FlatMap(Step):
    """Calls a function on each record and passes on each item of what it returns."""

    function: Function

    def bind(self, run: Run, count: StepCount) -> Flow:
        return partial(self._flow, run, count)

    def _flow(self, run: Run, count: StepCount, records: Iterable[Any]) -> Iterator[Any]:
        for record in records:
            given = 0
            try:
                items = self._items(record)
                with ExitStack() as stack:
                    stack.callback(close, items)
                    for item in items:
                        given += 1
                        yield item
            except Exception as error:
                count.expanded += given  # its own count is in what guarded() adds
                given = 1
                guarded(run, count, error)
            finally:
                count.expanded += max(given - 1, 0)
                count.filtered += not given

    def _items(self, record: Any) -> Iterable[Any]:
        items: Iterable[Any] = self.function(record)
        return items

    def __str__(self) -> str:
        return f"flat_map({name_of(self.function)})"


@dataclass(frozen=True, repr=False)
class Flatten(FlatMap):
    """Passes on each item of each record; a string, bytes or a dict is no list of items."""

    function: Function = iter

    def _items(self, record: Any) -> Iterable[Any]:
        if isinstance(record, (str, bytes, dict)):
            raise TypeError(f"flatten takes lists of records, not {type(record).__name__}")
        items: Iterable[Any] = record
        return items

    def __str__(self) -> str:
        return "flatten"


@dataclass(frozen=True, repr=False)
class Filter(Step):
    """Passes on the records for which a function returns something true."""

    function: Function

    preserving = True

    def bind(self, run: Run, count: StepCount) -> Flow:
        return partial(filter, self._verdict(run, count))

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        return partial(self._batches, run, self._verdict(run, count))

    @staticmethod
    def _batches(run: Run, verdict: Function, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch.keep(list(map(verdict, run.enter(batch))))

    def _verdict(self, run: Run, count: StepCount) -> Function:
        function = self.function

        def verdict(record: Any) -> bool:
            try:
                if function(record):
                    return True
            except Exception as error:
                guarded(run, count, error)
                return False
            count.filtered += 1
            return False

        return verdict

    def __str__(self) -> str:
        return f"filter({name_of(self.function)})"


@dataclass(frozen=True, repr=False)
class Tap(Filter):
    """Calls a function on each record, for what it does, and passes on the record."""

    def _verdict(self, run: Run, count: StepCount) -> Function:
        function = self.function

        def verdict(record: Any) -> bool:
            try:
                function(record)
            except Exception as error:
                guarded(run, count, error)
                return False
            return True

        return verdict

    def __str__(self) -> str:
        return f"tap({name_of(self.function)})"
