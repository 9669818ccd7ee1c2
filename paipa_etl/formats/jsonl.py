"""JSON Lines (also NDJSON): one JSON value a line, of any kind; blank lines are skipped.

``json_text`` and its libraries are imported where values are decoded or encoded, or a
line is bad: the kernel alone serves a run that passes lines on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paipa_etl.errors import BadRecord
from paipa_etl.formats import (
    Context,
    Copy,
    Encode,
    Format,
    NoRecord,
    Rows,
    Writer,
    by_name,
    register,
)
from paipa_etl.formats.kernels import Lines, count_valid, needs_care
from paipa_etl.formats.line_reader import BLANK, LineReader, starts_of_lines
from paipa_etl.records.blocks import Block, Limits, Position


class JsonLinesDecoder:
    """Validates lines, decodes them one by one."""

    rows_are_lines = True

    def rows(self, block: Block) -> Rows:
        from paipa_etl.formats import json_text

        decode = self.decode if needs_care(block.data) else json_text.decode_plain
        return Rows(Lines(block.data), decode)

    def decode(self, raw: bytes) -> Any:
        from paipa_etl.formats import json_text

        if not raw.strip(BLANK):
            raise NoRecord
        try:
            return json_text.decode(raw)
        except BadRecord as error:
            raise _with_remedy(error, raw) from None

    def validate(self, raw: bytes) -> None:
        from paipa_etl.formats import json_text

        if not raw.strip(BLANK):
            raise NoRecord
        try:
            json_text.check(raw)
        except BadRecord as error:
            raise _with_remedy(error, raw) from None

    def count_valid(self, block: Block) -> int:
        return count_valid(block.data)

    def starts(self, block: Block) -> Sequence[int]:
        return starts_of_lines(block.data, blanks_count=False)


def _with_remedy(error: BadRecord, raw: bytes) -> BadRecord:
    """The error of a line; where the line looks like a part of a JSON document, it says so."""
    from paipa_etl.formats.kernels.document import BrokenDocument, Scanner

    scanner = Scanner()
    try:
        scanner.feed(raw)
        several = scanner.waiting > 1
        scanner.finish()
    except BrokenDocument as broken:
        if not broken.goes_on:
            return error
        several = False
    else:
        if not several:
            return error
    found = "several values" if several else "a value that goes on behind it"
    problem = f"{error.problem}; the line holds {found}: from_='json' reads such documents"
    return BadRecord(problem, parameter="from_='json'")


class JsonLinesWriter(Writer):
    """Writes each record as one line."""

    terminator = b"\n"

    def encoder(self, context: None) -> Encode:
        from paipa_etl.formats.json_text import encode_fast

        return encode_fast


class JsonLines(Format):
    """JSON Lines."""

    name = "jsonl"
    suffixes = ("ndjson", "jsonlines")

    def reader(self, options: Any, limits: Limits, at: Position | None = None) -> LineReader:
        return LineReader(limits, at)

    def decoder(self, context: None) -> JsonLinesDecoder:
        return JsonLinesDecoder()

    def writer(self, options: Any) -> Writer:
        return JsonLinesWriter()

    def copies_from(self, other: Format, block: Context, writer: Context) -> Copy | None:
        if other is by_name("json"):
            from paipa_etl.formats.json_document import copy_to_lines

            return copy_to_lines()
        return super().copies_from(other, block, writer)


register(JsonLines())
