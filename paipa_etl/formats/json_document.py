"""JSON documents: arrays, objects and other values, on one line or many, one or several.

The elements of an array at the top level are the records; any other value at the top level is
one. So a JSON Lines file is a JSON document too. The output is one array. What reads documents is
imported when one is read: every run loads this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paipa_etl.formats import (
    Context,
    Copy,
    Encode,
    Format,
    Reader,
    Rows,
    Writer,
    by_name,
    register,
)
from paipa_etl.records.blocks import Block, Limits, Position
from paipa_etl.records.tape import Tape

SEPARATOR = b",\n"


class DocumentDecoder:
    """Validates values, decodes them one by one."""

    rows_are_lines = False

    def rows(self, block: Block) -> Rows:
        from paipa_etl.formats import json_text
        from paipa_etl.formats.kernels import needs_care
        from paipa_etl.formats.kernels.document import values_of
        from paipa_etl.formats.nesting import MAX_DEPTH

        tape = tape_of(block)
        careful = tape.deepest > MAX_DEPTH or needs_care(block.data)
        decode = self.decode if careful else json_text.decode_plain
        return Rows(values_of(block.data, tape.starts, tape.ends), decode)

    def decode(self, raw: bytes) -> Any:
        from paipa_etl.formats import json_text

        return json_text.decode(raw)

    def validate(self, raw: bytes) -> None:
        from paipa_etl.formats import json_text

        json_text.check(raw)

    def count_valid(self, block: Block) -> int:
        from paipa_etl.formats.kernels import count_valid_values

        tape = tape_of(block)
        return count_valid_values(block.data, tape.starts, tape.ends)

    def starts(self, block: Block) -> Sequence[int]:
        return tape_of(block).starts


class DocumentWriter(Writer):
    """Writes one array, an element a line."""

    separator = SEPARATOR

    def begin(self) -> bytes:
        return b"["

    def encoder(self, context: None) -> Encode:
        from paipa_etl.formats.json_text import encode

        return encode

    def end(self) -> bytes:
        return b"]\n"


class JsonDocument(Format):
    """JSON documents."""

    name = "json"

    def reader(self, options: Any, limits: Limits, at: Position | None = None) -> Reader:
        from paipa_etl.formats.document_reader import DocumentReader

        return DocumentReader(limits, at)

    def decoder(self, context: None) -> DocumentDecoder:
        return DocumentDecoder()

    def writer(self, options: Any) -> Writer:
        return DocumentWriter()

    def copies_from(self, other: Format, block: Context, writer: Context) -> Copy | None:
        if other is self:
            return Copy(block=_elements)
        if other is by_name("jsonl"):
            return Copy(block=_elements_of_lines)
        return None


def tape_of(block: Block) -> Tape:
    """The tape of a block that the reader of JSON documents has cut."""
    assert block.tape is not None
    return block.tape


def lines_of(block: Block) -> bytes:
    """The values of a block as JSON Lines."""
    from paipa_etl.formats.kernels.document import lines_of_values

    tape = tape_of(block)
    return lines_of_values(block.data, tape.starts, tape.ends)


def copy_to_lines() -> Copy:
    """How values become JSON Lines: those on several lines without white space between tokens."""
    from paipa_etl.formats.kernels.document import compact

    return Copy(compact, lines_of)


def _elements(block: Block) -> bytes:
    from paipa_etl.formats.kernels.document import values_of

    tape = tape_of(block)
    return SEPARATOR.join(values_of(block.data, tape.starts, tape.ends))


def _elements_of_lines(block: Block) -> bytes:
    return block.data.removesuffix(b"\n").replace(b"\n", SEPARATOR)


register(JsonDocument())
