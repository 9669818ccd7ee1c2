"""What a run shows on standard error: progress, warnings, the report. Never data."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import TextIO

from paipa_etl import Pipeline, Report
from paipa_etl.cli.arguments import set_for_command
from paipa_etl.cli.plan import is_many
from paipa_etl.cli.reporting import reported
from paipa_etl.cli.signals import Signals
from paipa_etl.errors import OutputError, shown
from paipa_etl.plan_checks import check_not_same
from paipa_etl.run import Run
from paipa_etl.stores.descriptors import STDOUT, borrowed, write_all

REJECTS = 4
FIRST = 5  # records that a dry run shows


def run(pipeline: Pipeline, arguments: argparse.Namespace, signals: Signals) -> int:
    """Run the pipeline; tell the report, also into a file, after a failure too; the exit code."""
    this = _new_run(pipeline, arguments)
    signals.publication = this.publication

    def carry_out() -> int:
        report = pipeline.run(this)
        _tell(report, arguments)
        return REJECTS if report.skipped else 0

    return reported(arguments.report, this.report, carry_out)


def _new_run(pipeline: Pipeline, arguments: argparse.Namespace) -> Run:
    """The run, and who looks at it, where something is to be shown or reported."""
    form = form_of(arguments)
    if not (arguments.report or arguments.debug or form != "off"):
        return pipeline.new_run()
    from paipa_etl.cli import looking  # here: most runs are looked at by nobody

    debugger = looking.debugger(pipeline, arguments, form)
    run = pipeline.new_run(debugger=debugger)
    if debugger is not None:
        looking.size_up(debugger, pipeline, run)
    return run


def form_of(arguments: argparse.Namespace) -> str:
    """How progress is shown: a bar only where somebody sees it, unless it is asked for."""
    if arguments.quiet:
        return "off"
    form: str = arguments.progress
    return ("tty" if sys.stderr.isatty() else "off") if form == "auto" else form


def _tell(report: Report, arguments: argparse.Namespace) -> None:
    if arguments.quiet:
        return
    told = report.errors[: report.skipped]
    for line in told:
        print(f"paipa-etl: skipped: {line}", file=sys.stderr)
    for line in report.errors[len(told) :]:
        print(f"paipa-etl: failed behind the end of the run: {line}", file=sys.stderr)
    if report.skipped > len(told):
        more = report.skipped - len(told)
        print(f"paipa-etl: skipped: {more:,} more", file=sys.stderr)
    if arguments.verbose or report.skipped or sys.stderr.isatty():
        print(f"paipa-etl: {report}", file=sys.stderr)
    for step in report.steps if arguments.verbose else ():
        print(f"  {step.name}: {step.records_in:,} in, {step.records_out:,} out", file=sys.stderr)


def show(pipeline: Pipeline, arguments: argparse.Namespace) -> None:
    """Show the plan and how it runs, or with ``--dry-run`` the first records that it gives."""
    try:
        descriptor = borrowed(STDOUT, writing=True)
    except OSError as error:
        raise OutputError(f"{error.strerror}") from error
    try:
        lines = [str(pipeline)]
        if arguments.dry_run:
            check_not_same(pipeline.source, pipeline.sink, pipeline.new_run())
            with closing(iter(replace(pipeline, sink=None))) as flow:
                lines += [shown(record, 2_000) for record in islice(flow, FIRST)]
        else:
            lines += [str(pipeline.explain(threads=not is_many(arguments)))]
            lines += [f"set    {name} = {value}" for name, value in set_for_command(arguments)]
        _print(descriptor, "\n".join(lines) + "\n")
    finally:
        os.close(descriptor)


def _print(descriptor: int, text: str) -> None:
    """Write to standard output; ``print`` would not wait for room in a non-blocking pipe."""
    try:
        write_all(descriptor, text.encode(sys.stdout.encoding, "backslashreplace"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def drop_standard_output() -> None:
    """It cannot be written any more: the interpreter must not complain when it flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning on one line."""
    print(f"paipa-etl: warning: {shown(str(message), 1_000)}", file=sys.stderr)
