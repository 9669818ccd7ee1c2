"""Rule ``ways``: how the records of a file source get into a file sink in one thread."""

from __future__ import annotations

import enum

from paipa_etl.optimizer.fuse import fuse
from paipa_etl.steps.contract import Reads, Step


class Way(enum.Enum):
    """What is done with each record between source and sink."""

    COPY = "blocks are validated and copied, no record is decoded"
    PIECES = "one loop over each block decodes, calls the functions and encodes"
    KEPT = "each record goes through the steps together with its raw bytes"
    RECORDS = "records go through the steps one by one, and are encoded behind them"


def way_of(steps: tuple[Step, ...], *, settled: bool) -> Way:
    """The cheapest way that gives what nested generators give.

    ``settled`` says that the writer of the output encodes the first record at once, and looks
    at no sample before.
    """
    task, rest = fuse(steps)
    preserving = all(step.preserving for step in steps)
    if preserving and not any(step.reads is not Reads.NOTHING for step in steps):
        return Way.COPY
    if not rest and not task.expands and settled:
        return Way.PIECES
    return Way.KEPT if preserving else Way.RECORDS
