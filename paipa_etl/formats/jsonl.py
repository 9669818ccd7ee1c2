"""JSON Lines (also NDJSON): one JSON value a line, of any kind; blank lines are skipped."""

from __future__ import annotations

from typing import Any

from paipa_etl.errors import BadRecord
from paipa_etl.formats import Format, json_text, register
from paipa_etl.formats.batch import BadLine, Batch
from paipa_etl.formats.blocks import BLANK, Block, cut_lines


def decode(block: Block, reads: bool) -> Batch:
    """The batch of a block: every line validated, its value decoded where a step reads it."""
    if not reads:
        count = json_text.count_valid(block.data)
        if count >= 0:
            return Batch(block, None, None, range(count), count, whole=True)
        return _decode_carefully(block, reads)
    lines = block.lines()
    try:
        records = json_text.decode_all(lines)
    except Exception:  # whatever it was, the careful way finds the line and the words for it
        return _decode_carefully(block, reads)
    if json_text.may_be_deep(block.data):
        return _decode_carefully(block, reads)
    return Batch(block, records, lines, range(len(lines)), len(lines), whole=True)


def _decode_carefully(block: Block, reads: bool) -> Batch:
    """The same, line by line: bad lines are told apart, blank ones left out."""
    good: list[bytes] = []
    records: list[Any] = []
    indices: list[int] = []
    bad: list[BadLine] = []
    count = 0
    for line in block.lines():
        if not line.strip(BLANK):
            continue
        try:
            if reads:
                records.append(json_text.decode(line))
            else:
                json_text.check(line)
        except BadRecord as error:
            bad.append(BadLine(count, str(error), line))
        else:
            good.append(line)
            indices.append(count)
        count += 1
    return Batch(block, records if reads else None, good, indices, count, bad=bad)


def encode(record: Any) -> bytes:
    """The record as one line."""
    return json_text.encode(record) + b"\n"


register(Format("jsonl", ("ndjson", "jsonlines"), cut_lines, decode, encode))
