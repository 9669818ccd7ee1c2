"""View: a run at one moment, as plain data; reporters, verdict and page show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from paipa_etl.errors import PlanError
from paipa_etl.metrics.samples import plain

SCHEMA = 1

StepKind = Literal["source", "step", "sink"]
QueueRole = Literal["read ahead", "between", "write behind"]
"""Within the source, between two lines of the view, or within the sink."""


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
    kind: StepKind
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
    paced: bool = False
    """Whether it waits in order to keep a rate that the user set."""
    codec: str = ""
    """Of a sink: the name of the output's codec, where it has one."""
    memory_growth: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    parts_cpu: dict[str, float | None] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def share(self, wall: float) -> float:
        """How much of the wall time it was at work, of all that its workers have."""
        return min(self.seconds / (wall * max(self.workers, 1)), 1.0) if wall > 0 else 0.0

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
    role: QueueRole
    giver_place: int
    """The index in ``View.steps`` of the line that hands over; -1 where that is not known."""
    taker_place: int

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
    transfers: int = 1
    """How many runs of the plan went on at once, each line being the sum of theirs."""
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
    page: Callable[[View], str] | None = field(default=None, repr=False, compare=False)
    """Makes the page; given by the debugger, whose folder the page belongs to."""

    @property
    def source(self) -> StepView:
        """The line of the source."""
        return self.steps[0]

    @property
    def sink(self) -> StepView:
        """The line of the sink."""
        return self.steps[-1]

    def queue_before(self, step: StepView) -> QueueView | None:
        """The queue that one of the lines takes its records from, where there is one."""
        for queue in self.queues:
            if queue.role == "between" and self.step_at(queue.taker_place) is step:
                return queue
        return None

    def step_at(self, place: int) -> StepView | None:
        """The line with this index; None for one that is not known."""
        return self.steps[place] if 0 <= place < len(self.steps) else None

    def to_html(self) -> str:
        """One page that shows all of it; ``PlanError`` where no debugger made the view."""
        if self.page is None:
            raise PlanError("a view that no debugger made has no page")
        return self.page(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; docs/debugging.md explains the fields."""
        told = {"schema": SCHEMA, **asdict(replace(self, samples={}))}
        del told["page"]
        return told | {"samples": plain(self.samples)}


def filled(records: int, size: int, limit: int | None, limit_bytes: int) -> float:
    """How full a channel is, from 0 to 1: in records or in bytes, whichever is more."""
    of_records = records / limit if limit else 0.0
    return min(max(of_records, size / max(limit_bytes, 1)), 1.0)
