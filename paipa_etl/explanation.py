"""Explanation: everything that decides how a plan runs, as data. Nothing is opened or started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from paipa_etl.codecs import Codec
from paipa_etl.formats import Format
from paipa_etl.optimizer.fuse import fuse
from paipa_etl.optimizer.ways import Way, way_of
from paipa_etl.run import Run
from paipa_etl.run.budget import MAX_MEMORY
from paipa_etl.runners import threaded
from paipa_etl.runners.threaded.thread_group import PlannedThreads
from paipa_etl.schemes import LOCAL, STANDARD
from paipa_etl.sinks.files import FileSink
from paipa_etl.sources.files import FileSource
from paipa_etl.steps.calls import is_coroutine_function
from paipa_etl.steps.contract import Step, Threaded, asks_for_threads
from paipa_etl.stores import COMMON, StoreOptions


@dataclass(frozen=True)
class Explanation:
    """How a plan runs when ``Pipeline.run()`` carries it out.

    ``core`` is "generators" or "threads", and ``reason`` says why. ``task`` names the steps that
    are fused into one loop over each block. ``way`` is how the generator core processes a plan
    from file to file, and None for every other plan. ``raw`` says whether records are written as
    their original bytes, and ``raw_reason`` why or why not. ``options`` are pairs of a name and a
    value, for each option that differs from its default.
    """

    core: str
    reason: str
    task: tuple[str, ...]
    way: Way | None
    raw: bool
    raw_reason: str
    threads: tuple[PlannedThreads, ...]
    options: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [f"core   {self.core}: {self.reason}"]
        if self.task:
            lines.append(f"fused  decode + {' + '.join(self.task)}")
        if self.way is not None:
            lines.append(f"way    {self.way.name.lower()}: {self.way.value}")
        lines.append(f"raw    {'yes' if self.raw else 'no'}: {self.raw_reason}")
        lines += [f"start  {group}" for group in self.threads]
        lines += [f"set    {name} = {value}" for name, value in self.options]
        return "\n".join(lines)


def explain(
    source: Any, steps: tuple[Step, ...], sink: Any, options: dict[str, Any], run: Run
) -> Explanation:
    """Explain a plan; ``options`` are the pipeline's own, and ``run`` is a new run of it."""
    by_threads = asks_for_threads(steps)
    files = isinstance(source, FileSource) and isinstance(sink, FileSink)
    task = fuse(steps)[0].steps if isinstance(source, FileSource) and not by_threads else ()
    raw, raw_reason = _raw(source, steps, sink)
    groups = threaded.threads_of(source, threaded.expanded(steps), run) if by_threads else []
    return Explanation(
        core="threads" if by_threads else "generators",
        reason=_reason(steps),
        task=tuple(map(str, task)),
        way=way_of(steps, settled=_is_settled(sink)) if files and not by_threads else None,
        raw=raw,
        raw_reason=raw_reason,
        threads=tuple(_threads(source, steps, sink, groups, run)),
        options=tuple(_options(source, sink, options)),
    )


def _reason(steps: tuple[Step, ...]) -> str:
    for step in steps:
        if step.workers:
            return f"{step} asks for workers"
        if step.timed:
            return f"{step} waits for a record only so long"
        if isinstance(step, Threaded):
            return f"{step} asks for threads"
    return "no step asks for workers"


def _is_settled(sink: FileSink) -> bool:
    format = sink.output_format
    return not format.writer(format.check_options(sink.format_options)).settles


def _raw(source: Any, steps: tuple[Step, ...], sink: Any) -> tuple[bool, str]:
    """Whether raw bytes are written, and the reason."""
    if not isinstance(source, FileSource):
        return False, "the source gives records, not bytes"
    if not isinstance(sink, FileSink):
        return False, "the records are not written into a file"
    for step in steps:
        if not step.preserving:
            return False, f"{step} may change records"
    other = [place for place in source.locations if source.format_of(place) != sink.output_format]
    if other:
        read, written = source.format_of(other[0]).name, sink.output_format.name
        return False, f"{other[0]} is {read}, the output is {written}"
    return True, "no step changes a record, and input and output have the same format"


def _threads(
    source: Any, steps: tuple[Step, ...], sink: Any, groups: list[PlannedThreads], run: Run
) -> Iterator[PlannedThreads]:
    """The threads of the run. Stores and resources may start more: see docs/stores.md."""
    if isinstance(source, FileSource) and (
        source.read_ahead or (run.threads and source.needs_reading_thread)
    ):
        yield PlannedThreads("read-ahead", 1, "reads and decompresses the input")
    yield from groups
    if any(map(is_coroutine_function, (f for step in steps for f in step.functions))):
        yield PlannedThreads("event-loop", 1, "runs coroutines")
    slow = isinstance(sink, FileSink) and (sink.output_codec or sink.location.scheme != LOCAL)
    if slow and run.threads and sink.location.scheme != STANDARD:
        yield PlannedThreads("write-behind", 1, "compresses and writes the output")


DEFAULTS = {"on_error": "fail", "max_memory": MAX_MEMORY, "resources": ""}
"""Of a pipeline's own options."""


def _options(source: Any, sink: Any, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The options that were set. Of what a store is given only names, which hold no secret."""
    for name, value in given.items():
        if value != DEFAULTS[name]:
            yield name, str(value)
    if isinstance(source, FileSource):
        yield from _of_end(source, "from_", "input")
    if isinstance(sink, FileSink):
        yield from _of_end(sink, "to", "output")


def _of_end(end: FileSource | FileSink, kind: str, prefix: str) -> Iterator[tuple[str, str]]:
    asked: list[Format | Codec | None] = [end.format, end.codec]
    if any(asked):
        yield kind, ".".join(one.name for one in asked if one)
    for one in fields(end):
        value = getattr(end, one.name)
        if one.name in SHOWN and value != one.default:
            yield one.name, str(value)
    if end.format_options is not None:
        yield f"{prefix} format", str(end.format_options)
    yield from ((f"{prefix} {name}", value) for name, value in _of_store(end.options))


SHOWN = frozenset({"max_record", "read_ahead", "level", "clobber"})
"""Options of sources and sinks that are shown with their values."""


def _of_store(options: StoreOptions) -> Iterator[tuple[str, str]]:
    for name, value in options.transport_params.items():
        yield f"transport_params[{name}]", str(value) if name in COMMON else "set"
    for name in options.storage_options:
        yield f"storage_options[{name}]", "set"
    if options.endpoint_url is not None:
        yield "endpoint_url", "set"
    if options.insecure:
        yield "insecure", "True"
    if options.allow_schemes:
        yield "allow_schemes", ", ".join(options.allow_schemes)
