"""Rule ``ways``: how the records of a file source get into a file sink in one thread."""

from __future__ import annotations

import enum

from paipa_etl.optimizer.fuse import fuse
from paipa_etl.steps.contract import Reads, Step


class Way(enum.Enum):
    """How records are processed between source and sink."""

    COPY = "blocks are validated and copied, no record is decoded"
    PIECES = "one loop over each block decodes, calls the functions and encodes"
    KEPT = "each record goes through the steps together with its raw bytes"
    RECORDS = "records go through the steps one by one and are encoded after the last step"


def way_of(steps: tuple[Step, ...], *, settled: bool) -> Way:
    """The cheapest way with the same results as nested generators.

    ``settled`` says that the writer of the output needs no sample of the records before it
    encodes the first one.
    """
    task, rest = fuse(steps)
    preserving = all(step.preserving for step in steps)
    if preserving and not any(step.reads is not Reads.NOTHING for step in steps):
        return Way.COPY
    if not rest and not task.expands and settled:
        return Way.PIECES
    return Way.KEPT if preserving else Way.RECORDS
