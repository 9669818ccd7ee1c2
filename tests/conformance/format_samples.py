"""One sample for each registered format: what a kit needs to know of it, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

NONE = object()
"""In place of a record: the raw bytes hold none."""


class Row(NamedTuple):
    """The raw bytes of one record, without what separates it from the next, and the record."""

    raw: bytes
    record: Any


class Start(NamedTuple):
    """Where a record begins in its input: number and line count from 1, the offset from 0."""

    number: int
    line: int
    offset: int


@dataclass(frozen=True)
class FormatSample:
    """Good and bad records of one format, and what it writes them with."""

    good: list[Row]
    """Records of every kind, some of more than one line where the format has such."""
    bad: Row | None
    """A record that cannot be decoded; None where any bytes are a record."""
    unencodable: list[Any]
    sized: Callable[[int], bytes]
    """The raw bytes of a record of so many bytes."""
    header: bytes = b""
    newline: bytes = b"\n"
    options: list[dict[str, Any]] = field(default_factory=list)
    """Options that the format takes, other than the defaults."""
    bad_options: list[dict[str, Any]] = field(default_factory=list)
    """Values that it does not take."""

    @property
    def records(self) -> list[Any]:
        """The good records."""
        return [row.record for row in self.good if row.record is not NONE]

    def bytes_of(self, rows: list[Row], *, ended: bool = True) -> bytes:
        """An input; the last record may have no newline."""
        body = self.newline.join(row.raw for row in rows)
        return self.header + body + (self.newline if ended else b"")

    def starts(self, rows: list[Row]) -> list[Start]:
        """Where each record of that input begins."""
        raws = [row.raw + self.newline for row in rows]
        offsets = accumulate(map(len, raws), initial=len(self.header))
        lines = accumulate((raw.count(b"\n") for raw in raws), initial=1 + self.header.count(b"\n"))
        placed = zip(rows, lines, offsets, strict=False)
        held = [(line, offset) for row, line, offset in placed if row.record is not NONE]
        return [Start(number, *place) for number, place in enumerate(held, 1)]


SAMPLES: dict[str, FormatSample] = {
    "jsonl": FormatSample(
        good=[
            Row(b'{"a":1.10,"b":"caf\xc3\xa9"}', {"a": 1.1, "b": "café"}),
            Row(b"", NONE),
            Row(b" \t", NONE),
            Row(b'[1, "\\n", null]', [1, "\n", None]),
            Row(b"null", None),
            Row(b'"\xe2\x80\xa8"\r', "\u2028"),
            Row(b"18446744073709551617", 18446744073709551617),
            Row(b"{}", {}),
        ],
        bad=Row(b'{"a":', NONE),
        unencodable=[float("nan"), object(), "\ud800", {1: 2}],
        sized=lambda size: b'"%s"' % (b"x" * (size - 2)),
    ),
    "json": FormatSample(
        good=[
            Row(b'{"a":1.10,"b":"caf\xc3\xa9"}', {"a": 1.1, "b": "caf\u00e9"}),
            Row(b"", NONE),
            Row(b'{\n  "a": [\r\n    1\n  ],\n  "]": "\\"["\n}', {"a": [1], "]": '"['}),
            Row(b"-0.0", -0.0),
            Row(b'"\\n]\\\\"', "\n]\\"),
            Row(b"null", None),
            Row(b"18446744073709551617", 18446744073709551617),
            Row(b"{}", {}),
        ],
        bad=Row(b'{"a":tru}', NONE),
        unencodable=[float("nan"), object(), "\ud800", {1: 2}],
        sized=lambda size: b'"%s"' % (b"x" * (size - 2)),
    ),
    "lines": FormatSample(
        good=[
            Row(b"plain", "plain"),
            Row(b"", ""),
            Row(b"caf\xc3\xa9 \xe2\x80\xa8 \x0b", "café \u2028 \x0b"),
            Row(b"with \r inside\r", "with \r inside"),
            Row(b" ", " "),
        ],
        bad=Row(b"caf\xe9", NONE),
        unencodable=["two\nlines", 7, None, "\ud800"],
        sized=lambda size: b"x" * size,
    ),
    "bytes": FormatSample(
        good=[
            Row(b"plain", b"plain"),
            Row(b"", b""),
            Row(b"\xff\x00\xfe", b"\xff\x00\xfe"),
            Row(b"ended\r", b"ended"),
        ],
        bad=None,
        unencodable=[b"two\nlines", 7, None],
        sized=lambda size: b"x" * size,
    ),
    "table": FormatSample(
        header=b'id,"the\ntext"\n',
        good=[
            Row(b"1,plain", {"id": "1", "the\ntext": "plain"}),
            Row(b'2,"two\nlines, ""quoted"""', {"id": "2", "the\ntext": 'two\nlines, "quoted"'}),
            Row(b"", NONE),
            Row(b"\r", NONE),
            Row(b',"\n\n"', {"id": "", "the\ntext": "\n\n"}),
            Row(b"caf\xc3\xa9,\xe2\x80\xa8\r", {"id": "café", "the\ntext": "\u2028"}),
            Row(b'"5",', {"id": "5", "the\ntext": ""}),
        ],
        bad=Row(b'6,"six\n6",six', NONE),
        unencodable=[
            {"id": "1"},
            {"id": 1, "the\ntext": ""},
            {"id": "\ud800", "the\ntext": ""},
            "text",
        ],
        sized=lambda size: b'1,"%s"' % (b"\n" * (size - 4)),
        options=[{"delimiter": ";"}, {"delimiter": "\t"}],
        bad_options=[{"delimiter": ""}, {"delimiter": '"'}, {"delimiter": "::"}],
    ),
}
