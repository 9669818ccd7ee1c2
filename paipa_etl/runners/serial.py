"""The generator core: nested generators in the caller's thread, one record in flight.

``for step in steps: flow = step(flow)``. A plan whose every step leaves records as they
are, from a format into the same one, is carried out a batch at a time instead: raw lines
stay beside their records, and are what is written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from paipa_etl.formats.batch import Batch
from paipa_etl.metering.meter import Tally
from paipa_etl.metering.watch import SINK, SOURCE
from paipa_etl.run import Run, close
from paipa_etl.sources import Source
from paipa_etl.sources.files import FileSource
from paipa_etl.sources.live import ending
from paipa_etl.steps.contract import Reads, Step, Threaded


def records(
    source: Source,
    steps: tuple[Step, ...],
    run: Run,
    *,
    at_once: bool = False,
    watching: AbstractContextManager[None] | None = None,
) -> Generator[Any, None, None]:
    """The records that leave the last step, pulled one by one; no thread unless the run asks.

    Closing the generator closes every step's from the right, and the source's. ``watching``
    lasts as long: then whoever takes the records is looked at as a sink is.
    """
    with ExitStack() as stack:
        if watching is not None:
            stack.enter_context(watching)
            run.watch.lane(SINK)
        stack.enter_context(ending(source, run))
        stack.callback(lambda: run.over())  # of the run that is the last part then
        flow: Iterator[Any] = run.watch.timed(source.records(run), SOURCE)
        stack.callback(close, flow)
        for step in steps:
            count = run.counts.add_step(str(step))
            if isinstance(step, Threaded):
                inner = run.behind()
                flow = step.bind(inner, count)(flow)
                run = inner.behind()
                run.where = inner.where
            else:
                flow = step.bind(run, count)(flow)
            flow = run.watch.timed(flow, count)
            stack.callback(close, flow)
        if watching is not None:
            flow = run.counts.tally = Tally(flow)
        yield from flow


def batches(
    source: FileSource, steps: tuple[Step, ...], run: Run, *, at_once: bool = False
) -> Generator[Batch, None, None]:
    """The same over batches, for steps that leave records as they are."""
    reads = any(step.reads is not Reads.NOTHING for step in steps)
    with ExitStack() as stack:
        stack.callback(run.over)
        flow: Iterator[Batch] = run.watch.timed(source.batches(run, reads), SOURCE, batches=True)
        stack.callback(close, flow)
        for step in steps:
            count = run.counts.add_step(str(step))
            flow = run.watch.timed(step.bind_batches(run, count)(flow), count, batches=True)
            stack.callback(close, flow)
        yield from flow
