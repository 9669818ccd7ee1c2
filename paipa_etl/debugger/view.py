"""View: a run at one moment, as plain data; what reporters, verdict and page are made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from paipa_etl.debugger.samples import plain
from paipa_etl.errors import shown
from paipa_etl.metering.watch import (
    CODEC,
    OWN,
    ROOM,
    SINK,
    SOURCE,
    STORE,
    WAITS,
    Owner,
    Queue,
    Watch,
)
from paipa_etl.report import Counts, Report, StepCount

SCHEMA = 1
NAME = 200  # bytes of a name that are shown


class Observed(Protocol):
    """What is asked of a run."""

    counts: Counts

    def report(self) -> Report: ...


@dataclass(frozen=True)
class Plan:
    """The texts of a plan, safe on a terminal: where from, which steps, where to."""

    source: str
    steps: tuple[tuple[str, int], ...]
    """Each with its workers; 0: in the thread of what stands around it."""
    sink: str

    @classmethod
    def of(cls, source: str, steps: Sequence[tuple[str, int]], sink: str) -> Plan:
        """A plan of texts that may hold anything."""
        safe = tuple((shown(name, NAME), workers) for name, workers in steps)
        return cls(shown(source, NAME), safe, shown(sink, NAME))


@dataclass(slots=True)
class StepView:
    """One line: the source, a step, or the sink. Times in seconds, sizes in bytes.

    ``seconds`` is its own time, without what it waited for, summed over its workers;
    ``waited_in`` and ``waited_out`` are its waits for records and for room behind it.
    ``cpu`` is worked out of a part of the time that was looked at more closely; None where
    the run was too short for that. ``busiest`` is the time of the worker that had most.
    ``median``, ``p90`` and ``p99`` are the seconds that one record takes in it, to 6 percent; of
    a step that drops some, what it takes on average until one leaves it. ``parts`` divides the
    time of a source or sink among store, codec and format, ``parts_cpu`` that of the processor.
    """

    name: str
    kind: str
    records_in: int = 0
    records_out: int = 0
    workers: int = 0
    seconds: float = 0.0
    cpu: float | None = None
    busiest: float = 0.0
    waited_in: float = 0.0
    waited_out: float = 0.0
    median: float | None = None
    p90: float | None = None
    p99: float | None = None
    bytes: int | None = None
    skipped: int = 0
    retried: int = 0
    opaque: bool = False
    memory_growth: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    parts_cpu: dict[str, float | None] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def share(self, wall: float) -> float:
        """How much of the wall time it was at work, of all that its workers have."""
        return min(self.seconds / (wall * max(self.workers, 1)), 1.0) if wall > 0 else 0.0

    def of_each(self) -> None:
        """What was measured between two records that leave it, as that of those that came in."""
        drops = self.records_in > self.records_out > 0
        if drops and not self.workers and self.median and self.p90 and self.p99:
            part = self.records_out / self.records_in
            self.median *= part
            self.p90 *= part
            self.p99 *= part

    def per_record(self, counter: str) -> float:
        """How often a counter of the user's counted, for each record that came in."""
        return self.counters.get(counter, 0) / max(self.records_in or self.records_out, 1)


@dataclass(slots=True)
class QueueView:
    """A channel between two threads. ``limit`` is in records, or None where only bytes count.

    ``occupancy`` is what it held when something was taken, on average, and ``full`` how often
    it was seen full, both from 0 to 1; waits are in seconds, summed over all who wait.
    """

    name: str
    giver: str
    taker: str
    records: int
    bytes: int
    limit: int | None
    limit_bytes: int
    peak: int
    peak_bytes: int
    occupancy: float
    full: float
    waited_to_put: float
    waited_to_take: float

    @property
    def fill(self) -> float:
        """How full it is now, from 0 to 1."""
        return filled(self.records, self.bytes, self.limit, self.limit_bytes)


@dataclass(slots=True)
class Verdict:
    """What limits the run: ``kind`` is a word of ``verdict.py``, ``lever`` what to do about it."""

    kind: str
    limit: str
    text: str
    lever: str
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.text}", f"what to do: {self.lever}", *self.remarks])


@dataclass(slots=True)
class View:
    """A run at one moment; of one that is over, all of it.

    ``steps`` begins with the source and ends with the sink. ``counts`` are the report's.
    """

    seconds: float
    counts: dict[str, Any]
    steps: list[StepView]
    queues: list[QueueView]
    plan: str = ""
    cpu: float = 0.0
    """Seconds of the processor's time that the whole process took."""
    delayed: float = 0.0
    """Seconds in which threads of it were ready to go on and had no processor."""
    memory: int = 0
    """Bytes of the process now."""
    samples: dict[str, Any] = field(default_factory=dict)
    """Columns as arrays, which a list of Python's numbers is four times as large as."""
    verdict: Verdict | None = None
    finished: bool = False
    failed: str | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    started: str = ""

    @property
    def source(self) -> StepView:
        """The line of the source."""
        return self.steps[0]

    @property
    def sink(self) -> StepView:
        """The line of the sink."""
        return self.steps[-1]

    def to_html(self) -> str:
        """One page that shows all of it."""
        from paipa_etl.debugger.page import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; docs/debugging.md tells what is what."""
        return {"schema": SCHEMA, **asdict(self), "samples": plain(self.samples)}


def filled(records: int, size: int, limit: int | None, limit_bytes: int) -> float:
    """How full a channel is, from 0 to 1: in records or in bytes, whichever is more."""
    of_records = records / limit if limit else 0.0
    return min(max(of_records, size / max(limit_bytes, 1)), 1.0)


def steps_of(watch: Watch, run: Observed, plan: Plan, report: Report) -> list[StepView]:
    """The lines of source, steps and sink."""
    views = [_source(watch, run, plan, report)]
    counts, names = run.counts.steps, names_of(run, plan)
    for place, step in enumerate(report.steps):
        workers = plan.steps[place][1] if place < len(plan.steps) else 0
        views.append(_step(watch, counts[place], workers))
        views[-1].name = names[counts[place]]
        views[-1].records_in, views[-1].records_out = step.records_in, step.records_out
        views[-1].of_each()
    views.append(_sink(watch, run, plan, report))
    if len(views) > 2:
        views[-1].records_in = views[-2].records_out
    return views


def names_of(run: Observed, plan: Plan) -> dict[Owner, str]:
    """What everyone is called; the second step of a name with its number among all."""
    names: dict[Owner, str] = {SOURCE: plan.source, SINK: plan.sink}
    for number, count in enumerate(run.counts.steps, 1):
        name = shown(count.name, NAME)
        names[count] = f"{name} ({number})" if name in names.values() else name
    return names


def _source(watch: Watch, run: Observed, plan: Plan, report: Report) -> StepView:
    view = _ends(watch, SOURCE, plan.source)
    view.records_in = view.records_out = report.read
    view.bytes, view.skipped = report.bytes_in, run.counts.bad
    view.waited_in = watch.own(SOURCE, WAITS)
    view.waited_out = _waited(watch, giver=SOURCE)
    return view


def _sink(watch: Watch, run: Observed, plan: Plan, report: Report) -> StepView:
    view = _ends(watch, SINK, plan.sink)
    view.records_in, view.records_out = report.read, report.written
    view.bytes, view.skipped = report.bytes_out, run.counts.unencodable
    view.waited_in = watch.own(SINK, WAITS)
    view.waited_out = watch.own(SINK, ROOM)
    return view


def _ends(watch: Watch, owner: Owner, name: str) -> StepView:
    """A source or a sink, whose work is in three parts."""
    format = watch.total(owner, OWN)
    every = {
        "store": watch.total(owner, STORE),
        "codec": watch.total(owner, CODEC),
        "format": format,
    }
    view = StepView(name, str(owner))
    view.parts = {part: total.own / 1e9 for part, total in every.items()}
    view.parts_cpu = {part: total.cpu for part, total in every.items()}
    view.seconds = sum(view.parts.values())
    known = [cpu for cpu in view.parts_cpu.values() if cpu is not None]
    view.cpu = sum(known) if known else None
    view.memory_growth = watch.grown(owner)
    view.median, view.p90, view.p99 = map(format.percentile, (0.5, 0.9, 0.99))
    view.counters = _counters(watch, format.counted)
    return view


def _step(watch: Watch, count: StepCount, workers: int) -> StepView:
    total, counted = watch.total(count), count.total()
    view = StepView(count.name, "step", workers=workers)
    view.seconds, view.cpu, view.busiest = total.own / 1e9, total.cpu, watch.busiest(count)
    view.skipped, view.retried, view.opaque = counted.skipped, counted.retried, counted.opaque
    view.memory_growth = watch.grown(count)
    view.median, view.p90, view.p99 = map(total.percentile, (0.5, 0.9, 0.99))
    view.counters = _counters(watch, total.counted)
    view.waited_out = _waited(watch, giver=count)
    view.waited_in = _waited(watch, taker=count) if workers else watch.own(count, WAITS)
    return view


def _counters(watch: Watch, counted: Sequence[int]) -> dict[str, int]:
    return dict(zip(watch.counters, counted or [0] * len(watch.counters), strict=True))


def _waited(watch: Watch, giver: Owner = None, taker: Owner = None) -> float:
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
    queue: Queue, names: Mapping[Owner, str], occupancy: float, full: float
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
    )


def _name(queue: Queue, taker: str) -> str:
    if queue.giver is queue.taker:
        return "read ahead" if queue.giver is SOURCE else "write behind"
    return f"before {taker}"


def limit_of(told: Any) -> int | None:
    """The most records of a channel; None where only its bytes are bounded."""
    return None if told.max_items == sys.maxsize else told.max_items
