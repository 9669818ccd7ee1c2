"""Who looks at a run of the command: the debugger's table, progress, or only the report."""

from __future__ import annotations

import argparse
import sys
from math import inf

from paipa_etl import Pipeline
from paipa_etl.cli.progress import FORMS, LOG_EVERY, RunProgress
from paipa_etl.debugger import Debugger, LiveTable, LogLines, Reporter
from paipa_etl.run import Run
from paipa_etl.schemes import STANDARD
from paipa_etl.sources.files import FileSource


def debugger(pipeline: Pipeline, arguments: argparse.Namespace, form: str) -> Debugger | None:
    """What looks at the run; None where nothing is to be shown or reported."""
    reporters = _reporters(pipeline, arguments, form)
    return Debugger(reporters) if reporters or arguments.report else None


def size_up(debugger: Debugger, pipeline: Pipeline, run: Run) -> None:
    """Tell progress the bytes of all inputs, where their stores tell them."""
    for reporter in debugger.reporters:
        if isinstance(reporter, RunProgress) and isinstance(pipeline.source, FileSource):
            reporter.total = pipeline.source.size(run)


def _reporters(pipeline: Pipeline, arguments: argparse.Namespace, form: str) -> list[Reporter]:
    sink = getattr(pipeline.sink, "location", None)
    if sink is not None and sink.scheme == STANDARD and sys.stdout.isatty() and form == "tty":
        # The records are on the screen themselves, and would be drawn over.
        form = "log" if arguments.progress == "tty" or arguments.debug else "off"
    progress: list[Reporter] = [] if form == "off" else [RunProgress(FORMS[form]())]
    if not arguments.debug or arguments.quiet:
        return progress
    if arguments.progress != "auto":  # asked for: no table comes between
        return [*progress, LogLines(every=inf)]
    return [LiveTable() if form in ("tty", "off") else LogLines(every=LOG_EVERY)]
