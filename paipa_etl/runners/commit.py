"""Commit: whichever core carries a plan out, its sink publishes everything or nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from paipa_etl.metrics.observer import SINK
from paipa_etl.run import Run
from paipa_etl.sinks import OpenSink, Sink
from paipa_etl.sources import Source
from paipa_etl.steps.contract import Step


class Core(Protocol):
    """One way to carry out a plan; its generators end whatever they began when they end."""

    def records(
        self, source: Source, steps: tuple[Step, ...], run: Run
    ) -> Generator[Any, None, None]:
        """The records that leave the last step, one by one."""

    def fill(
        self, output: OpenSink, source: Source, steps: tuple[Step, ...], run: Run, *, at_once: bool
    ) -> None:
        """Have everything written that leaves the last step.

        ``at_once``: a failure ends the run when it happens, and not when all records before
        it are written.
        """


def carry_out(core: Core, source: Source, steps: tuple[Step, ...], sink: Sink, run: Run) -> None:
    """Fill a sink and commit it; whatever is raised on the way, it is aborted and nothing changes.

    Every step has finished and the source is closed before the commit, which is finished once
    it has begun: an interrupt that comes meanwhile is raised behind it, and takes nothing back.
    Raises what failed first, as itself.
    """
    run = run.for_output()
    run.observer.lane(SINK)
    with run.in_one_process(), closing_clients(run):
        output = sink.open(run)
        run = run.showing(output.show)
        try:
            # Of what is published whole or not at all, nothing before a failure is of any use.
            core.fill(output, source, steps, run, at_once=not output.live)
            run.before_commit()
            output.prepare()
            with run.publication.publishing():
                output.commit()
        except BaseException as error:
            if not run.publication.is_done:
                output.abort(error)
            raise


@contextmanager
def closing_clients(run: Run) -> Generator[None, None, None]:
    """Close what stores kept open for the run, at its end."""
    try:
        yield
    finally:
        run.close_clients()
