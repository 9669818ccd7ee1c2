"""Reporter: what a debugger tells of a run while it goes on, and once at its end."""

from __future__ import annotations

from paipa_etl.metrics.view import View


class Reporter:
    """Told of a run every ``every`` seconds, and at its end. One method is enough for one's own.

    Called by one thread at a time, never by one that carries records. What it raises is
    shown as a warning, once, and it is not told any more; the run goes on.
    """

    every = 5.0

    def begin(self, view: View) -> None:
        """The run begins."""

    def update(self, view: View) -> None:
        """The run goes on: it is like this now."""

    def finish(self, view: View) -> None:
        """The run is over; ``view.failed`` says what failed, where something did."""
