"""The generator core: nested generators in the caller's thread, one record in flight.

The leading steps of a file source that treat each record on its own are one block task; the
others are nested: ``for step in steps: flow = step(flow)``. Where no step reads records
and none is encoded, whole blocks are validated and copied.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

from paipa_etl.metrics.observer import SINK, SOURCE
from paipa_etl.optimizer.fuse import BlockTask, fuse
from paipa_etl.optimizer.ways import Way, way_of
from paipa_etl.records.batch import Batch, Kept
from paipa_etl.records.blocks import BLOCK
from paipa_etl.records.places import SourceBlock, no_records
from paipa_etl.run import Run, close
from paipa_etl.run.failure_list import FailureList
from paipa_etl.run.report import Counts, StepCount
from paipa_etl.sinks import OpenSink
from paipa_etl.sinks.files import OpenFile
from paipa_etl.sources import Source, ending
from paipa_etl.sources.files import Copies, FileSource, copies_nothing
from paipa_etl.steps.contract import Step, Threaded
from paipa_etl.threads.collector import CleanupStack

if TYPE_CHECKING:
    from paipa_etl.runners.block_task import BoundTask


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
    with run.in_one_process(), CleanupStack() as stack:
        if watching is not None:
            stack.enter_context(watching)
            run.observer.lane(SINK)
        stack.enter_context(ending(source, run))
        stack.callback(lambda: run.over())  # of the run that is the last part then
        flow: Iterator[Any]
        if isinstance(source, FileSource):
            task, steps = fuse(steps)
            blocks = _blocks(source, run, stack)
            flow = _bind(task, run, stack).records(blocks)
        else:
            flow = run.observer.timed(source.records(run), SOURCE)
        stack.callback(close, flow)
        for step in steps:
            count = run.counts.add_step(str(step))
            if isinstance(step, Threaded):
                flow, run = _threads_among_generators(step, flow, run, count)
            else:
                flow = step.bind(run, count)(flow)
            flow = run.observer.timed(flow, count)
            stack.callback(close, flow)
        if watching is not None:
            flow = run.counts.tallied(flow)
        yield from flow


def _threads_among_generators(
    step: Threaded, flow: Iterator[Any], run: Run, count: StepCount
) -> tuple[Iterator[Any], Run]:
    """The records that leave ``steps.threaded``, and the run for what stands behind it."""
    observer = run.observer.inside(lambda _: count)
    inner = run.behind(counts=Counts(), failures=FailureList(), observer=observer)
    behind = inner.behind(
        counts=run.counts,
        failures=run.failures,
        observer=run.observer,
        where=inner.cursor.where,
    )
    return step.bind(inner, count)(flow), behind


def fill(
    output: OpenSink, source: Source, steps: tuple[Step, ...], run: Run, *, at_once: bool
) -> None:
    """Have everything written that leaves the last step, the cheapest way that there is."""
    if not (isinstance(source, FileSource) and isinstance(output, OpenFile)):
        _write_records(output, source, steps, run)
        return
    match way_of(steps, settled=output.encoding.is_settled):
        case Way.COPY:
            _copy(output, source, steps, run)
        case Way.PIECES:
            _write_pieces(output, source, steps, run)
        case Way.KEPT:
            _write_kept(output, source, steps, run)
        case Way.RECORDS:
            _write_records(output, source, steps, run)


def _write_records(output: OpenSink, source: Source, steps: tuple[Step, ...], run: Run) -> None:
    """Encode the records as they leave the last step."""
    with closing(records(source, steps, run)) as flow:
        output.write_all(flow)


def _copy(output: OpenFile, source: FileSource, steps: tuple[Step, ...], run: Run) -> None:
    """Validate whole blocks and copy them; of inputs that cannot be copied, encode records."""
    with CleanupStack() as stack:
        stack.callback(run.over)
        batches = source.batches(run, False, output.encoding.copies)
        flow: Iterator[Batch] = run.observer.timed(batches, SOURCE, weigh=len)
        stack.callback(close, flow)
        for step in steps:
            count = run.counts.add_step(str(step))
            flow = run.observer.timed(step.bind_batches(run, count)(flow), count, weigh=len)
            stack.callback(close, flow)
        for batch in flow:
            output.write_batch(batch)


def _write_pieces(output: OpenFile, source: FileSource, steps: tuple[Step, ...], run: Run) -> None:
    """All steps are in the block task: write encoded pieces."""
    with CleanupStack() as stack:
        stack.callback(run.over)
        task, _ = fuse(steps)
        copies = output.encoding.copies if task.preserving else copies_nothing
        blocks = _blocks(source, run, stack, copies)
        for data, count in _bind(task, run, stack).pieces(blocks, output.encoding):
            output.write_piece(data, count)


def _write_kept(output: OpenFile, source: FileSource, steps: tuple[Step, ...], run: Run) -> None:
    """No step changes a record, and some step depends on several: each goes with its raw bytes."""
    with CleanupStack() as stack:
        stack.callback(run.over)
        task, rest = fuse(steps)
        blocks = _blocks(source, run, stack, output.encoding.copies)
        flow: Iterator[Kept] = _bind(task, run, stack).kept(blocks)
        stack.callback(close, flow)
        for step in rest:
            count = run.counts.add_step(str(step))
            flow = run.observer.timed(step.bind_kept(run, count)(flow), count)
            stack.callback(close, flow)
        output.write_kept(flow)


def _bind(task: BlockTask, run: Run, stack: CleanupStack) -> BoundTask:
    from paipa_etl.runners.block_task import BoundTask  # here: a copy needs none of it

    return BoundTask(task, run, stack)


def _blocks(
    source: FileSource, run: Run, stack: CleanupStack, copies: Copies = copies_nothing
) -> Iterator[SourceBlock]:
    """The blocks of a source, closed when the stack is left."""
    blocks = run.observer.timed(source.blocks(run, BLOCK, copies), SOURCE, weigh=no_records)
    stack.callback(close, blocks)
    return blocks
