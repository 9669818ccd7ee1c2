"""Steps that make many records of one: flat_map and flatten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from typing import Any

from paipa_etl.formats.batch import Batch
from paipa_etl.report import StepCount
from paipa_etl.run import Run, close
from paipa_etl.steps.contract import Flow, guarded
from paipa_etl.steps.functions import GONE, Function, FunctionStep

CHUNK = 256  # records that one record may become before some of them are handed on


@dataclass(frozen=True, repr=False)
class FlatMap(FunctionStep):
    """Calls a function on each record and passes on each item of what it returns."""

    def at_once(self, function: Function) -> Function:
        if self.retry is None:
            return function
        return lambda record: list(function(record))

    def at_once_in_loop(self, function: Function) -> Function:
        if self.retry is None:
            return function

        async def call(record: Any) -> list[Any]:
            return list(await function(record))

        return call

    def _bound(self, function: Function, run: Run, count: StepCount) -> Flow:
        return partial(self._flow, function, run, count)

    @staticmethod
    def _flow(
        function: Function, run: Run, count: StepCount, records: Iterable[Any]
    ) -> Iterator[Any]:
        for record in records:
            given = 0
            try:
                items = function(record)
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

    def results(
        self, function: Function, records: Iterator[Any], part: Callable[[list[Any]], None]
    ) -> Iterator[Any]:
        return map(partial(_items, function, part), records)

    def collect(
        self, count: StepCount, batch: Batch, results: list[Any], gaps: bool = False
    ) -> Batch:
        lists = [() if result is GONE else result for result in results]
        sizes = list(map(len, lists))
        count.expanded += sum(sizes) - len(sizes) + sizes.count(0)
        count.filtered += sum(1 for result in results if result is not GONE and not result)
        indices = chain.from_iterable(map(repeat, batch.indices, sizes))
        return batch.made(list(chain.from_iterable(lists)), list(indices))

    def __str__(self) -> str:
        return self._named("flat_map")


def _items(function: Function, part: Callable[[list[Any]], None], record: Any) -> list[Any]:
    """The items of one record, the last of them where there are many: ``part`` has the others."""
    last: list[Any] = []
    items = function(record)
    with ExitStack() as stack:
        stack.callback(close, items)
        more = iter(items)
        try:
            last.extend(islice(more, CHUNK))
            while len(last) == CHUNK and (following := list(islice(more, 1))):
                part(last)
                last = following
                last.extend(islice(more, CHUNK - 1))
        except Exception:
            part(last)  # they were given before it failed
            raise
    return last


def _iterate(record: Any) -> Any:
    """A record's items; a string, bytes or a dict is no list of them."""
    if isinstance(record, (str, bytes, dict)):
        raise TypeError(f"flatten takes lists of records, not {type(record).__name__}")
    return record


@dataclass(frozen=True, repr=False)
class Flatten(FlatMap):
    """Passes on each item of each record; a string, bytes or a dict is no list of items."""

    function: Function = _iterate

    def __str__(self) -> str:
        return "flatten"
