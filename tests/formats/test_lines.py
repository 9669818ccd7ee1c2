"""Lines: text or bytes, and what a line cannot hold."""

from __future__ import annotations

from typing import Any

import pytest

from paipa_etl import BadRecord, Pipeline, formats, read, write


def test_lines_are_text_or_bytes() -> None:
    data = "a\r\n\n\u2028b".encode()
    assert list(read(data, from_="txt")) == ["a", "", "\u2028b"]
    assert list(read(b"\xff\n", from_="bytes")) == [b"\xff"]
    with pytest.raises(BadRecord, match="-f bytes"):
        list(read(b"\xff\n", from_="txt"))
    out = bytearray()
    Pipeline(read(data, from_="txt"), [], write(out, to="txt")).run()
    assert out == data + b"\n"


@pytest.mark.parametrize("record", ["a\nb", {"a": 1}, 3, "\ud800"])
def test_lines_refuse_what_they_cannot_hold(record: Any) -> None:
    with pytest.raises(BadRecord):
        formats.by_name("lines").writer(formats.Options()).encoder(None)(record)
