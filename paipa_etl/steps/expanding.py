"""Steps that make many records of one: flat_map and flatten."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from time import perf_counter
from typing import Any

from paipa_etl.records.batch import Batch
from paipa_etl.run import Run, close
from paipa_etl.run.report import StepCount
from paipa_etl.steps.contract import Flow, guarded
from paipa_etl.steps.functions import GONE, Function, FunctionStep
from paipa_etl.threads.stop import Stop, Stopped

CHUNK = 256  # records that one record may become before some of them are handed on
FEW = 8  # so many are taken first, before it is known how fast they come
QUICK = 0.001  # seconds that a part may take before the next one is shorter


@dataclass(frozen=True, repr=False)
class FlatMap(FunctionStep):
    """Calls a function on each record and passes on each item of what it returns."""

    expands = True

    def at_once(self, function: Function, stop: Stop) -> Function:
        if self.retry is None:
            return function
        return lambda record: _all_of(function(record), stop)

    def at_once_in_loop(self, function: Function, stop: Stop) -> Function:
        if self.retry is None:
            return function

        async def call(record: Any) -> list[Any]:
            return _all_of(await function(record), stop)

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
                count.expanded += given  # the record itself is in what guarded() counts
                given = 1
                guarded(run, count, error)
            finally:
                count.became(given)

    def results(
        self,
        function: Function,
        count: StepCount,
        records: Iterator[Any],
        part: Callable[[list[Any]], None],
    ) -> Iterator[Any]:
        return map(partial(_items, function, part), records)

    def collect(
        self, count: StepCount, batch: Batch, results: list[Any], gaps: bool = False
    ) -> Batch:
        lists = [() if result is GONE else result for result in results]
        sizes = list(map(len, lists))
        for result in results:
            if result is not GONE:
                count.became(len(result))
        indices = chain.from_iterable(map(repeat, batch.indices, sizes))
        return batch.made(list(chain.from_iterable(lists)), list(indices))

    def __str__(self) -> str:
        return self._named("flat_map")


def _items(function: Function, part: Callable[[list[Any]], None], record: Any) -> list[Any]:
    """The items of one record, the last of them where there are many: ``part`` has the others.

    ``part`` is called with no items in between: it raises where the rest is not wanted.
    """
    last: list[Any] = []
    try:
        for items in in_parts(function(record)):
            if len(last) + len(items) > CHUNK:
                part(last)
                last = items
            else:
                part([])
                last += items
    except Exception:
        part(last)  # they were given before it failed
        raise
    return last


def in_parts(items: Iterable[Any]) -> Generator[list[Any], None, None]:
    """Items in lists of at most ``CHUNK``; fewer where they come slowly.

    So whoever takes the lists can look in between whether the rest is wanted. Where the items
    raise, those that came before are a list. The items are closed when this is.
    """
    with ExitStack() as stack:
        stack.callback(close, items)
        more, size = iter(items), FEW
        while True:
            taken: list[Any] = []
            began = perf_counter()
            try:
                taken.extend(islice(more, size))
            except Exception:
                yield taken
                raise
            if taken:
                yield taken
            if len(taken) < size:
                return
            size = min(2 * size, CHUNK) if perf_counter() - began < QUICK else max(size // 2, 1)


def _all_of(items: Iterable[Any], stop: Stop) -> list[Any]:
    """All items of a record; ends with ``Stopped`` when the run does."""
    found: list[Any] = []
    for part in in_parts(items):
        if stop.is_set:
            raise Stopped
        found += part
    return found


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
