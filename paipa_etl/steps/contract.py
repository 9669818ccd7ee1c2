"""What a step is: a callable from an iterable of records to an iterator of records.

Anything callable that way is a step: generator functions, builtins, ``itertools``
through ``functools.partial``, classes with ``__call__``. A ready step is one that
also says what it does with records, so that a runner can do better than call it.
"""

from __future__ import annotations

import enum
import functools
import importlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from paipa_etl.errors import PlanError, Skip, never_stop, shown
from paipa_etl.records.batch import Batch
from paipa_etl.run import Run, close, new_run
from paipa_etl.run.report import StepCount
from paipa_etl.run.resources import is_plain
from paipa_etl.threads.collector import apart

Flow = Callable[[Iterable[Any]], Iterator[Any]]
BatchFlow = Callable[[Iterable[Batch]], Iterator[Batch]]


class Reads(enum.Enum):
    """What a step looks at in a record."""

    NOTHING = "nothing"
    EVERYTHING = "everything"


QUEUE = 1024  # records that a step's workers have before them and in hand, all together


@dataclass(frozen=True)
class Workers:
    """How many threads carry out a step, and how far they may be ahead of it.

    ``queue`` is the most records that wait for them or are in their hands; ``ordered``
    that records leave in the order in which they came.
    """

    count: int
    ordered: bool = True
    queue: int = QUEUE

    def __post_init__(self) -> None:
        for name, value in (("workers", self.count), ("queue", self.queue)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise PlanError(f"{name} is a whole number from 1, not {shown(value)}")

    def __str__(self) -> str:
        text = f"workers={self.count}"
        if not self.ordered:
            text += ", ordered=False"
        return text if self.queue == QUEUE else f"{text}, queue={self.queue}"


@dataclass(frozen=True, repr=False)
class Step:
    """A ready step: frozen, printable, bound to a run before it carries records.

    ``reads`` says what it looks at; ``preserving`` that it never changes a record,
    only passes or drops it; ``record_local`` that it calls a function on each record, so
    that a block task can carry it out; ``stateless`` that an instance can be replaced by a
    fresh one between records; ``may_end_early`` that it may want no more records before they end;
    ``timed`` that it waits for a record only so long, which takes a channel before it;
    ``paced`` that it waits in order to keep a rate that the user set.
    ``workers`` are the threads that it asks for, where it asks for any.
    """

    reads = Reads.EVERYTHING
    preserving = False
    record_local = False
    stateless = True
    may_end_early = False
    timed = False
    paced = False
    workers: Workers | None = field(default=None, kw_only=True)

    @property
    def functions(self) -> tuple[Any, ...]:
        """The user's callables in it, which may ask for resources."""
        return ()

    def bind(self, run: Run, count: StepCount) -> Flow:
        """The callable that carries records in this run."""
        raise NotImplementedError(type(self).__name__)  # every ready step has its own

    def bind_batches(self, run: Run, count: StepCount) -> BatchFlow:
        """The same over batches, for a preserving step: raw lines stay beside their records."""
        raise NotImplementedError(type(self).__name__)

    def bind_kept(self, run: Run, count: StepCount) -> Flow:
        """The same over records with their raw bytes (``Kept``), for a preserving step."""
        if self.reads is not Reads.NOTHING:
            raise NotImplementedError(type(self).__name__)
        return self.bind(run, count)

    def __call__(self, records: Iterable[Any]) -> Iterator[Any]:
        """Use the step alone, as any other callable."""
        run = new_run()
        flow = self.bind(run, run.counts.add_step(str(self)))(run.counted(records))
        return _ended_with(flow, run)

    def __repr__(self) -> str:
        return str(self)


def _ended_with(flow: Iterator[Any], run: Run) -> Iterator[Any]:
    try:
        yield from flow
    finally:
        apart(functools.partial(close, flow))
        apart(run.over)


@dataclass(frozen=True, repr=False)
class Opaque(Step):
    """A plain callable, of which only what it gives can be counted.

    Under ``skip`` its failure still ends the run, because a generator that raised is
    over; a step declared ``stateless`` goes on with a fresh instance instead.
    """

    function: Callable[..., Iterable[Any]]
    stateless: bool = False

    may_end_early = True

    @property
    def functions(self) -> tuple[Any, ...]:
        return (self.function,)

    @contextmanager
    def ready(self, run: Run, count: StepCount) -> Generator[Callable[..., Any], None, None]:
        """The callable with the resources that it asks for, for one worker, in its thread."""
        with run.resources.lent(self.function, count.whole) as function:
            yield function

    def bind(self, run: Run, count: StepCount) -> Flow:
        count.opaque = True
        if is_plain(self.function):
            return functools.partial(self._flow, run, count, self.function)
        return functools.partial(self._ready_flow, run, count)

    def _ready_flow(self, run: Run, count: StepCount, records: Iterable[Any]) -> Iterator[Any]:
        with self.ready(run, count) as function:
            yield from self._flow(run, count, function, records)

    def _flow(
        self,
        run: Run,
        count: StepCount,
        function: Callable[[Iterable[Any]], Iterable[Any]],
        records: Iterable[Any],
    ) -> Iterator[Any]:
        records = iter(records)
        while True:
            try:
                flow = function(records)
                with ExitStack() as stack:
                    stack.callback(close, flow)
                    yield from count.tallied(flow)
                return
            except Exception as error:
                if run.policy.is_settled(error) or run.is_word(error):
                    raise  # it came from further up
                failure = never_stop(error, count.name)
                if not self.stateless:
                    run.policy.fail(run.failure(failure, count.name))
                run.failed(failure, count)

    def __str__(self) -> str:
        name = name_of(self.function)
        return f"parallel({name}, {self.workers})" if self.workers else name


@dataclass(frozen=True, repr=False)
class Threaded(Step):
    """Steps whose workers are threads even where the pipeline around them has none."""

    steps: tuple[Step, ...]

    may_end_early = True

    @property
    def functions(self) -> tuple[Any, ...]:
        return tuple(function for step in self.steps for function in step.functions)

    def bind(self, run: Run, count: StepCount) -> Flow:
        # By name: the runners stand to the left of the steps that they carry out.
        carry_out = importlib.import_module("paipa_etl.runners.threaded").carry_out
        count.opaque = True
        return functools.partial(carry_out, self.steps, run, count)

    def __str__(self) -> str:
        return f"threaded({', '.join(map(str, self.steps))})"


def asks_for_threads(steps: Iterable[Step]) -> bool:
    """Whether a plan is for the threaded core."""
    return any(step.workers or step.timed or isinstance(step, Threaded) for step in steps)


def workers_of(step: Step) -> int:
    """How many workers it has, those of the steps in it together; 0: the thread around it."""
    if isinstance(step, Threaded):
        return sum(map(workers_of, step.steps))
    return step.workers.count if step.workers else 0


def flatten_steps(steps: object) -> tuple[Step, ...]:
    """Nested lists of steps as one tuple, in order; a plain callable becomes ``Opaque``."""
    if isinstance(steps, (list, tuple)):
        return tuple(step for part in steps for step in flatten_steps(part))
    if isinstance(steps, Step):
        return (steps,)
    if isinstance(steps, type) and not hasattr(steps, "__iter__"):  # enumerate is a step too
        raise PlanError(f"a step is an instance, not a class: {steps.__name__}()")
    if callable(steps):
        return (Opaque(steps),)
    raise PlanError(f"not a step (a callable from an iterable to an iterator): {shown(steps)}")


def name_of(function: object) -> str:
    """How a plan and a message name a function.

    >>> name_of(functools.partial(map, str.upper))
    'map(upper)'
    """
    if isinstance(function, functools.partial):
        parts = [name_of(part) if callable(part) else shown(part, 40) for part in function.args]
        return f"{name_of(function.func)}({', '.join(parts)})"
    name = getattr(function, "__name__", None)
    return str(name) if name else type(function).__name__


def guarded(run: Run, count: StepCount, error: Exception) -> None:
    """What an exception of a user's function means for its record: dropped, skipped, or the end."""
    if run.is_word(error) or run.policy.is_settled(error):
        raise error
    if isinstance(error, Skip):
        count.filtered += 1
        return
    run.failed(never_stop(error, count.name), count)
