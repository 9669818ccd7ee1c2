"""Pipeline: source, steps and sink as frozen data; printing it prints the plan."""

from __future__ import annotations

import os
import queue
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from paipa_etl.codecs import Codec
from paipa_etl.errors import PlanError, shown
from paipa_etl.failures import ErrorPolicy
from paipa_etl.formats import Format
from paipa_etl.location import Location, parse
from paipa_etl.metrics.observer import NOT_OBSERVED, Observer
from paipa_etl.plan_checks import check_inputs_open, check_not_same
from paipa_etl.run import Run, never, new_run, nothing
from paipa_etl.run.budget import MAX_MEMORY
from paipa_etl.run.clients import Clients
from paipa_etl.run.report import Report
from paipa_etl.run.resources import check
from paipa_etl.runners import serial
from paipa_etl.runners.commit import Core, carry_out
from paipa_etl.sinks import Sink
from paipa_etl.sinks.discard import Discard
from paipa_etl.sinks.files import FileSink, write
from paipa_etl.sources import Source, ending
from paipa_etl.sources.files import FileSource
from paipa_etl.steps.contract import Step, asks_for_threads, flatten_steps, workers_of
from paipa_etl.suffixes import codec_of

if TYPE_CHECKING:
    from paipa_etl.debugger import Debugger
    from paipa_etl.explanation import Explanation
    from paipa_etl.metrics.plan import Plan
    from paipa_etl.runners.started import StartedRun

NO_RESOURCES: Mapping[str, Any] = {}
"""Of a plan whose functions need none; never changed."""


@dataclass(frozen=True, init=False)
class Pipeline:
    """A plan: where records come from, what happens to them, where they go.

    Iterating it pulls records one by one; ``run()`` carries it out. Nothing is opened
    before either.
    """

    source: Source
    steps: tuple[Step, ...]
    sink: Sink | None
    on_error: str
    resources: Mapping[str, Any]
    max_memory: int

    def __init__(
        self,
        source: object,
        steps: object = (),
        sink: object = None,
        on_error: str = "fail",
        resources: Mapping[str, Any] = NO_RESOURCES,
        max_memory: int = MAX_MEMORY,
    ) -> None:
        """Make a plan.

        ``source``: a location (path, URL, ``-``, file object, bytes), ``read(...)``, an
        iterable of records, or a callable that returns one. ``steps``: callables from an
        iterable to an iterator, nested lists of them flattened. ``sink``: a location,
        ``write(...)``, a list, or nothing. ``on_error``: ``"fail"`` or ``"skip"``.
        ``resources`` by their names; ``max_memory`` in bytes. Raises ``PlanError`` for what
        cannot be run.
        """
        made = flatten_steps(steps)
        if isinstance(source, Pipeline):
            if source.sink is not None:
                raise PlanError("a pipeline that has a sink is no source")
            made = source.steps + made
            source = source.source
        ErrorPolicy(on_error)  # an unknown one is an error now, not in mid-run
        put = partial(object.__setattr__, self)  # as a frozen data class does it
        put("source", _source(source))
        put("steps", made)
        put("sink", _sink(sink))
        put("on_error", on_error)
        put("resources", resources)
        put("max_memory", max_memory)

    def __or__(self, other: object) -> Pipeline:
        """The pipeline with one more step, or with its sink."""
        if self.sink is not None:
            raise PlanError("nothing comes behind a sink")
        if isinstance(other, Sink):
            return replace(self, sink=other)
        return replace(self, steps=(*self.steps, *flatten_steps(other)))

    def __iter__(self) -> Generator[Any, None, None]:
        """The records that leave the last step, one by one.

        Starts threads only where a step asks for workers; they end with the iterator.
        """
        if self.sink is not None:
            raise PlanError("a pipeline with a sink is carried out by run(), not iterated over")
        return self._records(self.new_run())

    def _records(self, run: Run) -> Generator[Any, None, None]:
        self._check()
        core, steps = self._core(run)
        return core.records(self.source, steps, run)

    def _core(self, run: Run) -> tuple[Core, tuple[Step, ...]]:
        """The core for this plan: threads where a step asks for them, and only there."""
        run.budget.divide(sum(asks_for_threads([step]) for step in self.steps))
        if not asks_for_threads(self.steps):
            return serial, self.steps
        from paipa_etl.runners import threaded

        return threaded, threaded.expanded(self.steps)

    def expanded(self) -> tuple[Step, ...]:
        """The steps as its core carries them out: those of ``threaded(...)`` among the others."""
        return self._core(self.new_run())[1]

    def _check(self) -> None:
        check([function for step in self.steps for function in step.functions], self.resources)
        check_inputs_open(self.source)

    def new_run(
        self,
        *,
        clients: Clients | None = None,
        threads: bool = True,
        debugger: Debugger | None = None,
        before_commit: Callable[[], None] = nothing,
        must_finish: Callable[[], bool] = never,
    ) -> Run:
        """A run of this plan, for ``run`` and ``start``: to read its counts after a failure too.

        ``clients`` are what stores keep open, shared with other runs. Without ``threads``,
        nothing is read ahead or written behind. A ``debugger`` looks at it.
        ``before_commit`` is called when all is written and nothing is published, and may raise;
        ``must_finish`` says whether a worker publishes, and may take as long as it does.
        """
        return new_run(
            self.on_error,
            resources=self.resources,
            max_memory=self.max_memory,
            clients=clients,
            threads=threads,
            observer=observer_of(debugger),
            before_commit=before_commit,
            must_finish=must_finish,
        )

    def run(self, run: Run | None = None, *, debugger: Debugger | None = None) -> Report:
        """Carry out the plan; without a sink, records are consumed and thrown away.

        Reads ahead and writes behind in threads that end with the run. Raises the
        first error as itself, with a note of where it happened; then nothing was
        published. ``run`` lets a caller read the counts after a failure.
        A ``debugger`` looks at the run: ``report.view`` is what it saw.
        """
        run = self._run_of(run, debugger)
        with ending(self.source, run):
            self._check()
            check_not_same(self.source, self.sink, run)
            core, steps = self._core(run)

            with run.observer.watching(run, partial(self.described, steps)):
                sink = Discard() if self.sink is None else self.sink
                carry_out(core, self.source, steps, sink, run)
        return run.report()

    def _run_of(self, run: Run | None, debugger: Debugger | None) -> Run:
        if run is None:
            return self.new_run(debugger=debugger)
        if debugger is not None:
            raise PlanError("a run that was made before has its debugger: new_run(debugger=...)")
        return run

    def described(self, steps: tuple[Step, ...]) -> Plan:
        """The plan as the debugger needs it; ``steps`` are the steps that run."""
        from paipa_etl.metrics.plan import Plan, PlanStep

        described = tuple(PlanStep(str(step), workers_of(step), step.paced) for step in steps)
        codec = self.sink.output_codec if isinstance(self.sink, FileSink) else None
        name = codec.name if codec else ""
        return Plan(describe_source(self.source), described, describe_sink(self.sink), name)

    def start(self, run: Run | None = None, *, debugger: Debugger | None = None) -> StartedRun:
        """Carry out the plan in the background.

        ``with pipeline.start() as run:`` gives ``run.alive``, ``run.report``, ``run.wait()``
        and ``run.stop()``, which ends the reading and publishes what came of what was read.
        Leaving the block waits for the end (a ``Feed`` or queue that is the source is
        finished first); an exception in it aborts the run.
        """
        run = self._run_of(run, debugger)
        return self._in_background(run).begin()

    def _in_background(self, run: Run) -> StartedRun:
        self._check()
        from paipa_etl.runners.started import StartedRun

        return StartedRun(self.run, run, self.source)

    async def run_async(self) -> Report:
        """``run()`` for an event loop, which it does not hold up; cancelled, it aborts the run."""
        from paipa_etl.runners.started import until_ended

        return await until_ended(self._in_background(self.new_run()))

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        """The records for an event loop, which is not held up: a thread pulls them."""
        if self.sink is not None:
            raise PlanError("a pipeline with a sink is carried out by run_async()")
        from paipa_etl.runners.started import records_in_loop

        return records_in_loop(self._records, self.new_run())

    def explain(self, *, threads: bool = True) -> Explanation:
        """How ``run()`` carries the plan out, and why; nothing is opened or started.

        Without ``threads``, as one of many transfers: nothing is read ahead or written behind.
        """
        from paipa_etl.explanation import explain

        names = ", ".join(self.resources)
        options = {"on_error": self.on_error, "max_memory": self.max_memory, "resources": names}
        return explain(self.source, self.steps, self.sink, options, self.new_run(threads=threads))

    def __str__(self) -> str:
        """The plan, a line for the source, each step and the sink."""
        lines = [f"read   {describe_source(self.source)}"]
        lines += [f"step   {step}" for step in self.steps]
        lines += [f"write  {describe_sink(self.sink)}"]
        return "\n".join(lines)


def observer_of(debugger: Debugger | None) -> Observer:
    """What a run tells of itself to a debugger, or to nobody."""
    return NOT_OBSERVED if debugger is None else debugger.watch()


def _source(source: object) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, bytes, bytearray, memoryview, os.PathLike, Location)):
        return FileSource((parse(source),))
    if isinstance(source, (Step, Sink)):
        raise PlanError(f"not a source: {shown(source)}")
    if isinstance(source, queue.Queue):
        from paipa_etl.sources.live import QueueSource

        return QueueSource(source)
    if isinstance(source, queue.SimpleQueue):
        raise PlanError("a SimpleQueue that waits cannot be woken: put the records into a Feed")
    if callable(getattr(source, "read", None)):
        return FileSource((parse(source),))
    from paipa_etl.sources.iterables import CallableSource, IterableSource

    if isinstance(source, Iterable):
        return IterableSource(source)
    if callable(source):
        return CallableSource(source)
    raise PlanError(f"not a source (a location, an iterable, a callable): {shown(source)}")


def _sink(sink: object) -> Sink | None:
    return sink if sink is None or isinstance(sink, Sink) else write(sink)


def describe_source(source: Source) -> str:
    """A source as the plan shows it: location, format, codec."""
    if not isinstance(source, FileSource):
        return str(source)
    place = source.locations[0]
    more = f" and {len(source.locations) - 1} more" if len(source.locations) > 1 else ""
    return f"{place}{more}  ({_kinds(source.format_of(place), source.codec or codec_of(place))})"


def describe_sink(sink: Sink | None) -> str:
    """A sink as the plan shows it."""
    if not isinstance(sink, FileSink):
        return str(sink) if sink is not None else "nothing (records are consumed)"
    return f"{sink}  ({_kinds(sink.output_format, sink.output_codec)})"


def _kinds(format: Format, codec: Codec | None) -> str:
    return f"{format.name}, {codec.name}" if codec else format.name
