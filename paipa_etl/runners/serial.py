"""The generator core: nested generators in the caller's thread, one record in flight.

``for step in steps: flow = step(flow)``. A plan whose every step leaves records as they
are, from a format into the same one, is carried out a batch at a time instead: raw lines
stay beside their records, and are what is written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Protocol

from paipa_etl.formats.batch import Batch
from paipa_etl.report import StepCount
from paipa_etl.run import Run, close
from paipa_etl.sinks.files import OpenFile
from paipa_etl.sources import Source
from paipa_etl.sources.files import FileSource
from paipa_etl.steps.contract import Reads, Step


class OpenSink(Protocol):
    """An opened sink."""

    def write_all(self, records: Iterable[Any]) -> None: ...
    def commit(self) -> None: ...
    def abort(self, cause: BaseException) -> None: ...


class Sink(Protocol):
    """Where records end up: plain data until a runner opens it."""

    def open(self, run: Run) -> OpenSink: ...


def run(source: Source, steps: tuple[Step, ...], sink: Sink, run: Run) -> None:
    """Carry out a plan: the sink publishes everything, or is aborted and nothing changes.

    The source is closed before the sink commits. Raises what failed first, as itself.
    """
    run.background = True
    try:
        output = sink.open(run)
        try:
            _fill(output, source, steps, run)
            output.commit()
        except BaseException as error:
            output.abort(error)
            raise
    finally:
        run.stop.set()
        run.stop.close()


def _fill(output: OpenSink, source: Source, steps: tuple[Step, ...], run: Run) -> None:
    counts = [run.counts.add_step(str(step)) for step in steps]
    if (
        isinstance(source, FileSource)
        and isinstance(output, OpenFile)
        and source.formats() == {output.format}
        and all(step.preserving for step in steps)
    ):
        with closing(_batches(source, steps, counts, run)) as batches:
            for batch in batches:
                output.write_batch(batch)
    else:
        with closing(_flow(source, steps, counts, run)) as records:
            output.write_all(records)


def iterate(source: Source, steps: tuple[Step, ...], run: Run) -> Generator[Any, None, None]:
    """The records that leave the last step, pulled one by one; no thread unless the source asks.

    Closing the generator closes every step's from the right, and the source's.
    """
    counts = [run.counts.add_step(str(step)) for step in steps]
    try:
        with closing(_flow(source, steps, counts, run)) as records:
            yield from records
    finally:
        run.stop.set()
        run.stop.close()


def _flow(
    source: Source, steps: tuple[Step, ...], counts: list[StepCount], run: Run
) -> Generator[Any, None, None]:
    """The fold, and the closing of all of its generators from the right."""
    with ExitStack() as stack:
        flow: Iterator[Any] = source.records(run)
        stack.callback(close, flow)
        for step, count in zip(steps, counts, strict=True):
            flow = step.bind(run, count)(flow)
            stack.callback(close, flow)
        yield from flow


def _batches(
    source: FileSource, steps: tuple[Step, ...], counts: list[StepCount], run: Run
) -> Generator[Batch, None, None]:
    """The fold over batches, for steps that leave records as they are."""
    reads = any(step.reads is not Reads.NOTHING for step in steps)
    with ExitStack() as stack:
        flow: Iterator[Batch] = source.batches(run, reads)
        stack.callback(close, flow)
        for step, count in zip(steps, counts, strict=True):
            flow = step.bind_batches(run, count)(flow)
            stack.callback(close, flow)
        yield from flow
