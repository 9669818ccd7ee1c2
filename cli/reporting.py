"""The report as a file: written whatever the end of the run is, and never told in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from paipa_etl.errors import OutputError, PlanError, describe

if TYPE_CHECKING:
    from paipa_etl import Report

PAGES = (".html", ".htm")


class ReportMissing(OutputError):
    """The report could not be written, ``failure`` or ``code`` being the end of the run itself."""

    def __init__(
        self, path: str, problem: BaseException, failure: BaseException | None, code: int
    ) -> None:
        said = (isinstance(problem, OSError) and problem.strerror) or describe(problem)
        alone = failure is None and not code
        missing = "only the report is missing" if alone else "the report is missing as well"
        super().__init__(f"{path}: {said} ({missing})")
        self.failure, self.code = failure, code


def reported(path: str | None, report: Callable[[], Report], carry_out: Callable[[], int]) -> int:
    """Carry out, and write the report, after a failure too; the exit code.

    Raises what the run does, or ``ReportMissing``, which holds that.
    """
    if path is None:
        return carry_out()
    process = os.getpid()
    try:
        code = carry_out()
    except BaseException as failure:
        if os.getpid() == process:  # else a step has forked, and the report is the parent's
            _write(path, report, failure)
        raise
    _write(path, report, code=code)
    return code


def _write(
    path: str, report: Callable[[], Report], failure: BaseException | None = None, code: int = 0
) -> None:
    hidden = OSError if failure is None else BaseException  # nothing may hide a failure
    try:
        told = report()
        if isinstance(failure, PlanError) and not told.read:
            return  # what was refused has none, and may have been for the sake of that file
        text = _text(path, told)
        if text:
            _save(path, text.encode("utf-8", "backslashreplace"))
    except hidden as problem:
        raise ReportMissing(path, problem, failure, code) from failure


def _save(path: str, data: bytes) -> None:
    """Write the report; through the descriptor, where the path names one (``/dev/fd/3``)."""
    from paipa_etl.location import parse  # here: --help needs neither
    from paipa_etl.stores.descriptors import named_descriptor, write_all

    target = parse(path).target
    number = named_descriptor(target)
    if number is not None:
        write_all(number, data)
        return
    with open(target, "wb") as file:
        file.write(data)


def _text(path: str, report: Report) -> str:
    """A page where the name says so, JSON otherwise; nothing where nothing was seen yet."""
    import json

    if not path.lower().endswith(PAGES):
        return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"
    return "" if report.view is None else report.to_html()
