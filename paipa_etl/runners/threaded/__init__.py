"""The threaded core: the same plan, its steps with workers as stages of threads between channels.

What stands in front of the first stage is run by a thread of its own, source and steps
nested; what stands between two stages too; what stands behind the last one by the
caller's thread. Batches are handed over, in order unless a step says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

from paipa_etl.metrics.observer import SOURCE, Owner
from paipa_etl.records.batch import NUMBERED, Batch, size_of
from paipa_etl.records.channel import MAX_BYTES, BatchChannel
from paipa_etl.run import Run, nothing
from paipa_etl.run.report import StepCount
from paipa_etl.runners.threaded.parts import (
    Counted,
    arriving,
    cut,
    flow_of,
    nested,
    owner_of,
    waited_for,
)
from paipa_etl.runners.threaded.share import ShareStage
from paipa_etl.runners.threaded.stage import CallStage
from paipa_etl.runners.threaded.thread_group import PlannedThreads, ThreadGroup
from paipa_etl.sinks import OpenSink
from paipa_etl.sinks.files import OpenFile
from paipa_etl.sources import Source, ending
from paipa_etl.sources.files import Copies, FileSource, copies_nothing
from paipa_etl.sources.iterables import IterableSource
from paipa_etl.steps.calls import is_coroutine_function
from paipa_etl.steps.contract import QUEUE, Opaque, Reads, Step, Threaded
from paipa_etl.steps.functions import FunctionStep
from paipa_etl.threads import forks
from paipa_etl.threads.channel import Abandoned
from paipa_etl.threads.stop import Stopped

FEEDS = "carries out the source and the steps before the first queue"
CHAINS = "carries out the steps between two queues"


def expanded(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps, those of ``threaded(...)`` among the others: here they are threads anyway."""
    found: list[Step] = []
    for step in steps:
        found += expanded(step.steps) if isinstance(step, Threaded) else (step,)
    return tuple(found)


def records(source: Source, steps: tuple[Step, ...], run: Run) -> Generator[Any, None, None]:
    """The records that leave the last step. Closing the generator ends and joins all threads."""
    yield from _Plan(source, steps, run, raw=False, at_once=False).records()


def fill(
    output: OpenSink, source: Source, steps: tuple[Step, ...], run: Run, *, at_once: bool
) -> None:
    """Have everything written that leaves the last step; raw bytes, where no step changes them."""
    if (
        isinstance(source, FileSource)
        and isinstance(output, OpenFile)
        and all(step.preserving for step in steps)
    ):
        plan = _Plan(source, steps, run, raw=True, at_once=at_once, copies=output.encoding.copies)
        with closing(plan.batches()) as batches:
            for batch in batches:
                output.write_batch(batch)
    else:
        plan = _Plan(source, steps, run, raw=False, at_once=at_once)
        with closing(plan.records()) as records:
            output.write_all(records)


def threads_of(source: Source, steps: tuple[Step, ...], run: Run) -> list[PlannedThreads]:
    """The threads of a plan, none of which is started."""
    return _Plan(source, steps, run, raw=False, at_once=False).group.planned


def carry_out(
    steps: tuple[Step, ...], run: Run, count: StepCount, records: Iterable[Any]
) -> Iterator[Any]:
    """Steps as threads in the middle of nested generators (``steps.threaded``)."""
    source = _Upstream(records)
    with closing(_Plan(source, expanded(steps), run, raw=False, at_once=False).records()) as flow:
        yield from count.tallied(flow)


class _Upstream(Source):
    """Records that generators further up give, pulled by the thread that feeds a plan."""

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._iterable = iterable

    def records(self, run: Run) -> Iterator[Any]:
        """The records, by their number; what is upstream is closed by whoever made it."""
        return run.counted(self._iterable)


class _Plan:
    """A plan cut into parts: one that feeds, stages and chains, and one that the caller pulls."""

    def __init__(
        self,
        source: Source,
        steps: tuple[Step, ...],
        run: Run,
        *,
        raw: bool,
        at_once: bool,
        copies: Copies = copies_nothing,
    ) -> None:
        self.source, self.run, self.raw, self._copies = source, run, raw, copies
        self.group = ThreadGroup(run)
        self._taken = 0
        self.counts = [run.counts.add_step(str(step)) for step in steps]
        parts = cut(list(zip(steps, self.counts, strict=True)))
        self.leading, *between, self.trailing = parts
        ends_early = [any(step.may_end_early for step, _ in part) for part in parts]
        self._at_once = [
            at_once and not any(ends_early[place + 1 :]) for place in range(len(parts))
        ]
        self.reads = any(step.reads is not Reads.NOTHING for step in steps)
        self._connect(between)
        self.group.add_watch()

    def _connect(self, parts: list[Counted]) -> None:
        giver: Owner = self.leading[-1][1] if self.leading else SOURCE
        inlet = self._channel(parts[0] if parts else self.trailing, giver)
        self._thread(self._feed, inlet, self._at_once[0], "feed", FEEDS)
        for place, part in enumerate(parts):
            following = parts[place + 1] if place + 1 < len(parts) else self.trailing
            outlet = self._channel(following, part[-1][1])
            at_once = self._at_once[place + 1]
            if part[0][0].workers:
                self._stage(part[0], inlet, outlet, at_once)
            else:
                chain = partial(self._chain, part, inlet)
                self._thread(chain, outlet, at_once, part[0][1].name, CHAINS)
            inlet = outlet
        self.tail = inlet

    def _channel(self, part: Counted, giver: Owner) -> BatchChannel:
        """The channel before a part: as long as its workers are to have it."""
        workers = part[0][0].workers if part else None
        items = workers.queue if workers else QUEUE
        if workers and items == QUEUE:
            items = max(items, 2 * workers.count)
        channel = BatchChannel(self.run.budget.share(MAX_BYTES), items)
        self.group.channels.append(forks.own(channel))
        self.run.observer.channel(channel, giver, owner_of(part))
        return channel

    def _stage(
        self,
        counted: tuple[Step, StepCount],
        inlet: BatchChannel,
        outlet: BatchChannel,
        at_once: bool,
    ) -> None:
        step, count = counted
        max_bytes = self.run.budget.share(MAX_BYTES)
        options: dict[str, Any] = {"max_bytes": max_bytes, "at_once": at_once}
        if isinstance(step, Opaque):
            ShareStage(step, count, inlet, outlet, self.group, **options).prepare()
            return
        assert isinstance(step, FunctionStep)
        kind = CallStage
        if is_coroutine_function(step.function):
            from paipa_etl.runners.threaded.tasks import (
                TaskStage,  # here: it takes an event loop's imports
            )

            kind = TaskStage
        kind(step, count, inlet, outlet, self.group, **options).prepare()

    # Threads that carry out generators.

    def _thread(
        self,
        work: Callable[[Run, BatchChannel], None],
        outlet: BatchChannel,
        at_once: bool,
        name: str,
        purpose: str,
    ) -> None:
        self.group.add(partial(self._work, work, outlet, at_once), name, purpose)

    def _work(
        self, work: Callable[[Run, BatchChannel], None], outlet: BatchChannel, at_once: bool
    ) -> None:
        failure: BaseException | None = None
        try:
            work(self.run.branch(), outlet)
        except (Abandoned, Stopped):
            failure = Stopped()  # it did not fail, and this is no end of the records either
        except BaseException as error:
            failure = error
            self.group.failed(error, at_once=at_once)
        finally:
            outlet.finish(failure)

    def _feed(self, run: Run, outlet: BatchChannel) -> None:
        run = run.showing(nothing)  # the consumer knows when nothing more is to be shown
        self.run.counts.report_unread(lambda: 0)
        if isinstance(self.source, FileSource) and not self.leading:
            with closing(self._watched(self.source.batches(run, self.reads, self._copies))) as flow:
                for batch in flow:
                    outlet.put_batch(batch.light(), batch.size)
        elif (
            isinstance(self.source, IterableSource) and self.source.is_at_hand and not self.leading
        ):
            with closing(self._watched(self.source.batches(run))) as flow:
                for batch in flow:
                    outlet.put_batch(batch, batch.size)
        elif self.raw and isinstance(self.source, FileSource):
            flow = self._watched(self.source.batches(run, self.reads, self._copies))
            self._give_batches(flow, self.leading, run, outlet)
        else:
            run.counts.report_unread(run.cursor.unread)
            records = self.run.observer.timed(self.source.records(run), SOURCE)
            self._give_records(records, self.leading, run, outlet)

    def _watched(self, batches: Generator[Batch, None, None]) -> Any:
        return self.run.observer.timed(batches, SOURCE, weigh=len)

    def _chain(self, part: Counted, inlet: BatchChannel, run: Run, outlet: BatchChannel) -> None:
        part[0][1].report_taken(run.cursor.handed)
        try:
            if self.raw:
                flow = waited_for(arriving(inlet), part, run)
                self._give_batches(flow, part, run, outlet)
            else:
                self._give_records(flow_of(part, run, inlet), part, run, outlet)
        finally:
            inlet.abandon()

    def _give_records(
        self, flow: Iterator[Any], part: Counted, run: Run, outlet: BatchChannel
    ) -> None:
        with nested(flow, part, run) as given:
            for record in given:
                raw = run.cursor.raw
                size = size_of((record,)) if raw is None else size_of((record, raw))
                outlet.add(record, run.cursor.index, run.cursor.batch or NUMBERED, size, raw)

    def _give_batches(
        self, flow: Iterator[Batch], part: Counted, run: Run, outlet: BatchChannel
    ) -> None:
        with nested(flow, part, run, batches=True) as given:
            for batch in given:
                if len(batch):
                    outlet.put_batch(batch.light(), batch.size)

    # What the caller pulls.

    def records(self) -> Generator[Any, None, None]:
        part, run = self.trailing, self.run
        with (
            run.in_one_process(),
            ending(self.source, run),
            self._pulled() as inlet,
            nested(flow_of(part, run, inlet, self._arriving()), part, run) as given,
        ):
            yield from given

    def batches(self) -> Generator[Batch, None, None]:
        arriving_batches = waited_for(self._arriving(), self.trailing, self.run)
        with (
            self.run.in_one_process(),
            self._pulled(),
            nested(arriving_batches, self.trailing, self.run, batches=True) as given,
        ):
            yield from given

    def _pulled(self) -> _Pulled:
        taken = self.run.cursor.handed if not self.raw else (lambda: self._taken)
        if self.trailing:
            self.trailing[0][1].report_taken(taken)
        else:
            self.run.counts.report_taken(taken)
        return _Pulled(self.group, self.tail)

    def _arriving(self) -> Generator[Batch, None, None]:
        for batch in arriving(self.tail, self.run.idle):
            self._taken += len(batch)
            yield batch


class _Pulled:
    """The last channel, while its records are pulled; leaving it ends the group in any case."""

    def __init__(self, group: ThreadGroup, channel: BatchChannel) -> None:
        self._group, self._channel = group, channel

    def __enter__(self) -> BatchChannel:
        try:
            self._group.start()
        except BaseException as error:
            self._group.end(error)
            raise
        return self._channel

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._group.end(error)
        if isinstance(error, (Abandoned, Stopped)) or (
            error is not None and self._group.is_known(error)
        ):
            self._group.raise_first(error)
