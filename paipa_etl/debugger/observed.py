"""Observed: what a watch and the counts of a run say, as the lines and queues of a view."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from paipa_etl.errors import shown
from paipa_etl.metrics.accounts import Queue, RunAccounts
from paipa_etl.metrics.observer import (
    CODEC,
    OWN,
    ROOM,
    SINK,
    SOURCE,
    STORE,
    WAITS,
    Owner,
)
from paipa_etl.metrics.plan import NAME, Plan, PlanStep
from paipa_etl.metrics.view import QueueRole, QueueView, StepView
from paipa_etl.run.report import Counts, Report, StepCount, StepReport


class Observed(Protocol):
    """What is asked of a run."""

    @property
    def counts(self) -> Counts: ...

    def report(self) -> Report: ...


def steps_of(watch: RunAccounts, run: Observed, plan: Plan, report: Report) -> list[StepView]:
    """The lines of source, steps and sink."""
    views = [_source(watch, run, plan, report)]
    counts, names = run.counts.steps, names_of(run, plan)
    for place, step in enumerate(report.steps):
        planned = plan.steps[place] if place < len(plan.steps) else PlanStep(step.name)
        views.append(_step(watch, counts[place], step, planned))
        views[-1].name = names[counts[place]]
    views.append(_sink(watch, run, plan, report))
    views[-1].name = names[SINK]
    if len(views) > 2:
        views[-1].records_in = views[-2].records_out
    if plan.transfers > 1:
        for view in views:
            view.workers = max(view.workers, 1) * plan.transfers
    return views


def names_of(run: Observed, plan: Plan) -> dict[Owner, str]:
    """What everyone is called; the second step of a name with its number among all.

    No two have the same name, whatever a function is called, and where a run reads ``-`` and
    writes ``-``.
    """
    sink = plan.sink if plan.sink != plan.source else f"{plan.sink} (output)"
    names: dict[Owner, str] = {SOURCE: plan.source, SINK: sink}
    for number, count in enumerate(run.counts.steps, 1):
        name = unnumbered = shown(count.name, NAME)
        while name in names.values():
            name = f"{unnumbered} ({number})"
            number += len(run.counts.steps)
        names[count] = name
    return names


def places_of(run: Observed) -> dict[Owner, int]:
    """The index of everyone's line in the view."""
    return {owner: place for place, owner in enumerate((SOURCE, *run.counts.steps, SINK))}


def _source(watch: RunAccounts, run: Observed, plan: Plan, report: Report) -> StepView:
    view = _ends(watch, SOURCE, plan.source)
    view.records_in = view.records_out = report.read
    view.bytes, view.skipped = report.bytes_in, run.counts.bad
    view.waited_in = watch.own(SOURCE, WAITS)
    view.waited_out = _waited(watch, giver=SOURCE)
    return view


def _sink(watch: RunAccounts, run: Observed, plan: Plan, report: Report) -> StepView:
    view = _ends(watch, SINK, plan.sink)
    view.codec = plan.sink_codec
    view.records_in, view.records_out = report.read, report.written
    view.bytes, view.skipped = report.bytes_out, run.counts.unencodable
    view.waited_in = watch.own(SINK, WAITS)
    view.waited_out = watch.own(SINK, ROOM)
    return view


def _ends(watch: RunAccounts, owner: Owner, name: str) -> StepView:
    """A source or a sink, whose work is in three parts."""
    format = watch.total(owner, OWN)
    every = {
        "store": watch.total(owner, STORE),
        "codec": watch.total(owner, CODEC),
        "format": format,
    }
    view = StepView(name, "source" if owner is SOURCE else "sink")
    view.parts = {part: total.own / 1e9 for part, total in every.items()}
    view.parts_cpu = {part: total.cpu for part, total in every.items()}
    view.seconds = sum(view.parts.values())
    known = [cpu for cpu in view.parts_cpu.values() if cpu is not None]
    view.cpu = sum(known) if known else None
    view.memory_growth = watch.grown(owner)
    view.median, view.p90, view.p99 = map(format.percentile, (0.5, 0.9, 0.99))
    view.counters = _counters(watch, format.counted)
    return view


def _step(watch: RunAccounts, count: StepCount, report: StepReport, planned: PlanStep) -> StepView:
    total, counted, workers = watch.total(count), count.total(), planned.workers
    view = StepView(count.name, "step", report.records_in, report.records_out, workers)
    view.paced = planned.paced
    view.seconds, view.cpu, view.busiest = total.own / 1e9, total.cpu, watch.busiest(count)
    view.skipped, view.retried, view.opaque = counted.skipped, counted.retried, counted.opaque
    view.memory_growth = watch.grown(count)
    view.median, view.p90, view.p99 = map(total.percentile, (0.5, 0.9, 0.99))
    _of_each(view, total.records)
    view.counters = _counters(watch, total.counted)
    view.waited_out = _waited(watch, giver=count)
    view.waited_in = _waited(watch, taker=count) if workers else watch.own(count, WAITS)
    return view


def _of_each(view: StepView, left: int) -> None:
    """What was measured between two records that left it, as that of those that came in."""
    drops = view.records_in > left > 0
    if drops and not view.workers and view.median and view.p90 and view.p99:
        part = left / view.records_in
        view.median *= part
        view.p90 *= part
        view.p99 *= part


def _counters(watch: RunAccounts, counted: Sequence[int]) -> dict[str, int]:
    names = watch.counters.names
    return dict(zip(names, counted or [0] * len(names), strict=True))


def _waited(watch: RunAccounts, giver: Owner = None, taker: Owner = None) -> float:
    """The seconds waited at the channels of somebody; not those within a source or a sink."""
    waited = 0.0
    for queue in list(watch.queues):
        if queue.giver is queue.taker:
            continue
        told = queue.channel.statistics()
        if giver is not None and queue.giver is giver:
            waited += told.waited_to_put
        if taker is not None and queue.taker is taker:
            waited += told.waited_to_take
    return waited


def queue_view(
    queue: Queue,
    names: Mapping[Owner, str],
    places: Mapping[Owner, int],
    occupancy: float,
    full: float,
) -> QueueView:
    """A channel as it is now."""
    told = queue.channel.statistics()
    giver, taker = (names.get(owner, "?") for owner in (queue.giver, queue.taker))
    return QueueView(
        _name(queue, taker),
        giver,
        taker,
        told.items,
        told.bytes,
        limit_of(told),
        told.max_bytes,
        told.peak_items,
        told.peak_bytes,
        occupancy,
        full,
        told.waited_to_put,
        told.waited_to_take,
        _role(queue),
        places.get(queue.giver, -1),
        places.get(queue.taker, -1),
    )


def _name(queue: Queue, taker: str) -> str:
    role = _role(queue)
    return f"before {taker}" if role == "between" else role


def _role(queue: Queue) -> QueueRole:
    if queue.giver is not queue.taker:
        return "between"
    return "read ahead" if queue.giver is SOURCE else "write behind"


def limit_of(told: Any) -> int | None:
    """The most records of a channel; None where only its bytes are bounded."""
    return None if told.max_items == sys.maxsize else told.max_items
