"""Many outputs at once: what is shown of them, and the exit code."""

from __future__ import annotations

import argparse
import os
import sys

from paipa_etl import Pipeline
from paipa_etl.cli.progress import FORMS, TransfersProgress
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
    shows = form != "off" and (asked or not debug)
    progress = TransfersProgress(FORMS[form]()) if shows else None
    reporters = [LiveTable()] if debug and not asked else []
    debugger = Debugger(reporters) if debug or arguments.report else None
    transfers = Transfers(
        pipeline,
        arguments.transfers,
        arguments.fail_fast,
        arguments.skip_done,
        progress.heard if progress else None,
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
            if progress:
                progress.close()
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
