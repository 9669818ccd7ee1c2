"""Steps that call a function of the user's on each record: map, flat_map, filter, tap."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from typing import Any

from paipa_etl.errors import PlanError, shown
from paipa_etl.failures import Failure
from paipa_etl.records.batch import Batch, Kept
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.run.resources import is_plain
from paipa_etl.run.retries import Retry
from paipa_etl.steps.calls import is_coroutine_function, retrying
from paipa_etl.steps.contract import BatchFlow, Flow, Step, guarded, name_of
from paipa_etl.steps.unchanged import compared, compared_once
from paipa_etl.threads.stop import Stop

Function = Callable[..., Any]


class Gone:
    """Stands in a worker's results for a record that was dropped or skipped."""

    def __bool__(self) -> bool:
        return False


GONE = Gone()


@dataclass(frozen=True, repr=False)
class FunctionStep(Step):
    """Calls a function on each record; a verb defines what becomes of the result.

    It defines that in one method, ``call``, which also counts what it drops. The serial runner
    calls it record by record, a block task within its loop, and a worker for its records
    (``results``), of which ``collect`` makes a batch.
    """

    function: Function
    retry: Retry | None = field(default=None, kw_only=True)

    record_local = True
    expands = False
    """Whether the result is an iterable of records, one record or many or none."""

    def __post_init__(self) -> None:
        function: object = self.function
        if not callable(function):
            raise PlanError(
                f"{type(self).__name__.lower()} takes a function, not {shown(function)}"
            )

    @property
    def functions(self) -> tuple[Any, ...]:
        return (self.function,)

    @property
    def is_plain(self) -> bool:
        """Whether the function can be called as it is."""
        return (
            self.retry is None
            and is_plain(self.function)
            and not is_coroutine_function(self.function)
        )

    @contextmanager
    def ready(self, run: Run, count: StepCount) -> Generator[Function, None, None]:
        """The function to call for each record, by one worker, in its thread."""
        with run.resources.lent(self.function, count.whole) as function:
            if is_coroutine_function(function):
                _begin_loop(run, count)
                function = partial(_in_loop, run, function)
            yield retrying(self.at_once(function, run.stops.run), self.retry, run, count)

    def at_once(self, function: Function, stop: Stop) -> Function:
        """The function as one call, which can be made again; the stop ends what it gathers."""
        return function

    def at_once_in_loop(self, function: Function, stop: Stop) -> Function:
        """The same of a coroutine function."""
        return function

    def bind(self, run: Run, count: StepCount) -> Flow:
        if self.is_plain:
            return self._bound(self.function, run, count)
        return partial(self._ready_flow, run, count)

    def _ready_flow(self, run: Run, count: StepCount, records: Iterable[Any]) -> Iterator[Any]:
        with self.ready(run, count) as function:
            yield from self._bound(function, run, count)(records)

    def _bound(self, function: Function, run: Run, count: StepCount) -> Flow:
        return partial(_called, self.call(function, count), run, count)

    def call(self, function: Function, count: StepCount) -> Function:
        """The function that returns the record to pass on, or ``GONE``; it counts what it drops.

        The exceptions of the user's function pass through it.
        """
        raise NotImplementedError(type(self).__name__)

    def results(
        self,
        function: Function,
        count: StepCount,
        records: Iterator[Any],
        part: Callable[[list[Any]], None],
    ) -> Iterator[Any]:
        """One result for each record; ``part`` takes some of what is too much for one."""
        return map(self.call(function, count), records)

    def collect(
        self, count: StepCount, batch: Batch, results: list[Any], gaps: bool = False
    ) -> Batch:
        """A batch of what goes on, from one result for each record of a batch.

        ``gaps``: a record was skipped, and its result is ``GONE``.
        """
        raise NotImplementedError(type(self).__name__)

    def _named(self, verb: str) -> str:
        name = name_of(self.function)
        words = [name, str(self.workers)] if self.workers else [name]
        if self.retry:
            words.append(str(self.retry))
        return f"{verb}({', '.join(words)})"


def _called(
    call: Function, run: Run, count: StepCount, records: Iterable[Any]
) -> Generator[Any, None, None]:
    """The flow of one thread: pulls the records one by one."""
    for record in records:
        try:
            result = call(record)
        except Exception as error:
            guarded(run, count, error)
        else:
            if result is not GONE:
                yield result


def _begin_loop(run: Run, count: StepCount) -> None:
    """Make the event loop now: where that fails, no record is to blame."""
    try:
        run.loop.begin()
    except Exception as error:
        run.policy.fail(Failure(error, f"{count.name}, before its first record"))


def _in_loop(run: Run, function: Function, record: Any) -> Any:
    return run.loop.call(function(record))


@dataclass(frozen=True, repr=False)
class Map(FunctionStep):
    """Calls a function on each record and passes on what it returns."""

    def _bound(self, function: Function, run: Run, count: StepCount) -> Flow:
        return partial(self._flow, function, run, count)

    @staticmethod
    def _flow(
        function: Function, run: Run, count: StepCount, records: Iterable[Any]
    ) -> Iterator[Any]:
        # The general flow asks of each result whether it is GONE: a tenth of the loop's time.
        for record in records:
            try:
                result = function(record)
            except Exception as error:
                guarded(run, count, error)
            else:
                yield result

    def call(self, function: Function, count: StepCount) -> Function:
        return function

    def collect(
        self, count: StepCount, batch: Batch, results: list[Any], gaps: bool = False
    ) -> Batch:
        indices = batch.indices
        if gaps:
            kept = [result is not GONE for result in results]
            results, indices = list(compress(results, kept)), list(compress(indices, kept))
        return batch.made(results, indices)

    def __str__(self) -> str:
        return self._named("map")


@dataclass(frozen=True, repr=False)
class Filter(FunctionStep):
    """Passes on the records for which a function returns something true."""

    preserving = True

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        return partial(self._batches, run, count)

    def _batches(self, run: Run, count: StepCount, batches: Iterable[Batch]) -> Iterator[Batch]:
        with self.ready(run, count) as function:
            call = self.call(function, count)
            for batch in batches:
                if batch.copies:
                    call = self.call(compared_once(function, count.name, run), count)
                flags = []
                for record in run.cursor.enter(batch):
                    try:
                        flags.append(call(record) is not GONE)
                    except Exception as error:
                        guarded(run, count, error)
                        flags.append(False)
                yield batch.keep(flags)

    def bind_kept(self, run: Run, count: StepCount) -> Flow:
        return partial(self._kept_flow, run, count)

    def _kept_flow(self, run: Run, count: StepCount, flow: Iterable[Kept]) -> Iterator[Kept]:
        with self.ready(run, count) as function:
            call = self.call(function, count)
            watched = self.call(compared(function, count.name, run), count)
            block: object = None
            for kept in flow:
                first, block = run.cursor.batch is not block, run.cursor.batch
                try:
                    result = (watched if first and kept.copies else call)(kept.record)
                except Exception as error:
                    guarded(run, count, error)
                else:
                    if result is not GONE:
                        yield kept

    def call(self, function: Function, count: StepCount) -> Function:
        def keep(record: Any) -> Any:
            if function(record):
                return record
            count.filtered += 1
            return GONE

        return keep

    def collect(
        self, count: StepCount, batch: Batch, results: list[Any], gaps: bool = False
    ) -> Batch:
        return batch.keep([result is not GONE for result in results])

    def __str__(self) -> str:
        return self._named("filter")


@dataclass(frozen=True, repr=False)
class Tap(Filter):
    """Calls a function on each record, for what it does, and passes on the record."""

    def call(self, function: Function, count: StepCount) -> Function:
        def look(record: Any) -> Any:
            function(record)
            return record

        return look

    def __str__(self) -> str:
        return self._named("tap")
