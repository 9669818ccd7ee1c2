"""What a run shows on standard error: progress, warnings, the report. Never data."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, TextIO

from paipa_etl import Pipeline, Report, write
from paipa_etl.clash import check_not_same
from paipa_etl.errors import OutputError, PlanError, shown
from paipa_etl.location import LOCAL, parse
from paipa_etl.run import Run
from paipa_etl.sources.files import FileSource

FIRST = 5  # records that a dry run shows
EVERY = 0.5  # seconds between two looks of the progress bar
LOG_EVERY = 10.0


def run(pipeline: Pipeline, arguments: argparse.Namespace) -> Report:
    """Run the pipeline; tell the report, also into a file, after a failure too."""
    this = pipeline.new_run()
    if arguments.report:
        check_report(arguments.report, pipeline, this)
    bar = _bar(pipeline, arguments, this)
    this.heard = bar.heard if bar else None
    try:
        report = pipeline.run(this)
    finally:
        if bar:
            bar.close(this)
        if arguments.report:
            write_report(arguments.report, this.report())
    _tell(report, arguments)
    return report


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


def check_report(path: str, pipeline: Pipeline, run: Run) -> None:
    """Refuse a report that would overwrite the data, or could not be written when all is done."""
    target = parse(path)
    if target.scheme != LOCAL:
        raise PlanError(f"--report takes a path, not {target}")
    check_not_same(pipeline.source, write(path), run, "an input and the report")
    sink = getattr(pipeline.sink, "location", None)
    if (
        sink
        and sink.scheme == LOCAL
        and os.path.realpath(sink.target) == os.path.realpath(target.target)
    ):
        raise PlanError(f"{target} is both the output and the report")
    if not os.path.isdir(os.path.dirname(os.path.realpath(target.target))):
        raise OutputError(f"{target}: the directory of the report does not exist")


def write_report(path: str, report: Report) -> None:
    import json

    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(report.to_dict(), file, indent=2, ensure_ascii=False)
            file.write("\n")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror} (only the report is missing)") from error


def show(pipeline: Pipeline, *, records: bool) -> None:
    """Show the plan, and the first records that would be written where they are asked for."""
    lines = [str(pipeline)]
    if records:
        check_not_same(pipeline.source, pipeline.sink, pipeline.new_run())
        with closing(iter(replace(pipeline, sink=None))) as flow:
            lines += [shown(record, 2_000) for record in islice(flow, FIRST)]
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_standard_output()
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


def _bar(pipeline: Pipeline, arguments: argparse.Namespace, run: Run) -> _Bar | _Log | None:
    wanted = "off" if arguments.quiet else arguments.progress
    source = pipeline.source
    if wanted == "off" or (wanted == "auto" and not sys.stderr.isatty()):
        return None
    size = source.size(run) if isinstance(source, FileSource) else None
    return _Log(size) if wanted == "log" else _Bar(size)


class _Bar:
    """tqdm's bar, over the bytes of the inputs as they are stored."""

    def __init__(self, size: int | None) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(
            total=size, unit="B", unit_scale=True, mininterval=EVERY, file=sys.stderr, leave=False
        )

    def heard(self, run: Run) -> None:
        """Look at the counts; the bar decides whether it is time to draw."""
        self._bar.update(run.counts.bytes_in() - self._bar.n)
        self._bar.set_postfix_str(f"{run.counts.read:,} records", refresh=False)

    def close(self, run: Run) -> None:
        """Take the bar away."""
        self._bar.close()


class _Log:
    """A line every ten seconds, for logs."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._next = LOG_EVERY

    def heard(self, run: Run) -> None:
        """Write a line when it is time."""
        if run.clock.now() - run.started >= self._next:
            self._next += LOG_EVERY
            self._line(run)

    def close(self, run: Run) -> None:
        """Write the last line."""
        self._line(run)

    def _line(self, run: Run) -> None:
        done = run.counts.bytes_in()
        share = f" of {self._size / 1e6:,.1f} MB" if self._size else ""
        seconds = run.clock.now() - run.started
        print(
            f"paipa-etl: {done / 1e6:,.1f} MB{share} read, {run.counts.read:,} records, "
            f"{seconds:.0f} s",
            file=sys.stderr,
        )
