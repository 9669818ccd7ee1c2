"""Parts: how a plan is cut between its channels, and the generators that are nested in a part."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from paipa_etl.metrics.observer import SINK, WAITS, Owner
from paipa_etl.records.batch import Batch
from paipa_etl.records.channel import BatchChannel
from paipa_etl.run import Run, close
from paipa_etl.run.report import StepCount
from paipa_etl.steps.contract import Step
from paipa_etl.threads.channel import Finished, Parcel
from paipa_etl.threads.collector import CleanupStack, apart

ALL = 1 << 30

Counted = list[tuple[Step, StepCount]]


def cut(steps: Counted) -> list[Counted]:
    """Runs of steps that are nested in one thread, and steps with workers, each on its own.

    The first part follows the source and the last precedes the sink; both may be empty. A
    step that waits up to a moment only begins a part: it reads from a channel.
    """
    parts: list[Counted] = [[]]
    for step, count in steps:
        if step.workers:
            parts += [[(step, count)], []]
        elif step.timed and (parts[-1] or len(parts) == 1):
            parts.append([(step, count)])
        else:
            parts[-1].append((step, count))
    if len(parts) == 1:
        parts.append([])  # no step has workers: all of them are carried out by the feeding thread
    return [part for place, part in enumerate(parts) if part or place in (0, len(parts) - 1)]


def arriving(
    channel: BatchChannel, idle: Callable[[], None] | None = None
) -> Generator[Batch, None, None]:
    """The batches of a channel; each counts there until the next is asked for."""
    parcel: Parcel | None = None
    try:
        while True:
            if idle is not None and channel.is_empty:
                idle()
            try:
                parcel = channel.exchange(parcel, ALL)
            except Finished:
                return
            yield parcel.item
    finally:
        apart(channel.abandon)


def flow_of(
    part: Counted,
    run: Run,
    channel: BatchChannel,
    given: Iterator[Batch] | None = None,
) -> Iterator[Any]:
    """The records of a channel, for a part that begins with a timed step or with any other."""
    if part and part[0][0].timed:
        return Taking(channel, run, owner_of(part))
    return run.cursor.records(waited_for(given or arriving(channel), part, run))


def owner_of(part: Counted) -> Owner:
    """Whoever takes what comes into a part: its first step, or the sink."""
    return part[0][1] if part else SINK


def waited_for(batches: Iterator[Batch], part: Counted, run: Run) -> Iterator[Batch]:
    """Batches, the wait for which is not the time of the step that asks for them."""
    return run.observer.timed(batches, owner_of(part), WAITS, weigh=len)


class Taking:
    """The records of a channel, one by one, waited for up to a moment where that is asked."""

    def __init__(self, channel: BatchChannel, run: Run, owner: Owner) -> None:
        self._channel, self._run, self._owner = channel, run, owner
        self._rest: Iterator[Any] = iter(())
        self._held = (0, 0)

    def __iter__(self) -> Taking:
        return self

    def __next__(self) -> Any:
        return self.until(None)

    def until(self, moment: float | None) -> Any:
        """The next record; ``Elapsed`` when none came before that moment of the run's clock."""
        while True:
            for record in self._rest:
                return record
            self._channel.release(*self._held)
            self._held = (0, 0)
            left = None if moment is None else max(moment - self._run.clock.now(), 0)
            try:
                with self._run.observer.section(self._owner, WAITS):
                    batch, *held = self._channel.take(ALL, left)
            except Finished:
                raise StopIteration from None
            self._held = (held[0], held[1])
            self._rest = self._run.cursor.enter(batch)


def calls_before_early_end(part: Counted) -> bool:
    """Whether a step calls functions and a later one may want no more records.

    Then no function may be called for a record that was not asked for.
    """
    calls = [bool(step.functions) for step, _ in part]
    return any(step.may_end_early and any(calls[:n]) for n, (step, _) in enumerate(part))


def _singly(batches: Iterator[Batch], count: StepCount) -> Generator[Batch, None, None]:
    """One batch for each record; records that are not requested count as left over by ``count``."""
    for batch in batches:
        left = len(batch)
        try:
            for single in batch.singly():
                left -= 1
                yield single
        finally:
            count.left_over += left


@contextmanager
def nested(
    flow: Iterator[Any], part: Counted, run: Run, *, batches: bool = False
) -> Generator[Iterator[Any], None, None]:
    """Steps nested over a flow; leaving the block closes all of them, from the right."""
    with CleanupStack() as stack:
        stack.callback(close, flow)
        if batches and calls_before_early_end(part):
            flow = _singly(flow, part[0][1])
            stack.callback(close, flow)
        for step, count in part:
            bind = step.bind_batches if batches else step.bind
            flow = run.observer.timed(bind(run, count)(flow), count, weigh=len if batches else None)
            stack.callback(close, flow)
        yield flow
