"""The command ``paipa-etl``: what a failure means for the screen and the exit code.

Nothing heavy is imported before the arguments are read, so that --help is quick.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING

from paipa_etl.cli.arguments import parse_arguments
from paipa_etl.cli.reporting import ReportMissing
from paipa_etl.cli.standard_error import make_unfailing
from paipa_etl.errors import PaipaError, StuckWorker, describe

if TYPE_CHECKING:
    import argparse

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BROKEN_PIPE = 141
SOON = 0.01  # seconds after which a signal that came at a bad moment is tried again
OPTIONS = {"from_": "-f jsonl", "to": "-t jsonl"}
"""What an error's parameter is called on the command line."""
TRIES = 100  # so often at the most: a module of the user's may take for ever to import


class Interrupted(BaseException):
    """A signal asks the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


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
    arguments: argparse.Namespace | None = None
    try:
        _handle_signals()
        arguments, action = _parsed(argv)
        return action(arguments)
    except BaseException as error:
        if arguments is None and isinstance(error, SystemExit):  # help, or a complaint
            raise
        return _ended(error, arguments.verbose if arguments else 0)


def _parsed(argv: list[str]) -> tuple[argparse.Namespace, Callable[[argparse.Namespace], int]]:
    """The arguments, and what carries them out."""
    if argv[:1] != ["cleanup"]:
        return parse_arguments(argv), _run
    from paipa_etl.cli import cleanup

    return cleanup.parse_arguments(argv[1:]), cleanup.run


def _run(arguments: argparse.Namespace) -> int:
    import warnings

    from paipa_etl.cli import plan, process, refusals, screen

    warnings.showwarning = screen.show_warning
    pipeline = plan.build(arguments)
    refusals.check(pipeline, arguments)
    if arguments.explain or arguments.dry_run:
        screen.show(pipeline, records=arguments.dry_run)
        return 0
    process.settle(pipeline)
    if arguments.insecure:
        print("paipa-etl: warning: certificates and host keys are not verified", file=sys.stderr)
    if plan.is_many(arguments):
        from paipa_etl.cli import transfers

        return transfers.run(pipeline, arguments)
    return screen.run(pipeline, arguments)


def _handle_signals() -> None:
    """The first signal ends the run and undoes the output; a second Ctrl-C ends at once."""
    tries = itertools.count()

    def first(number: int, frame: types.FrameType | None) -> None:
        if _would_be_ignored(frame) and next(tries) < TRIES:
            signal.signal(signal.SIGALRM, lambda _, frame: first(number, frame))
            signal.setitimer(signal.ITIMER_REAL, SOON)
            return
        for known in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(known, signal.SIG_IGN)
        signal.signal(signal.SIGINT, second)
        raise Interrupted(number)

    def second(number: int, frame: types.FrameType | None) -> None:
        os._exit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup keeps what it set
            signal.signal(number, first)


def _would_be_ignored(frame: types.FrameType | None) -> bool:
    """Whether what is raised now gets lost: in a finalizer, or a callback of the import system."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _ended(error: BaseException, verbose: int) -> int:
    """Say what ended the run, and then whether the report is missing; the exit code."""
    missing = error if isinstance(error, ReportMissing) else None
    failure = missing.failure if missing else error
    code = _tell(failure, verbose) if failure else 0
    if missing:
        print(f"paipa-etl: {missing}", file=sys.stderr)
        code = code or missing.code or missing.exit_code
    if isinstance(failure, StuckWorker):  # its thread would hold up the interpreter
        sys.stderr.flush()
        os._exit(code)
    return code


def _tell(failure: BaseException, verbose: int) -> int:
    """Say what ended the run; its exit code."""
    match failure:
        case Interrupted():
            print("paipa-etl: interrupted before the end of the run", file=sys.stderr)
            return 128 + failure.number
        case BrokenPipeError():
            from paipa_etl.cli.screen import drop_standard_output

            drop_standard_output()
            return BROKEN_PIPE
        case SystemExit():  # an exit() in a step is no end of ours: 0 would mean that all was done
            print("paipa-etl: a step called exit(): the run was given up", file=sys.stderr)
            return 1
        case StuckWorker():
            return _tell_stuck(failure)
        case Exception():
            _complain(failure, verbose)
            return failure.exit_code if isinstance(failure, PaipaError) else 1
    raise failure


def _tell_stuck(stuck: StuckWorker) -> int:
    """Say where it is stuck, and what ended the run before; the exit code is that one's."""
    print(f"paipa-etl: {describe(stuck)}\n{stuck.stacks}", file=sys.stderr)
    cause = stuck.__cause__
    if isinstance(cause, Interrupted):
        return 128 + cause.number
    if cause is not None and not isinstance(cause, GeneratorExit):
        print(f"paipa-etl: {describe(cause)}", file=sys.stderr)
    return cause.exit_code if isinstance(cause, PaipaError) else 1


def _complain(error: Exception, verbose: int) -> None:
    if verbose >= 2:
        import traceback

        traceback.print_exception(error)
    option = OPTIONS.get(error.parameter or "") if isinstance(error, PaipaError) else None
    remedy = f" (on the command line: {option})" if option else ""
    print(f"paipa-etl: {describe(error)}{remedy}", file=sys.stderr)
