"""Together: the runs of many transfers of one plan as one: their counts, and whose the time is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from paipa_etl.metrics.observer import ELSE, SINK, Observer, Owner
from paipa_etl.run import Run
from paipa_etl.run.report import Counts, Report, StepCount, StepReport
from paipa_etl.threads import forks


class Together:
    """Counts and accounts of runs that come and go; those that have ended are kept as a sum.

    ``steps`` are the names of the plan's; ``hidden``, how many the runs have before them.
    """

    def __init__(self, watch: Observer, steps: Iterable[str], hidden: int) -> None:
        self._watch, self._hidden = watch, hidden
        self._steps = [StepCount(name) for name in steps]
        self._ended = Report(steps=[StepReport(step.name, 0, 0, False) for step in self._steps])
        self._bad = self._unencodable = 0
        self._runs: list[Run] = []
        self._lock = forks.lock()

    def carry_out(self, run: Run, action: Callable[[Run], Report]) -> Report:
        """One of the runs, in this thread; of one that fails, nothing was published."""
        run = replace(run, observer=self._watch.inside(partial(self._whose, run)))
        with self._lock:
            self._runs.append(run)
        report: Report | None = None
        try:
            with self._watch.section(SINK, ELSE):
                report = action(run)
            return report
        finally:
            with self._lock:
                self._runs.remove(run)
                self._end(run, _unpublished(run.report()) if report is None else report)

    def _whose(self, run: Run, owner: Owner) -> Owner:
        """The step of the plan that a step of one of the runs is; a hidden one is nobody's line."""
        if not isinstance(owner, StepCount):
            return owner
        pairs = self._paired(run)
        return next((step for step, count in pairs if count is owner), self)

    def _paired(self, run: Run) -> Iterable[tuple[StepCount, StepCount]]:
        return zip(self._steps, run.counts.steps[self._hidden :], strict=False)

    def _end(self, run: Run, report: Report) -> None:
        self._add(self._ended, report)
        self._bad += run.counts.bad
        self._unencodable += run.counts.unencodable
        for step, count in self._paired(run):
            total = count.total()
            step.opaque = total.opaque
            step.skipped += total.skipped
            step.retried += total.retried

    def _add(self, together: Report, report: Report) -> None:
        together.add(report)
        for total, step in zip(together.steps, report.steps[self._hidden :], strict=False):
            total.records_in += step.records_in
            total.records_out += step.records_out
            total.retried += step.retried
            total.opaque = step.opaque

    @property
    def is_going_on(self) -> bool:
        """Whether one of the runs publishes its output at this moment."""
        return any(run.publication.is_going_on for run in tuple(self._runs))

    @property
    def settled(self) -> int:
        """How many of the runs that go on have begun to publish. A signal handler may ask."""
        return sum(run.publication.has_begun for run in tuple(self._runs))

    def report(self) -> Report:
        """The sums of all that was done so far."""
        with self._lock:
            together = replace(self._ended, steps=list(map(replace, self._ended.steps)))
            for run in self._runs:
                self._add(together, run.report())
        return together

    @property
    def counts(self) -> Counts:
        """The same as the counts of a run."""
        report = self.report()
        return Counts(
            steps=self._steps,
            read=report.read,
            bad=self._bad,
            unencodable=self._unencodable,
            written=report.written,
            bytes_in=lambda: report.bytes_in,
            bytes_out=report.bytes_out,
        )


def _unpublished(report: Report) -> Report:
    """Of a run that failed: whatever was not dropped on purpose is left over."""
    gone = report.filtered + report.skipped + report.folded
    left_over = report.read + report.expanded - gone
    return replace(report, written=0, left_over=left_over)
