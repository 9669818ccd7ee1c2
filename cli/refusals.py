"""Files that the command refuses to write over, before anything is read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from paipa_etl import Pipeline, read, write
from paipa_etl.cli.functions import file_of
from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location, parse
from paipa_etl.plan_checks import check_not_same, is_same_file
from paipa_etl.run import Run
from paipa_etl.schemes import LOCAL
from paipa_etl.stores.descriptors import borrowed, named_descriptor


def check(pipeline: Pipeline, arguments: argparse.Namespace) -> None:
    """Refuse an output or a report that would cost the user a file."""
    run = pipeline.new_run()
    if arguments.report:
        _check_report(arguments.report, pipeline, run)
    for path, role in own_files(arguments):
        given = read(Location(LOCAL, path), from_="lines").source
        check_not_same(given, pipeline.sink, run, f"{role} and the output")
        if arguments.report:
            report = write(arguments.report, to="lines")
            check_not_same(given, report, run, f"{role} and the report", renamed=False)


def own_files(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The files that the command was given beside its data, and what each is."""
    if arguments.files_from not in (None, "-"):
        yield arguments.files_from, "the list of inputs"
    for kind, value in arguments.steps:
        path = None if kind in ("limit", "skip") else file_of(value)
        if path:
            yield path, "the file of a step"


def _check_report(path: str, pipeline: Pipeline, run: Run) -> None:
    """Refuse a report that would overwrite the data, or could not be written when all is done."""
    target = parse(path)
    if target.scheme != LOCAL:
        raise PlanError(f"--report takes a path, not {target}")
    report = write(path, to="lines")
    check_not_same(pipeline.source, report, run, "an input and the report", renamed=False)
    sink = getattr(pipeline.sink, "location", None)
    if sink is not None and (_is_same_path(sink, target) or is_same_file(sink, target)):
        raise PlanError(f"{target} is both the output and the report")
    number = named_descriptor(target.target)
    if number is not None:
        _check_writable(target, number)
    elif not os.path.isdir(os.path.dirname(os.path.realpath(target.target))):
        raise OutputError(f"{target}: the directory of the report does not exist")


def _is_same_path(sink: Location, target: Location) -> bool:
    """Whether two paths lead to one file, which need not exist yet."""
    if sink.scheme != LOCAL or named_descriptor(sink.target) is not None:
        return False
    return os.path.realpath(sink.target) == os.path.realpath(target.target)


def _check_writable(target: Location, number: int) -> None:
    try:
        os.close(borrowed(number, writing=True))
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
