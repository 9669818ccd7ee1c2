"""The options: what they are called, what they take, and their environment variables."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from paipa_etl import __version__

HIDDEN = argparse.SUPPRESS  # the epilog tells of them: help is to fit on a screen
RESERVED = ("run", "check", "replay")
SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

DESCRIPTION = "Stream files through Python steps into a file, whole or not at all."
USAGE = "paipa-etl [options] IN [IN ...] OUT   (an option can be a variable: PAIPA_ETL_RETRIES=3)"
EPILOG = """\
IN and OUT: a path, a glob, a URL (s3:// gs:// az:// https:// sftp://), - for a standard stream.
One operand: to standard output. None: standard input to standard output. --files-from FILE: INs.
OUT with {stem} {name} {path} {index}: one for each IN; --transfers N --skip-done --fail-fast.
Stores: --endpoint-url URL --timeout S --allow-scheme S --insecure --http-put; paipa-etl cleanup.
F: module:name, file.py:name, 'file.py:factory("eu", n=3)', or 'lambda r: ...'; F@8: 8 threads.
Exit: 0 done, 1 bad record or step, 2 usage, 3 input, 4 done with skipped records, 6 output."""


class _Step(argparse.Action):
    """Keeps steps of every kind in the order in which they were given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        steps = getattr(namespace, "steps", None) or []
        namespace.steps = [*steps, (self.dest, values)]


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends with help, version or a complaint where there is nothing to run."""
    parser = _parser()
    words, literal = _split_at_dashes(argv)
    arguments = parser.parse_intermixed_args([*_from_environment(parser), *words])
    _check_values(arguments, parser)
    if arguments.operands and arguments.operands[0] in RESERVED:
        word = arguments.operands[0]
        parser.error(f"{word} is reserved for a command to come; a file of that name is ./{word}")
    operands = [*arguments.operands, *literal]
    if not operands and sys.stdin.isatty():
        parser.print_help()
        parser.exit(2)
    arguments.steps = getattr(arguments, "steps", None) or []
    arguments.given = {word.partition("=")[0] for word in words}
    arguments.inputs, arguments.output = _split(operands, arguments, parser)
    return arguments


def set_for_command(arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The options that no pipeline has, where they differ from their defaults."""
    parser = _parser()
    for name in ("transfers", "skip_done", "fail_fast", "progress", "debug", "report"):
        value = getattr(arguments, name)
        if value != parser.get_default(name):
            yield f"--{name.replace('_', '-')}", value


def _split_at_dashes(argv: list[str]) -> tuple[list[str], list[str]]:
    """The words before the first ``--``, and the words after it, which are operands.

    argparse does not get the words after it: parse_intermixed_args parses twice, and its second
    pass would take an operand such as ``-out.jsonl`` for an option.
    """
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _check_values(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse ``--`` as the value of an option (``-o--``): argparse 3.11 drops it."""
    options = [(name, value) for name, value in vars(arguments).items() if name != "operands"]
    for name, value in [*options, *(getattr(arguments, "steps", None) or [])]:
        if value in ([], "--"):
            parser.error(f"argument --{name.strip('_').replace('_', '-')}: '--' is no value")


def _split(
    operands: list[str], arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[list[str], str]:
    if arguments.files_from is not None:
        return _from_file(operands, arguments, parser)
    if arguments.output is not None:
        return operands or ["-"], arguments.output
    if len(operands) < 2:
        return operands or ["-"], "-"
    *inputs, output = operands
    if len(inputs) > 1 and os.path.exists(output):
        parser.error(
            f"{output!r} exists, and is the last of {len(operands)} operands: name the output "
            f"with -o if it is to be replaced"
        )
    return inputs, output


def _from_file(
    operands: list[str], arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[list[str], str]:
    """The inputs that a file lists, a line each; blank lines and those with # are left out."""
    output = arguments.output if arguments.output is not None else "-"
    if operands and arguments.output is None:
        output = operands.pop()
    if operands:
        parser.error("--files-from gives the inputs: the one operand is the output")
    try:
        text = io.TextIOWrapper(io.BytesIO(_contents(arguments.files_from)))
        lines = [line.strip("\r\n") for line in text]
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--files-from {arguments.files_from}: {error}")
    inputs = [line for line in lines if line.strip() and not line.startswith("#")]
    if not inputs:
        parser.error(f"--files-from {arguments.files_from}: lists no input")
    return inputs, output


def _contents(path: str) -> bytes:
    """The bytes of a file, of standard input (``-``), or behind the offset of ``/dev/fd/3``."""
    from paipa_etl.stores.descriptors import (
        STDIN,
        named_descriptor,
        read_pieces,
    )  # --help needs none

    number = STDIN if path == "-" else named_descriptor(path)
    if number is None:
        with open(path, "rb") as file:
            return file.read()
    return b"".join(read_pieces(number))


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty path is no file")
    return text


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number from 1: {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "paipa-etl",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("operands", nargs="*", metavar="IN", help=HIDDEN)
    add("-o", "--output", metavar="OUT", help="the output; every operand is an input then")
    add("-f", "--from", dest="from_", metavar="SUFFIX", help="what the input is: jsonl.gz, txt")
    add("-t", "--to", metavar="SUFFIX", help="what the output is: jsonl.zst")
    add("--level", type=int, metavar="N", help="compression level")
    add("--map", action=_Step, metavar="F", help="call F on each record; what it returns goes on")
    add("--filter", action=_Step, metavar="F", help="keep the records for which F is true")
    add("--step", action=_Step, metavar="F", help="a generator step, from records to records")
    add("--limit", action=_Step, type=int, metavar="N", help="stop after N records")
    add("--skip", action=_Step, type=int, metavar="N", help="leave out the first N records")
    add("--on-error", choices=("fail", "skip"), default="fail", help="what a bad record means")
    add("--retries", type=int, default=0, metavar="N", help="call F again where it fails")
    add("--unordered", action="store_true", help="F@N: records go on as they are done")
    add("--max-memory", type=size, metavar="SIZE", help="256M; most of all that waits in a run")
    add("--max-record", type=size, default=64 << 20, metavar="SIZE", help="64M; most of one record")
    add("--files-from", metavar="FILE", help=HIDDEN)
    add("--transfers", type=_count, default=4, metavar="N", help=HIDDEN)
    add("--fail-fast", action="store_true", help=HIDDEN)
    add("--skip-done", action="store_true", help=HIDDEN)
    add("--endpoint-url", metavar="URL", help=HIDDEN)
    add("--timeout", type=float, metavar="S", help=HIDDEN)
    add("--allow-scheme", action="append", metavar="S", help=HIDDEN)
    add("--insecure", action="store_true", help=HIDDEN)
    add("--http-put", action="store_true", help=HIDDEN)
    add("--no-clobber", action="store_true", help="keep an output that exists (exit 2)")
    add("-n", "--dry-run", action="store_true", help="show plan and first records, write nothing")
    add("--explain", action="store_true", help="show the plan, read nothing")
    add("-P", dest="progress", action="store_const", const="tty", default="auto", help=HIDDEN)
    add(
        "--progress",
        choices=("auto", "tty", "log", "json", "off"),
        default="auto",
        metavar="FORM",
        help="auto, tty (or -P), log, json, off",
    )
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add("-v", "--verbose", action="count", default=0, help="tell the report; -vv: tracebacks")
    add("--debug", action="store_true", help="show what each step costs, and what to do about it")
    add("--report", type=_path, metavar="FILE", help="write the report there: run.json, run.html")
    add("--version", action="version", version=f"paipa-etl {__version__}", help=HIDDEN)
    return parser


def _from_environment(parser: argparse.ArgumentParser) -> list[str]:
    """Options set by ``PAIPA_ETL_...`` variables, as words before the command line's own."""
    words = []
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        value = os.environ.get("PAIPA_ETL_" + flag.removeprefix("--").replace("-", "_").upper())
        if not flag.startswith("--") or flag in ("--help", "--version") or value is None:
            continue
        if action.nargs != 0:
            words.append(f"{flag}={value}")
        elif flag == "--verbose":
            words += [flag] * (int(value) if value.isdigit() else 1)
        elif value.lower() not in ("", "0", "no", "false"):
            words.append(flag)
    return words


def size(text: str) -> int:
    """A number of bytes: 1000, 64K, 64M, 1G (powers of 1,024).

    >>> size("64M")
    67108864
    """
    number = text.lower().removesuffix("ib").removesuffix("b")
    unit = number[-1:] if number[-1:] in ("k", "m", "g") else ""
    try:
        value = int(float(number.removesuffix(unit)) * SIZES[unit])
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a size: {text!r}") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"not a size of at least 1 byte: {text!r}")
    return value
