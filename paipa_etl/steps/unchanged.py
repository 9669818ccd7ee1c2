"""A diagnosis: does the function of a ``filter`` or ``tap`` change its record?

What such a function changes is not written where the raw bytes of the record are. One record of
each block is compared before and after the call, so not every change is found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paipa_etl.errors import BadRecord, ChangedRecord
from paipa_etl.failures import Failure
from paipa_etl.run import Run


def form_of(record: Any) -> object:
    """What two records are compared by: their JSON, or else their ``repr``."""
    from paipa_etl.formats.json_text import encode

    try:
        return encode(record)
    except (BadRecord, RecursionError):
        return repr(record)


def compared(function: Callable[[Any], Any], name: str, run: Run) -> Callable[[Any], Any]:
    """The function of the step ``name``, which ends the run where it changes its record."""

    def call(record: Any) -> Any:
        before = form_of(record)
        result = function(record)
        if form_of(record) != before:
            place, raw = run.cursor.where()
            run.policy.fail(Failure(ChangedRecord(), name, place, raw))
        return result

    return call


def compared_once(function: Callable[[Any], Any], name: str, run: Run) -> Callable[[Any], Any]:
    """The same for the first call only."""
    calls = iter((compared(function, name, run),))

    def call(record: Any) -> Any:
        return next(calls, function)(record)

    return call
