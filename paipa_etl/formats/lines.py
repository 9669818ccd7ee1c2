"""Lines of text: each line is a record, blank ones too; ``str``, or ``bytes`` in format bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from paipa_etl.errors import BadRecord, shown
from paipa_etl.formats import Encode, Format, Rows, Writer, register
from paipa_etl.formats.line_reader import LineReader, split_lines, starts_of_lines
from paipa_etl.records.blocks import Block, Limits, Position


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


class LineWriter(Writer):
    """Writes each record as one line."""

    terminator = b"\n"

    def encoder(self, context: None) -> Encode:
        return encode


class BytesDecoder:
    """Lines of any bytes; a record has neither the newline nor a carriage return before it."""

    rows_are_lines = True

    def rows(self, block: Block) -> Rows:
        return Rows(split_lines(block.data), self.decode if b"\r" in block.data else bytes)

    def decode(self, raw: bytes) -> Any:
        return raw.removesuffix(b"\r")

    def validate(self, raw: bytes) -> None:
        """All bytes are valid."""

    def count_valid(self, block: Block) -> int:
        return len(split_lines(block.data))

    def starts(self, block: Block) -> Sequence[int]:
        return starts_of_lines(block.data, blanks_count=True)


class TextDecoder(BytesDecoder):
    """Lines of UTF-8 text."""

    def rows(self, block: Block) -> Rows:
        return Rows(split_lines(block.data), self.decode if b"\r" in block.data else bytes.decode)

    def decode(self, raw: bytes) -> Any:
        try:
            return raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 at byte {error.start:,} of the line (-f bytes takes any bytes)"
        raise BadRecord(problem)

    def validate(self, raw: bytes) -> None:
        self.decode(raw)

    def count_valid(self, block: Block) -> int:
        try:
            block.data.isascii() or block.data.decode()
        except UnicodeDecodeError:
            return -1
        return len(split_lines(block.data))


class Lines(Format):
    """Text, one record a line."""

    name = "lines"
    suffixes: ClassVar[tuple[str, ...]] = ("txt", "log", "text")

    def reader(self, options: Any, limits: Limits, at: Position | None = None) -> LineReader:
        return LineReader(limits, at)

    def decoder(self, context: None) -> BytesDecoder:
        return TextDecoder()

    def writer(self, options: Any) -> Writer:
        return LineWriter()


class BytesLines(Lines):
    """Any bytes, one record a line."""

    name = "bytes"
    suffixes = ()

    def decoder(self, context: None) -> BytesDecoder:
        return BytesDecoder()


register(Lines())
register(BytesLines())
