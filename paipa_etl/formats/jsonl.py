"""JSON Lines (also NDJSON): one JSON value a line, of any kind; blank lines are skipped.

``json_text`` and its libraries are imported where values are decoded or encoded, or a
line is bad: the kernel alone serves a run that passes lines on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paipa_etl.errors import BadRecord
from paipa_etl.formats import Format, register
from paipa_etl.formats.batch import BadLine, Batch
from paipa_etl.formats.blocks import BLANK, Block, cut_lines
from paipa_etl.formats.kernel import count_valid
from paipa_etl.formats.nesting import may_be_deep


def decode(block: Block, reads: bool) -> Batch:
    """The batch of a block: every line validated, its value decoded where a step reads it."""
    if not reads:
        count = count_valid(block.data)
        if count >= 0:
            return Batch(block, None, None, range(count), count, whole=True)
        return _decode_carefully(block, reads)
    from paipa_etl.formats import json_text

    lines = block.lines()
    try:
        records = json_text.decode_all(lines, block.data)
    except Exception:  # whatever it was, the careful way finds the line and the words for it
        return _decode_carefully(block, reads)
    if may_be_deep(block.data):
        return _decode_carefully(block, reads)
    return Batch(block, records, lines, range(len(lines)), len(lines), whole=True)


def _decode_carefully(block: Block, reads: bool) -> Batch:
    """The same, line by line: bad lines are told apart, blank ones left out."""
    from paipa_etl.formats import json_text

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


def encoder() -> Callable[[Any], bytes]:
    """What makes one line of a record."""
    from paipa_etl.formats.json_text import encode_line

    return encode_line


register(Format("jsonl", ("ndjson", "jsonlines"), cut_lines, decode, encoder))
