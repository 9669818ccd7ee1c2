"""Format ``table`` (``.tbl``): a header line, then one record a row, fields in quotes if need be.

Like CSV of RFC 4180: a quoted field may hold delimiters, newlines and doubled quotes. A record
is a ``dict`` of text. A row ends at a newline that an even number of quotes precedes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from paipa_etl.errors import BadRecord, InputError, PlanError, shown
from paipa_etl.formats import BadSample, Columns, Format, NoRecord, Options, Rows, Writer, register
from paipa_etl.records.blocks import HEAD, Block, Limits, Position
from paipa_etl.records.places import count_lines

ROW = re.compile(rb'(?:[^"\n]+|"[^"]*")+')
MARKS = re.compile(rb'["\n]')
BLANK = b"\r"


@dataclass(frozen=True)
class TableOptions(Options):
    """``delimiter`` stands between two fields."""

    delimiter: str = ","

    def __post_init__(self) -> None:
        if len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n':
            raise PlanError(f"a delimiter is one ASCII character, not {shown(self.delimiter)}")


@dataclass(frozen=True)
class Table:
    """The context of blocks and of an output: the header's names, and the delimiter."""

    columns: Columns
    delimiter: str


class TableReader:
    """Cuts rows at newlines outside of quotes; keeps one row, or one block of a piece."""

    def __init__(self, options: TableOptions, limits: Limits, at: Position | None) -> None:
        self._delimiter, self._limits = options.delimiter, limits
        self._table: Table | None = at.state if at else None
        self._offset = at.offset if at else 0
        self._row = bytearray()  # the row that has not ended yet
        self._is_quoted = False  # whether that row's last byte is within quotes
        self._is_too_long = False  # whether that row's head was handed out already
        self._lines = 0  # physical lines that are in no block, since the last one

    def cut(self, pieces: Iterable[bytes]) -> Iterator[Block]:
        """Blocks of whole rows; an empty piece is passed on as an empty block."""
        for piece in pieces:
            yield from self._blocks(piece) if piece else (self._block(b""),)
        if self._is_quoted:
            raise InputError("the input ends within a quoted field")
        yield from self._ended([bytes(self._row)] if self._row else [])

    def _blocks(self, piece: bytes) -> Iterator[Block]:
        rows: list[bytes] = []
        size = 0
        start = 0
        for end in self._ends(piece):
            self._row += piece[start:end]
            start = end
            row = bytes(self._row)
            self._row.clear()
            if self._is_too_long or len(row.removesuffix(b"\n")) > self._limits.max_record:
                yield from self._ended(rows)
                rows, size = [], 0
                yield from self._too_long(row)
                self._is_too_long = False
                continue
            rows.append(row)
            size += len(row)
            if size >= self._limits.block:
                yield from self._ended(rows)
                rows, size = [], 0
        yield from self._ended(rows)
        self._row += piece[start:]
        if self._is_too_long or len(self._row) > self._limits.max_record:
            yield from self._too_long(bytes(self._row))
            self._row.clear()

    def _ends(self, piece: bytes) -> Iterator[int]:
        """Where the rows of a piece end."""
        for mark in MARKS.finditer(piece):
            if mark[0] == b'"':
                self._is_quoted = not self._is_quoted
            elif not self._is_quoted:
                yield mark.end()

    def _ended(self, rows: list[bytes]) -> Iterator[Block]:
        """Whole rows as one block, without the header; an empty one tells that it was read."""
        if rows and self._table is None:
            header, *rows = rows
            self._table = self._read_header(header)
            self._offset += len(header)
            self._lines += count_lines(header)
            yield self._block(b"")
        if rows:
            yield self._block(b"".join(rows))
            self._offset += sum(map(len, rows))

    def _too_long(self, data: bytes) -> Iterator[Block]:
        """The head of a row that is too long, once; the rest of it is passed over."""
        if self._table is None:
            raise InputError("the header is longer than a record may be")
        if not self._is_too_long:
            self._is_too_long = True
            head = data[:HEAD].removesuffix(b"\n")
            yield self._block(head, oversize=True)
            self._lines -= count_lines(head)  # those that the block counts for
        self._lines += data.count(b"\n")
        self._offset += len(data)

    def _read_header(self, header: bytes) -> Table:
        row = header.removesuffix(b"\n").removesuffix(BLANK).removeprefix(b"\xef\xbb\xbf")
        try:
            columns = tuple(fields_of(row, self._delimiter))
        except BadRecord as error:
            raise InputError(f"the header is not valid: {error.problem}") from None
        if len(set(columns)) < len(columns):
            raise InputError(f"the header has a name twice: {shown(columns)}")
        return Table(columns, self._delimiter)

    def _block(self, data: bytes, *, oversize: bool = False) -> Block:
        lines, self._lines = self._lines, 0
        position = Position(offset=self._offset, state=self._table)
        return Block(data, position, self._table, oversize, lines)


def fields_of(row: bytes, delimiter: str) -> list[str]:
    """The fields of a row; raises ``BadRecord``."""
    try:
        text = row.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(f"not UTF-8 at byte {error.start:,} of the row") from None
    mark = re.escape(delimiter)
    field = re.compile(rf'(?:"((?:[^"]|"")*)"|([^"{mark}]*))({mark}|\Z)')
    found: list[str] = []
    at = 0
    while match := field.match(text, at):
        quoted, plain, end = match.groups()
        found.append(plain if quoted is None else quoted.replace('""', '"'))
        if not end:
            return found
        at = match.end()
    raise BadRecord(f"field {len(found) + 1} has a quote where none can be")


@dataclass(frozen=True)
class TableDecoder:
    """Decodes rows; a context is all that it knows."""

    table: Table

    rows_are_lines = False

    def rows(self, block: Block) -> Rows:
        """The rows that are not blank, without their newlines."""
        return Rows([match[0] for match in _rows(block.data)], self.decode)

    def decode(self, raw: bytes) -> dict[str, str]:
        """One record."""
        row = raw.removesuffix(BLANK)
        if not row:
            raise NoRecord
        fields, columns = fields_of(row, self.table.delimiter), self.table.columns
        if len(fields) != len(columns):
            raise BadRecord(f"{len(fields)} fields, and the header has {len(columns)}")
        return dict(zip(columns, fields, strict=True))

    def validate(self, raw: bytes) -> None:
        """Raises what ``decode`` raises."""
        self.decode(raw)

    def count_valid(self, block: Block) -> int:
        """There is no faster way to tell than to look at each record."""
        return -1

    def starts(self, block: Block) -> Sequence[int]:
        """Where each row begins that is not blank."""
        return [match.start() for match in _rows(block.data) if match[0] != BLANK]


def _rows(data: bytes) -> Iterator[re.Match[bytes]]:
    return ROW.finditer(data)


class TableWriter(Writer):
    """Writes the columns of the input, or else of the first record."""

    settles = True
    terminator = b"\n"

    def __init__(self, options: TableOptions) -> None:
        self._delimiter = options.delimiter
        self._table: Table | None = None

    def settle(self, first: Sequence[Any], columns: Columns | None) -> Table | None:
        """The columns; without any record or input that has some, there are none."""
        if columns is None and first:
            if not isinstance(first[0], dict) or not first[0]:
                raise BadSample(0, f"a row is a dict with columns: {shown(first[0])}")
            columns = tuple(first[0])
        if columns is None:
            return None
        self._table = Table(columns, self._delimiter)
        return self._table

    def begin(self) -> bytes:
        """The header."""
        if self._table is None:
            return b""
        return encoded(self._table.columns, self._table.delimiter)

    def encoder(self, context: Table | None) -> Callable[[Any], bytes]:
        """A function that can be pickled."""
        return Encoder(context)


@dataclass(frozen=True)
class Encoder:
    """Encodes one record as a row of the table."""

    table: Table | None

    def __call__(self, record: Any) -> bytes:
        """The row; raises ``BadRecord`` for other columns, and for values that are no text."""
        columns = self.table.columns if self.table else ()
        if not isinstance(record, dict) or record.keys() != set(columns):
            raise BadRecord(f"the columns are {', '.join(columns)}: {shown(record)}")
        assert self.table is not None
        return encoded([record[name] for name in columns], self.table.delimiter)


def encoded(fields: Sequence[Any], delimiter: str) -> bytes:
    """The fields as one row."""
    for field in fields:
        if not isinstance(field, str):
            raise BadRecord(f"a table holds text, not {type(field).__name__}: {shown(field)}")
    if list(fields) == [""]:
        return b'""\n'  # a blank line is no row
    special = re.compile(rf'["\r\n{re.escape(delimiter)}]')
    row = delimiter.join(
        '"' + field.replace('"', '""') + '"' if special.search(field) else field for field in fields
    )
    try:
        return row.encode() + b"\n"
    except UnicodeEncodeError:
        raise BadRecord(f"half a surrogate pair in a row: {shown(row)}") from None


class TableFormat(Format):
    """Rows of text under a header."""

    name = "table"
    suffixes = ("tbl",)
    options = TableOptions

    def reader(
        self, options: TableOptions, limits: Limits, at: Position | None = None
    ) -> TableReader:
        """A reader for one input."""
        return TableReader(options, limits, at)

    def decoder(self, context: Table) -> TableDecoder:
        """The decoder for blocks of one table."""
        return TableDecoder(context)

    def writer(self, options: TableOptions) -> TableWriter:
        """A writer for one output."""
        return TableWriter(options)

    def columns(self, context: Table) -> Columns:
        """The names in the header."""
        return context.columns


register(TableFormat())
