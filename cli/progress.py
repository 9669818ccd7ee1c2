"""Progress: how far a run is, on standard error, as a bar, lines for logs, or JSON. Never data.

``RunProgress`` makes the figures of one run, ``TransfersProgress`` those of many; a ``Form``
shows them.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paipa_etl.debugger import Reporter, View
from paipa_etl.errors import shown

if TYPE_CHECKING:
    from paipa_etl.transfers.many import TransferReport

LOG_EVERY = 10.0  # seconds between two lines of a log
SMOOTH = 10.0  # seconds in which a rate forgets two thirds of what it was


class Rate:
    """How much there is of something in a second, of late."""

    def __init__(self) -> None:
        self.value = 0.0
        self._at = self._amount = 0.0

    def update(self, at: float, amount: float) -> float:
        """So much has come by that moment; the rate since, smoothed."""
        passed = at - self._at
        if passed > 0:
            now = (amount - self._amount) / passed
            weight = 1.0 if not self._at else 1 - math.exp(-passed / SMOOTH)
            self.value += weight * (now - self.value)
            self._at, self._amount = at, amount
        return self.value


@dataclass(frozen=True)
class Figures:
    """How far a run is at one moment."""

    done: int
    total: int | None
    """Of what ``done`` counts; None where that is not known."""
    unit: str
    """What ``done`` counts: ``B`` for bytes, records or inputs."""
    beside: str
    """What stands beside a bar."""
    line: str
    """The figures as a line of a log."""
    values: dict[str, Any]
    """The figures as a JSON object."""


class Form:
    """How figures are shown, every ``every`` seconds and at the end."""

    every: float

    def begin(self, figures: Figures) -> None:
        """The run begins."""

    def show(self, figures: Figures) -> None:
        """Show the figures of now."""
        raise NotImplementedError(type(self).__name__)

    def end(self, figures: Figures) -> None:
        """Show the last figures; the run is over."""
        self.show(figures)


class Bar(Form):
    """tqdm's bar, drawn twice a second; gone when the run is over."""

    every = 0.5

    def begin(self, figures: Figures) -> None:
        """Take the last line of the terminal."""
        from tqdm import tqdm

        self._bar: Any = tqdm(
            total=figures.total,
            unit="B" if figures.unit == "B" else f" {figures.unit}",
            unit_scale=figures.unit == "B",
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
            mininterval=0,
        )

    def show(self, figures: Figures) -> None:
        """Draw the bar."""
        self._bar.set_postfix_str(figures.beside, refresh=False)
        self._bar.update(figures.done - self._bar.n)

    def end(self, figures: Figures) -> None:
        """Take the bar away."""
        self._bar.close()


class Log(Form):
    """A line every ten seconds, and one at the end."""

    every = LOG_EVERY

    def show(self, figures: Figures) -> None:
        """Write the line."""
        print(f"paipa-etl: {figures.line}", file=sys.stderr)


class Json(Form):
    """The figures as an object on a line, every second and at the end."""

    every = 1.0

    def show(self, figures: Figures) -> None:
        """Write the object."""
        print(json.dumps(figures.values), file=sys.stderr, flush=True)


FORMS: dict[str, type[Form]] = {"tty": Bar, "log": Log, "json": Json}


class RunProgress(Reporter):
    """The progress of one run: bytes of all its inputs as they are stored, where that is known.

    ``total`` is the sum of these sizes; a feed has none, and the time left is not known.
    """

    def __init__(self, form: Form) -> None:
        self.total: int | None = None
        self.every = form.every
        self._form, self._unit = form, "B"
        self._bytes, self._records = Rate(), Rate()
        self._before: list[float] = []

    def begin(self, view: View) -> None:
        """Begin to show the run."""
        if self.total is None and not view.counts["bytes_in"]:
            self._unit = "records"
        self._form.begin(self.figures(view))

    def update(self, view: View) -> None:
        """Show the run as it is now."""
        self._form.show(self.figures(view))

    def finish(self, view: View) -> None:
        """Show how the run ended."""
        self._form.end(self.figures(view))

    def figures(self, view: View) -> Figures:
        """How far the run is."""
        values = self.values(view)
        slowest = f", most time in {values['slowest']}" if values["slowest"] else ""
        done = values["bytes"] if self._unit == "B" else values["records"]
        beside = f"{values['records']:,} records{slowest}"
        return Figures(done, self.total, self._unit, beside, _line(values) + slowest, values)

    def values(self, view: View) -> dict[str, Any]:
        """The figures by their names in JSON."""
        done, read = view.counts["bytes_in"], view.counts["read"]
        rate = self._bytes.update(view.seconds, done)
        left = None
        if self.total and rate > 0 and not view.finished:
            left = max(self.total - done, 0) / rate
        return {
            "seconds": round(view.seconds, 3),
            "bytes": done,
            "total_bytes": self.total,
            "records": read,
            "records_per_second": round(self._records.update(view.seconds, read), 1),
            "seconds_left": None if left is None else round(left, 1),
            "slowest": self._slowest(view),
            "finished": view.finished,
            "failed": view.failed,
        }

    def _slowest(self, view: View) -> str | None:
        """The step that has worked most since the last figures."""
        now = [step.seconds / max(step.workers, 1) for step in view.steps]
        before = self._before if len(self._before) == len(now) else [0.0] * len(now)
        self._before = now
        grown = [later - earlier for later, earlier in zip(now, before, strict=True)]
        if max(grown, default=0.0) <= 0:
            return None
        return shown(view.steps[grown.index(max(grown))].name, 60)


def _line(values: dict[str, Any]) -> str:
    texts = [f"{values['bytes'] / 1e6:,.1f} MB read"]
    if values["total_bytes"]:
        texts = [f"{values['bytes'] / 1e6:,.1f} MB of {values['total_bytes'] / 1e6:,.1f} MB read"]
    texts += [f"{values['records']:,} records", f"{values['records_per_second']:,.0f} records/s"]
    texts.append(f"{values['seconds']:.0f} s")
    if values["seconds_left"] is not None:
        texts.append(f"{values['seconds_left']:.0f} s left")
    return ", ".join(texts)


class TransfersProgress:
    """The progress of many runs, one for each input: how many inputs are done."""

    def __init__(self, form: Form) -> None:
        self._form, self._next = form, form.every
        self._last: TransferReport | None = None

    def heard(self, report: TransferReport) -> None:
        """Show the report when it is time; called whenever an input is done."""
        if self._last is None:
            self._form.begin(_of_inputs(report))
        self._last = report
        if report.seconds >= self._next:
            self._next = report.seconds + self._form.every
            self._form.show(_of_inputs(report))

    def close(self) -> None:
        """Show how the runs ended."""
        if self._last is not None:
            self._form.end(_of_inputs(self._last))


def _of_inputs(report: TransferReport) -> Figures:
    names = ("seconds", "transferred", "failed", "already_done", "read", "bytes_in")
    values = {name: getattr(report, name) for name in names}
    done, failed = report.transferred + report.already_done, f"{report.failed:,} failed"
    line = f"{done:,} inputs done, {failed}, {report.seconds:.0f} s"
    return Figures(done + report.failed, None, "inputs", failed, line, values)
