"""The command ``paipa-etl``: what a failure means for the screen and the exit code.

Nothing heavy is imported before the arguments are read, so that --help is quick.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from paipa_etl.cli.arguments import parse_arguments
from paipa_etl.cli.reporting import ReportMissing
from paipa_etl.cli.signals import SIGNALS, Interrupted, Signals
from paipa_etl.cli.standard_error import make_unfailing
from paipa_etl.errors import PaipaError, StuckWorker, describe, print_traceback

if TYPE_CHECKING:
    import argparse

    Action = Callable[[argparse.Namespace, Signals], int]

BROKEN_PIPE = 141
OPTIONS = {
    "from_": "-f jsonl",
    "from_='json'": "-f json",
    "to": "-t jsonl",
    "allow_schemes": "--allow-scheme",
    "clobber": "--no-clobber",
    "max_record": "--max-record",
    "method": "--http-put",
}
"""What the parameter of an error, or one of its values, is called on the command line."""


def entry() -> None:
    """What the installed command runs."""
    make_unfailing()
    try:
        code = main(sys.argv[1:])
    finally:
        for number in (*SIGNALS, signal.SIGALRM):  # what was done is done, and the code says so
            signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def main(argv: list[str]) -> int:
    """Run the command; the exit code."""
    signals = Signals()
    try:
        return _main(argv, signals)
    except Interrupted as late:  # it came when the run had ended, before that was noted
        return _ended(late, 0)


def _main(argv: list[str], signals: Signals) -> int:
    arguments: argparse.Namespace | None = None
    process = os.getpid()
    try:
        signals.install()
        arguments, action = _parsed(argv)
        code = action(arguments, signals)
        signals.over = True
        return code
    except BaseException as error:
        signals.over = True
        # Help, or a complaint; or a process that a step has forked.
        if isinstance(error, SystemExit) and (arguments is None or os.getpid() != process):
            raise
        return _ended(error, 0 if arguments is None else arguments.verbose)


def _parsed(argv: list[str]) -> tuple[argparse.Namespace, Action]:
    """The arguments, and what carries them out."""
    if argv[:1] != ["cleanup"]:
        return parse_arguments(argv), _run
    from paipa_etl.cli import cleanup

    return cleanup.parse_arguments(argv[1:]), cleanup.run


def _run(arguments: argparse.Namespace, signals: Signals) -> int:
    import warnings

    from paipa_etl.cli import plan, process, refusals, screen

    warnings.showwarning = screen.show_warning
    pipeline = plan.build(arguments)
    refusals.check(pipeline, arguments)
    if arguments.explain or arguments.dry_run:
        screen.show(pipeline, arguments)
        return 0
    process.settle(pipeline)
    if arguments.insecure:
        print("paipa-etl: warning: certificates and host keys are not verified", file=sys.stderr)
    if plan.is_many(arguments):
        from paipa_etl.cli import transfers

        return transfers.run(pipeline, arguments, signals)
    return screen.run(pipeline, arguments, signals)


def _ended(error: BaseException, verbose: int) -> int:
    """Say what ended the run, and then whether the report is missing; the exit code."""
    missing = error if isinstance(error, ReportMissing) else None
    failure = error if missing is None else missing.failure
    code = 0 if failure is None else _tell(failure, verbose)
    if missing is not None:
        print(f"paipa-etl: {missing}", file=sys.stderr)
        code = code or missing.code or missing.exit_code
    if isinstance(failure, StuckWorker):  # its thread would hold up the interpreter
        sys.stderr.flush()
        os._exit(code)
    return code


def _tell(failure: BaseException, verbose: int) -> int:
    """Say what ended the run; its exit code."""
    match failure:
        case Interrupted() | KeyboardInterrupt():
            print("paipa-etl: interrupted before the end of the run", file=sys.stderr)
            return 128 + getattr(failure, "number", signal.SIGINT)
        case BrokenPipeError():
            from paipa_etl.cli.screen import drop_standard_output

            drop_standard_output()
            return BROKEN_PIPE
        case SystemExit():  # an exit() in a step is no end of ours: 0 would mean that all was done
            print("paipa-etl: a step called exit(): the run was given up", file=sys.stderr)
            return 1
        case StuckWorker():
            return _tell_stuck(failure)
    _complain(failure, verbose)
    return failure.exit_code if isinstance(failure, PaipaError) else 1


def _tell_stuck(stuck: StuckWorker) -> int:
    """Say where it is stuck, and what ended the run before; the exit code is that one's."""
    print(f"paipa-etl: {describe(stuck)}\n{stuck.stacks}", file=sys.stderr)
    cause = stuck.__cause__
    if isinstance(cause, Interrupted):
        return 128 + cause.number
    if cause is not None and not isinstance(cause, GeneratorExit):
        print(f"paipa-etl: {describe(cause)}", file=sys.stderr)
    return cause.exit_code if isinstance(cause, PaipaError) else 1


def _complain(error: BaseException, verbose: int) -> None:
    if verbose >= 2:
        print_traceback(error)
    option = OPTIONS.get(error.parameter or "") if isinstance(error, PaipaError) else None
    remedy = f" (on the command line: {option})" if option else ""
    print(f"paipa-etl: {describe(error)}{remedy}", file=sys.stderr)
