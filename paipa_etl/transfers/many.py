"""Transfers: one output for each input, many on their way at once; a pipeline over locations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from paipa_etl import steps
from paipa_etl.errors import (
    BadRecord,
    DamagedInput,
    InputError,
    PaipaError,
    PlanError,
    describe,
)
from paipa_etl.location import Location
from paipa_etl.metrics.plan import Plan
from paipa_etl.pipeline import Pipeline, observer_of
from paipa_etl.plan_checks import PlannedOutputs
from paipa_etl.run import nothing
from paipa_etl.run.report import Report
from paipa_etl.schemes import LOCAL
from paipa_etl.sinks.files import FileSink
from paipa_etl.sources import store_of
from paipa_etl.sources.files import FileSource
from paipa_etl.sources.iterables import IterableSource
from paipa_etl.steps.contract import flatten_steps
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.port import Entry
from paipa_etl.suffixes import RefusedSuffix, refused_input
from paipa_etl.threads import forks
from paipa_etl.threads.stop import Stopped
from paipa_etl.transfers.templates import Template
from paipa_etl.transfers.together import Together

if TYPE_CHECKING:
    from paipa_etl.debugger import Debugger

TOLD = 1_000  # failed inputs that a report names
KEPT = 20_000  # jobs that are kept from the check of their names to their runs
FULL = 64 << 20  # bytes a transfer may keep, from which threads of its own read and write for it


@dataclass
class TransferReport(Report):
    """What many runs did together; the counts are their sums. ``failures`` says what, and why."""

    transferred: int = 0
    failed: int = 0
    already_done: int = 0
    failures: list[str] = field(default_factory=list)
    exit_code: int = 0
    """That of the first failure, for the command line."""

    def add(self, one: Report) -> None:
        """Add what one run did."""
        super().add(one)
        self.errors += one.errors[: TOLD - len(self.errors)]

    def __str__(self) -> str:
        words = [f"{self.transferred:,} transferred"]
        words += [f"{self.failed:,} failed"] if self.failed else []
        words += [f"{self.already_done:,} done already"] if self.already_done else []
        return f"{', '.join(words)}; {super().__str__()}"


def transfer(
    plan: Pipeline,
    *,
    transfers: int = 4,
    fail_fast: bool = False,
    skip_done: bool = False,
    heard: Callable[[TransferReport], None] | None = None,
    debugger: Debugger | None = None,
) -> TransferReport:
    """Carry out a plan for each of its inputs, so many of them at once.

    The plan's sink is a location with fields: ``write("s3://clean/{stem}.jsonl.zst")``.
    One that fails does not keep the others from going on, unless ``fail_fast``; with
    ``skip_done``, what has an output that is newer than it is left alone. The plan's
    ``max_memory`` is shared between them. A ``debugger`` looks at all of them as one run.
    Raises ``PlanError``, before anything is read, where two outputs would have one name, or
    one would leave the template's root.
    """
    return Transfers(plan, transfers, fail_fast, skip_done, heard, debugger).run()


@dataclass(frozen=True)
class Job:
    """One input and its output."""

    entry: Entry
    target: Location

    def __str__(self) -> str:
        return f"{self.entry.location}"


class Transfers:
    """The runs of one plan, and what they share: clients, memory, the report."""

    def __init__(
        self,
        plan: Pipeline,
        transfers: int,
        fail_fast: bool,
        skip_done: bool,
        heard: Callable[[TransferReport], None] | None,
        debugger: Debugger | None = None,
        spared: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if not (isinstance(plan.source, FileSource) and isinstance(plan.sink, FileSink)):
            raise PlanError("transfers go from locations to locations")
        if transfers < 1:
            raise PlanError(f"transfers is a number from 1, not {transfers}")
        self._plan, self._source, self._sink = plan, plan.source, plan.sink
        self._template = Template(plan.sink.location)
        self._fail_fast, self._skip_done = fail_fast, skip_done
        self._memory = max(plan.max_memory // transfers, 1)
        step = steps.map(self.transfer, workers=transfers, ordered=False, queue=max(transfers, 2))
        self._outer = Pipeline(IterableSource(self._jobs()), [step])
        self._run = self._outer.new_run(must_finish=lambda: self.is_going_on)
        self._watch = observer_of(debugger)
        hidden = 1 if plan.steps else 0  # what every run of ours has before the plan's own steps
        self._together = Together(self._watch, map(str, plan.expanded()), hidden)
        self._transfers = transfers
        self.report, self._lock, self._heard = TransferReport(), forks.lock(), heard
        self._ending = flatten_steps(steps.tap(self._check_end))[0]
        self._planned = PlannedOutputs(spared)
        self._checked = False
        self._kept: list[Job] | None = []
        """All jobs, where they are few enough not to be listed twice."""

    def run(self) -> TransferReport:
        """Check all names, then carry out every run."""
        try:
            self._check()
            self._checked = True
            with self._watch.watching(self._together, self._described):
                self._outer.run(self._run)
        finally:
            self.report.seconds = self._run.clock.now() - self._run.started
            self.report.view = self._watch.details()
            self.report.steps = self._together.report().steps
            self._run.clients.close()
        return self.report

    @property
    def is_going_on(self) -> bool:
        """Whether an output is being published at this moment."""
        return self._together.is_going_on

    @property
    def has_begun(self) -> bool:
        """Whether every transfer has ended or publishes: an interrupt changes nothing any more."""
        report = self.report
        ended = report.transferred + report.failed + report.already_done
        return self._checked and ended + self._together.settled >= len(self._planned)

    def _described(self) -> Plan:
        plan = self._plan.described(self._plan.expanded())
        return replace(plan, transfers=self._transfers)

    def _pairs(self) -> Iterator[Job]:
        """Each input with its output, as the stores list them now."""
        index = 0
        for place in self._source.locations:
            for entry in self._source.expand(place, self._run):
                index += 1
                yield Job(entry, self._template.target(entry.location, place, index))

    def _check(self) -> None:
        """Refuse outputs that would replace one another, an input, or a file to spare."""
        for job in self._pairs():
            if self._kept is not None:
                self._kept.append(job)
                self._kept = self._kept if len(self._kept) <= KEPT else None
            self._planned.add(job.entry.location, job.target)
            replace(self._sink, location=job.target)  # raises where its suffix is refused
        self._planned.check_inputs_stay(self._template.location)

    def _jobs(self) -> Iterator[Job]:
        """The jobs whose names were checked: what appeared meanwhile waits for another run."""
        for job in self._pairs() if self._kept is None else self._kept:
            if job.target in self._planned:
                yield job

    def transfer(self, job: Job) -> None:
        """One run; what it fails with is told in the report."""
        try:
            if self._skip_done:
                job = replace(job, entry=self._looked_at(job.entry))
                if self._is_done(job):
                    self._tell(already_done=1)
                    return
            report = self._carry_out(job)
        except Stopped:
            raise
        except Exception as error:
            if self._fail_fast or not self._may_go_on(error):
                self._run.policy.settle(error)  # it says where it happened
                raise
            self._failed(job, error)
            return
        with self._lock:
            self.report.add(report)
        self._tell(transferred=1)

    def _may_go_on(self, error: Exception) -> bool:
        return not self._run.stops.run.is_set and not isinstance(error, (PlanError, MemoryError))

    def _carry_out(self, job: Job) -> Report:
        found = replace(job.entry.location, literal=True)  # it may be gone when its turn comes
        try:
            source = replace(self._source, locations=(found,), _used=[])
        except RefusedSuffix as error:
            raise refused_input(error) from None
        plan = replace(
            self._plan,
            steps=(self._ending, *self._plan.steps) if self._plan.steps else (),
            source=source,
            sink=replace(self._sink, location=job.target, _opened=[]),
            max_memory=self._memory,
        )
        run = plan.new_run(
            clients=self._run.clients,
            threads=self._memory >= FULL,
            before_commit=partial(self._check_unchanged, job) if self._skip_done else nothing,
        )
        if job.target.scheme == LOCAL:
            self._template.check_real(job.target)
            os.makedirs(os.path.dirname(job.target.target) or ".", exist_ok=True)
        with self._run.stops.run.waking(run.abort):
            try:
                return self._together.carry_out(run, plan.run)
            except (BadRecord, DamagedInput) as error:  # half of what was, half of what is
                self._check_unchanged(job, error)
                raise

    def _check_end(self, record: Any) -> None:
        """Between two records: a run in a worker is not interrupted, as one in the main thread."""
        if self._run.stops.run.is_set:
            raise Stopped

    def _is_done(self, job: Job) -> bool:
        """Whether the output is newer than the input, as far as the stores tell."""
        made = self._stat(job.target, self._sink.options).modified
        begun = job.entry.modified
        return made is not None and begun is not None and made > begun

    def _looked_at(self, entry: Entry) -> Entry:
        if entry.modified is not None and entry.stamp is not None:
            return entry
        return self._stat(entry.location, self._source.options)

    def _stat(self, place: Location, options: StoreOptions) -> Entry:
        try:
            return store_of(place, options.allow_schemes).stat(place, self._run, options)
        except InputError:
            return Entry(place)

    def _check_unchanged(self, job: Job, seen: Exception | None = None) -> None:
        """An input that changed behind its last byte would have an output that is newer than it."""
        before = job.entry
        if before.stamp is None:
            return
        if self._stat(before.location, self._source.options).stamp != before.stamp:
            raise InputError(f"{before.location}: changed while it was read") from seen

    def _failed(self, job: Job, error: Exception) -> None:
        said = describe(error)
        if str(job.entry.location) not in said:
            said = f"{job.entry.location}: {said}"
        with self._lock:
            if len(self.report.failures) < TOLD:
                self.report.failures.append(said)
            code = error.exit_code if isinstance(error, PaipaError) else 1
            self.report.exit_code = self.report.exit_code or code
        self._tell(failed=1)

    def _tell(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                setattr(self.report, name, getattr(self.report, name) + count)
            self.report.seconds = self._run.clock.now() - self._run.started
            if self._heard is not None:
                self._heard(self.report)
