"""Many outputs at once: what is shown of them, and the exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from paipa_etl import Pipeline
from paipa_etl.cli.progress import LOG_EVERY
from paipa_etl.cli.refusals import own_files
from paipa_etl.cli.reporting import reported
from paipa_etl.cli.screen import REJECTS, form_of
from paipa_etl.cli.signals import Interrupted, Signals
from paipa_etl.debugger import Debugger, LiveTable, LogLines
from paipa_etl.location import parse
from paipa_etl.transfers.many import TransferReport, Transfers


def run(pipeline: Pipeline, arguments: argparse.Namespace, signals: Signals) -> int:
    """Carry all transfers out; the exit code is the first failure's."""
    form = form_of(arguments)
    debug = arguments.debug and not arguments.quiet
    asked = arguments.progress != "auto"
    shown = FORMS[form]() if form != "off" and (asked or not debug) else None
    reporters = [LiveTable()] if debug and not asked else []
    debugger = Debugger(reporters) if debug or arguments.report else None
    transfers = Transfers(
        pipeline,
        arguments.transfers,
        arguments.fail_fast,
        arguments.skip_done,
        shown.heard if shown else None,
        debugger,
        _spared(arguments),
    )
    signals.publication = transfers

    def carry_out() -> int:
        try:
            transfers.run()
        except BaseException as error:
            if not (isinstance(error, Interrupted) and transfers.has_begun):
                if transfers.report.transferred:  # what is published stays
                    _tell(transfers.report, arguments, cut=True)
                raise
        finally:
            if shown:
                shown.close()
            if debug and asked and debugger and debugger.view:
                LogLines().finish(debugger.view)
        return _tell(transfers.report, arguments)

    return reported(arguments.report, lambda: transfers.report, carry_out)


def _spared(arguments: argparse.Namespace) -> dict[str, str]:
    """What no output may replace, by its real path: the user's own files, the report."""
    files = [*own_files(arguments)]
    if arguments.report:
        files.append((parse(arguments.report).target, "the report"))
    return {os.path.realpath(path): role for path, role in files}


def _tell(report: TransferReport, arguments: argparse.Namespace, *, cut: bool = False) -> int:
    """Say what failed, and how much was done; the exit code."""
    for line in report.failures:
        print(f"paipa-etl: failed: {line}", file=sys.stderr)
    told = cut or report.failed or report.skipped or arguments.verbose
    if (told or sys.stderr.isatty()) and not arguments.quiet:
        print(f"paipa-etl: {report}", file=sys.stderr)
    return report.exit_code or (REJECTS if report.skipped else 0)


class Bar:
    """tqdm's bar, over inputs."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(unit=" inputs", file=sys.stderr, leave=False, mininterval=0.5)

    def heard(self, report: TransferReport) -> None:
        """One more is done, or has failed."""
        self._bar.update(report.transferred + report.failed + report.already_done - self._bar.n)
        self._bar.set_postfix_str(f"{report.failed:,} failed", refresh=False)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


class Log:
    """A line every ten seconds, for logs."""

    def __init__(self) -> None:
        self._next = LOG_EVERY
        self._last: TransferReport | None = None

    def heard(self, report: TransferReport) -> None:
        """Write a line when it is time."""
        self._last = report
        if report.seconds >= self._next:
            self._next += LOG_EVERY
            self.close()

    def close(self) -> None:
        """Write a line."""
        if self._last is not None:
            done = self._last.transferred + self._last.already_done
            seconds = f"{self._last.seconds:.0f} s"
            failed = f"{self._last.failed:,} failed"
            print(f"paipa-etl: {done:,} inputs done, {failed}, {seconds}", file=sys.stderr)


class Json:
    """An object on a line, every second."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last: TransferReport | None = None

    def heard(self, report: TransferReport) -> None:
        """Write it when it is time."""
        self._last = report
        if report.seconds >= self._next:
            self._next = report.seconds + 1.0
            self.close()

    def close(self) -> None:
        """Write it."""
        if self._last is not None:
            names = ("seconds", "transferred", "failed", "already_done", "read", "bytes_in")
            told = {name: getattr(self._last, name) for name in names}
            print(json.dumps(told), file=sys.stderr, flush=True)


FORMS: dict[str, type[Bar | Log | Json]] = {"tty": Bar, "log": Log, "json": Json}
