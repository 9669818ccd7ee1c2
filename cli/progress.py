"""Progress: how far a run is, on standard error: a bar, lines for logs, or JSON. Never data."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from paipa_etl.debugger import Reporter, View
from paipa_etl.errors import shown

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


class Progress(Reporter):
    """How far a run is: bytes of all its inputs as they are stored, where their sizes are known.

    ``total`` is the sum of these sizes; a feed has none, and no time left to tell.
    """

    def __init__(self) -> None:
        self.total: int | None = None
        self._bytes, self._records = Rate(), Rate()
        self._before: list[float] = []

    def told(self, view: View) -> dict[str, Any]:
        """The figures."""
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
        }

    def _slowest(self, view: View) -> str | None:
        """What has worked most since this was asked last."""
        now = [step.seconds / max(step.workers, 1) for step in view.steps]
        before = self._before if len(self._before) == len(now) else [0.0] * len(now)
        self._before = now
        grown = [later - earlier for later, earlier in zip(now, before, strict=True)]
        if max(grown, default=0.0) <= 0:
            return None
        return shown(view.steps[grown.index(max(grown))].name, 60)


class Bar(Progress):
    """tqdm's bar, drawn twice a second; gone when the run is over."""

    every = 0.5

    def begin(self, view: View) -> None:
        """Take the last line of the terminal."""
        from tqdm import tqdm

        words: dict[str, Any] = {"unit": "B", "unit_scale": True}
        if self.total is None and not view.counts["bytes_in"]:
            words = {"unit": " records"}
        self._of_bytes = "unit_scale" in words
        self._bar: Any = tqdm(
            total=self.total,
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
            mininterval=0,
            **words,
        )

    def update(self, view: View) -> None:
        """Draw it."""
        told = self.told(view)
        slowest = f", most time in {told['slowest']}" if told["slowest"] else ""
        self._bar.set_postfix_str(f"{told['records']:,} records{slowest}", refresh=False)
        self._bar.update((told["bytes"] if self._of_bytes else told["records"]) - self._bar.n)

    def finish(self, view: View) -> None:
        """Take it away."""
        self._bar.close()


class Log(Progress):
    """A line every ten seconds, and one at the end."""

    every = LOG_EVERY

    def update(self, view: View) -> None:
        """Write it."""
        told = self.told(view)
        words = [f"{told['bytes'] / 1e6:,.1f} MB"]
        if self.total:
            words = [f"{words[0]} of {self.total / 1e6:,.1f} MB read"]
        else:
            words[0] += " read"
        words += [f"{told['records']:,} records", f"{told['records_per_second']:,.0f} records/s"]
        words.append(f"{told['seconds']:.0f} s")
        if told["seconds_left"] is not None:
            words.append(f"{told['seconds_left']:.0f} s left")
        if told["slowest"]:
            words.append(f"most time in {told['slowest']}")
        print(f"paipa-etl: {', '.join(words)}", file=sys.stderr)

    finish = update


class Json(Progress):
    """The figures as an object on a line, every second and at the end."""

    every = 1.0

    def update(self, view: View) -> None:
        """Write it."""
        told = self.told(view) | {"finished": view.finished, "failed": view.failed}
        print(json.dumps(told), file=sys.stderr, flush=True)

    finish = update


PROGRESS: dict[str, type[Progress]] = {"tty": Bar, "log": Log, "json": Json}
