"""JSON Lines (also NDJSON): one JSON value a line, of any kind; blank lines are skipped.

``json_text`` and its libraries are imported where values are decoded or encoded, or a
line is bad: the kernel alone serves a run that passes lines on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paipa_etl.formats import Encode, Format, NoRecord, Rows, Writer, register
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
        return json_text.decode(raw)

    def validate(self, raw: bytes) -> None:
        from paipa_etl.formats import json_text

        if not raw.strip(BLANK):
            raise NoRecord
        json_text.check(raw)

    def count_valid(self, block: Block) -> int:
        return count_valid(block.data)

    def starts(self, block: Block) -> Sequence[int]:
        return starts_of_lines(block.data, blanks_count=False)


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


register(JsonLines())
