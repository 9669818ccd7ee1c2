"""Lines of text: each line is a record, blank ones too; ``str``, or ``bytes`` in format bytes."""

from __future__ import annotations

from functools import partial
from typing import Any

from paipa_etl.errors import BadRecord, shown
from paipa_etl.formats import Format, register
from paipa_etl.formats.batch import BadLine, Batch
from paipa_etl.formats.blocks import Block, cut_lines


def decode_text(block: Block, reads: bool) -> Batch:
    """The batch of a block of UTF-8 text; a record has neither newline nor carriage return."""
    lines = block.lines()
    try:
        text = block.data.decode()
    except UnicodeDecodeError:
        return _decode_carefully(block, lines)
    records = None
    if reads:
        records = text.split("\n")[: len(lines)]
        if "\r" in text:
            records = [line.removesuffix("\r") for line in records]
    return Batch(block, records, lines, range(len(lines)), len(lines), whole=True)


def _decode_carefully(block: Block, lines: list[bytes]) -> Batch:
    good: list[bytes] = []
    records: list[str] = []
    indices: list[int] = []
    bad: list[BadLine] = []
    for index, line in enumerate(lines):
        try:
            records.append(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 at byte {error.start:,} of the line (-f bytes takes any bytes)"
            bad.append(BadLine(index, problem, line))
        else:
            good.append(line)
            indices.append(index)
    return Batch(block, records, good, indices, len(lines), bad=bad)


def decode_bytes(block: Block, reads: bool) -> Batch:
    """The batch of a block of any bytes; a record has neither newline nor carriage return."""
    lines = block.lines()
    records = [line.removesuffix(b"\r") for line in lines] if reads else None
    return Batch(block, records, lines, range(len(lines)), len(lines), whole=True)


def encode(record: Any) -> bytes:
    """The record as one line."""
    try:
        line = record if isinstance(record, bytes) else record.encode()
    except UnicodeEncodeError:
        raise BadRecord(f"half a surrogate pair in a line: {shown(record)}") from None
    except AttributeError:
        raise BadRecord(
            f"lines hold text, not {type(record).__name__} (write jsonl, or map to str): "
            f"{shown(record)}"
        ) from None
    if b"\n" in line:
        raise BadRecord(f"a line cannot hold a newline: {shown(record)}")
    return line + b"\n" if line.__class__ is bytes else bytes(line) + b"\n"


_cut = partial(cut_lines, blanks_count=True)

register(Format("lines", ("txt", "log", "text"), _cut, decode_text, lambda: encode))
register(Format("bytes", (), _cut, decode_bytes, lambda: encode))
