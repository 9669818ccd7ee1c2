"""JSON Lines and lines: what is a valid record, and that it never depends on the steps."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl import BadRecord, Pipeline, formats, read, steps, write
from paipa_etl.formats import _scan_python, json_text
from paipa_etl.formats.blocks import cut_lines

GOOD = [
    b"null", b"true", b"0", b"-0", b"1E+2", b"1.0", b'"\\u0000"', b'"\\ud83d\\ude00"',
    b'{"a":1,"a":2}', b' [1 , 2] \r', '"\u2028\u0085"'.encode(), b"18446744073709551616",
    b'"' + b"x" * 5000 + b'"', b"[" * 500 + b"]" * 500,
]  # fmt: skip
BAD = [
    b"NaN", b"[Infinity]", b"-Infinity", b'{"a":\xff}', b'{"a":"\xff"}', b'{"\xff":1}',
    b'"\\ud800"',
    b'"\\udc00\\ud800"', b'"\\ud800\\u0041"', b'"\xed\xa0\x80"', b'"\x01"', b'"\t"', b"1 2",
    b"[1,]",
    b"{1:2}", b"01", b"1.", b".5", b"+1", b"'a'", b"tru", b'"a', b"[", b"{", b"]", b'{"a"}', b"\0",
    b"1\0", b'"\\x"', b'"\\u12g4"', b"\x0b1", b"[" * 501 + b"]" * 501, b"[" * 200_000,
    b"\xff\xfe1\x00", b"\xc0\x80", b'"\xf4\x90\x80\x80"',
]  # fmt: skip
UNHOLDABLE = [b"1e400", b"[-1e999]", b"1" * 4301]


def verdict(line: bytes, *made: Any) -> str:
    out = bytearray()
    try:
        Pipeline(b'"before"\n' + line + b'\n"after"\n', list(made), write(out)).run()
    except BadRecord as error:
        return "bad" if re.search(r"record 2 of .*\(byte 9\)", str(error)) else str(error)
    assert out.startswith(b'"before"\n')
    assert out.endswith(b'"after"\n')
    return "good"


@pytest.mark.parametrize("line", GOOD)
def test_good_lines_leave_as_they_came(line: bytes) -> None:
    out = bytearray()
    Pipeline(line + b"\n", [steps.filter(lambda _: True)], write(out)).run()
    assert out == line + b"\n"
    assert verdict(line) == verdict(line, steps.map(lambda r: r)) == "good"


@pytest.mark.parametrize("line", BAD)
def test_bad_lines_are_bad_in_every_path(line: bytes) -> None:
    assert verdict(line) == verdict(line, steps.map(lambda r: r)) == "bad"
    assert verdict(line, steps.filter(lambda _: True)) == "bad"


@pytest.mark.parametrize("line", BAD)
def test_good_neighbours_survive_under_skip(line: bytes) -> None:
    for made in ([], [steps.map(lambda r: r)]):
        out = bytearray()
        report = Pipeline(b"1\n" + line + b"\n2\n", made, write(out), on_error="skip").run()
        assert out == b"1\n2\n"
        assert (report.skipped, report.balanced) == (1, True)


@pytest.mark.parametrize("line", UNHOLDABLE)
def test_a_number_python_cannot_hold_passes_untouched(line: bytes) -> None:
    assert verdict(line) == "good"
    assert verdict(line, steps.map(lambda r: r)) == "bad"


def test_validity_does_not_depend_on_the_stack() -> None:
    def at(depth: int) -> list[Any]:
        return at(depth - 1) if depth else list(read(b"[" * 500 + b"]" * 500))

    assert len(at(600)) == 1


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("aé\n😀"), inner),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert json_text.decode(json_text.encode(value)) == value


@pytest.mark.parametrize(
    "value", [math.nan, [math.inf], {"a": {"b": -math.inf}}, {1, 2}, "\ud800", object(), {1: 2}]
)
def test_what_json_cannot_hold_is_an_error(value: Any) -> None:
    with pytest.raises(BadRecord):
        json_text.encode(value)


def test_deep_values_can_be_written() -> None:
    value: Any = None
    for _ in range(499):
        value = [value]
    assert json_text.encode(value) == b"[" * 499 + b"null" + b"]" * 499


texts = values.map(json_text.encode)
alphabet = st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"0", b"\xc3", b"\n", b" "])


@settings(max_examples=600)
@given(st.lists(texts, max_size=4), st.lists(st.tuples(st.integers(0, 999), alphabet), max_size=3))
def test_the_kernel_accepts_only_what_the_plain_form_does(
    lines: list[bytes], changes: list[tuple[int, bytes]]
) -> None:
    scan = pytest.importorskip("paipa_etl.formats._scan")
    block = bytearray(b"\n".join(lines))
    for at, byte in changes:
        block[at % (len(block) + 1) : at % (len(block) + 1)] = byte
    count = scan.count_valid(bytes(block))
    assert count in (-1, _scan_python.count_valid(bytes(block)))


@pytest.mark.parametrize("line", GOOD[:-1])
def test_the_kernel_accepts_good_lines(line: bytes) -> None:
    scan = pytest.importorskip("paipa_etl.formats._scan")
    assert scan.count_valid(line) == _scan_python.count_valid(line) == 1


@given(values)
def test_the_kernel_finds_what_is_not_finite(value: Any) -> None:
    scan = pytest.importorskip("paipa_etl.formats._scan")
    assert scan.is_finite(value)
    assert _scan_python.is_finite(value)
    assert not scan.is_finite([value, {"x": [math.nan]}])
    assert not _scan_python.is_finite([value, {"x": [math.nan]}])


pieces = st.lists(st.sampled_from([b"a", b"\n", b"bc", b"\r\n", b"\xe2\x80\xa8", b"x" * 9, b""]))


@given(pieces, st.integers(1, 12))
def test_any_split_gives_the_same_lines(parts: list[bytes], limit: int) -> None:
    whole = b"".join(parts)
    blocks = [block for block in cut_lines(parts, limit) if block.data]
    for block in blocks:
        assert whole[block.offset : block.offset + len(block.data)] == block.data
    kept = [line for block in blocks if not block.oversize for line in block.lines()]
    lines = whole.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    assert kept == [line for line in lines if len(line) <= limit]


def test_inputs_end_their_own_records_and_count_from_one() -> None:
    first, second = b"\xef\xbb\xbf1\n2", b"\xef\xbb\xbf3\n\n\nx\n"
    records = iter(read(first, second))
    assert [next(records), next(records), next(records)] == [1, 2, 3]
    with pytest.raises(BadRecord, match=r"record 2 of .*byte 7"):
        next(records)


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
        formats.by_name("lines").encode(record)
