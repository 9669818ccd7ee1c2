"""One JSON text: the same verdict decoded or not; what decodes can be encoded again."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import re
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl import BadRecord, Pipeline, read, steps, write
from paipa_etl.formats import json_text, nesting

GOOD = {
    "empty object": b"{}",
    "blanks": b'\t{ "a" :\t[ 1 , 2 ] } \r',
    "all escapes": rb'"\"\\\/\b\f\n\r\t\u00e9"',
    "NUL escaped": rb'"\u0000"',
    "pair": rb'"\ud83d\ude00"',
    "pair as key": rb'{"\uD83D\uDE00":1}',
    "escaped backslash before a u": rb'"\\ud800"',
    "noncharacter": '"\uffff"'.encode(),
    "last code point": '"\U0010ffff"'.encode(),
    "separators": '"\u2028\u2029\u0085"'.encode(),
    "DEL": b'"\x7f"',
    "brackets in a string": b'"' + b"[" * 2000 + b'"',
    "500 arrays": b"[" * 500 + b"]" * 500,
    "500 objects": b'{"a":' * 500 + b"1" + b"}" * 500,
    "600 brackets side by side": b"[" + b"[]," * 600 + b"[]]",
    "numbers": b"[-0,0.0,-0.0,1e5,1E+2,1.5e-300,1e-400]",
    "beyond 64 bits": b"[18446744073709551616,-9223372036854775809]",
    "4300 digits": b"9" * 4300,
    "duplicate keys": b'{"a":1,"a":2}',
    "empty key": b'{"":null}',
}
BAD = {
    "bad byte in a value": b'"caf\xe9"',
    "bad byte in a key": b'{"caf\xe9":1}',
    "cut sequence": b'"\xe2\x82"',
    "overlong": b'"\xc0\xaf"',
    "encoded surrogate": b'{"\xed\xa0\x80":1}',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "high half": rb'"\ud800"',
    "low half": rb'"\udc00"',
    "half as key": rb'{"\ud800":1}',
    "half before a letter": rb'"\ud800a"',
    "two high halves": rb'"\ud800\ud800"',
    "NaN": b'{"a":NaN}',
    "-NaN": b"-NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"[-Infinity]",
    "nan": b"nan",
    "501 arrays": b"[" * 501 + b"]" * 501,
    "501 objects": b'{"a":' * 501 + b"1" + b"}" * 501,
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "100,000 opened": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NUL": b"1\0",
    "NUL in a string": b'"\0"',
    "tab in a string": b'"\t"',
    "escape in a string": b'"\x1b[2J"',
    "two on a line": b'{"a":1}{"a":2}',
    "two with a blank": b"1 2",
    "comma behind": b"1,",
    "comma at the end": b'{"a":1,}',
    "comment": b"1 // one",
    "single quotes": b"{'a':1}",
    "key without quotes": b"{a:1}",
    "hexadecimal": b"0x1",
    "leading zero": b"-01",
    "no digits": b"-",
    "no exponent": b"1e",
    "UTF-16 LE": b'{\0"\0a\0"\0:\x001\0}\0',
    "UTF-16 BE": b'\0{\0"\0a\0"\0:\x001\0}',
    "UTF-16 mark": b"\xff\xfe1\0",
    "mark within": b"\xef\xbb\xbf1",
    "form feed": b"\x0c1",
    "no-break space": b"\xc2\xa01",
    "cut literal": b"nul",
    "capital": b"True",
}  # fmt: skip
EXACT = [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, -(10**4000)]


def verdict(line: bytes, reads: bool) -> tuple[str, bytes]:
    """What became of a line between two good ones, and the output."""
    out = bytearray()
    made = [steps.map(lambda record: record)] if reads else []
    report = Pipeline(b"1\n" + line + b"\n2\n", made, write(out), on_error="skip").run()
    assert out.startswith(b"1\n")
    assert out.endswith(b"\n2\n") or out == b"1\n2\n"
    assert report.balanced
    for error in report.errors:
        assert re.match(r"record 2 of <\d+ bytes> \(line 2, byte 2\): ", error)
    return ("bad" if report.skipped else "good"), bytes(out)


@pytest.mark.parametrize("name", GOOD)
def test_a_valid_text_is_valid_decoded_or_not(name: str) -> None:
    line = GOOD[name]
    assert verdict(line, reads=True)[0] == "good"
    assert verdict(line, reads=False) == ("good", b"1\n" + line + b"\n2\n")


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_text_is_invalid_decoded_or_not(name: str) -> None:
    line = BAD[name]
    assert verdict(line, reads=True) == verdict(line, reads=False) == ("bad", b"1\n2\n")


HUGE = b"[" + b"9" * 5000 + b"]"
WAYS: dict[str, Any] = {
    "copy": [],
    "limit": steps.limit(9),
    "filter": steps.filter(lambda r: True),
    "tap": steps.tap(lambda r: None),
    "filter and limit": [steps.filter(lambda r: True), steps.limit(9)],
    "workers": steps.filter(lambda r: True, workers=2),
    "map": steps.map(lambda r: r),
    "map with workers": steps.map(lambda r: r, workers=2),
}
READING = [way for way in WAYS if way not in ("copy", "limit")]


def outcome_of(line: bytes, way: str) -> tuple[bytes, list[str]]:
    """What comes of a line between two good ones, and what is said of skipped records."""
    out = bytearray()
    data = b"1\n" + line + b"\n2\n"
    report = Pipeline(data, WAYS[way], write(out), on_error="skip").run()
    return bytes(out), report.errors


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", ["1e999", "-1e999", "1E+400", "1e99999999999", "0.1e400"])
def test_a_number_beyond_the_range_of_a_double_is_valid_and_keeps_its_text(
    number: str, way: str
) -> None:
    line = b'{"x": %s}' % number.encode()
    out, errors = outcome_of(line, way)
    if "map" in way:  # the infinity that it is for a step has no JSON
        assert (out, len(errors)) == (b"1\n2\n", 1)
        assert "JSON cannot hold NaN or an infinity" in errors[0]
    else:
        assert (out, errors) == (b"1\n" + line + b"\n2\n", [])
    (value,) = read(line)
    assert value["x"] == float(number)


@pytest.mark.parametrize("way", WAYS)
def test_an_integer_beyond_the_limit_of_python_fails_where_a_step_reads_it(way: str) -> None:
    out, errors = outcome_of(HUGE, way)
    if way in READING:
        assert (out, len(errors)) == (b"1\n2\n", 1)
        assert "record 2 of " in errors[0]
        assert "more than 4,300 digits" in errors[0]
    else:
        assert (out, errors) == (b"1\n" + HUGE + b"\n2\n", [])


signs = st.sampled_from(["", "-"])
whole = st.sampled_from(["0", "1", "12", "9" * 18, "9" * 19, "1" + "0" * 30, "7" * 400, "00", ""])
fractions = st.sampled_from(["", ".0", ".10", "." + "3" * 30, "."])
exponents = st.sampled_from(["", "e0", "E5", "e-400", "e400", "e+999", "e999999999999", "e", "e+"])
numbers_as_text = st.builds("".join, st.tuples(signs, whole, fractions, exponents))


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers_as_text, min_size=1, max_size=4))
def test_what_is_valid_depends_on_no_way(numbers: list[str]) -> None:
    lines = [b'{"x":[%s]}' % number.encode() for number in numbers]
    valid = [line for line in lines if is_json(line)]
    for way in ("copy", "filter", "tap", "filter and limit", "workers"):
        out = bytearray()
        Pipeline(b"\n".join(lines), WAYS[way], write(out), on_error="skip").run()
        assert out.splitlines() == valid, way
    made: list[Any] = []
    Pipeline(b"\n".join(lines), WAYS["map"], made, on_error="skip").run()
    assert made == [json.loads(line) for line in valid]


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def at_depth(frames: int, function: Any) -> Any:
    return at_depth(frames - 1, function) if frames else function()


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("frames", [0, 400, 800])
@pytest.mark.parametrize("name", ["500 arrays", "500 objects", "501 arrays", "100,000 opened"])
def test_nesting_is_judged_the_same_on_any_stack(name: str, frames: int, reads: bool) -> None:
    line = (GOOD | BAD)[name]
    found = at_depth(frames, lambda: verdict(line, reads))
    assert found[0] == ("good" if name in GOOD else "bad")


@pytest.mark.parametrize("value", EXACT, ids=lambda value: f"{str(value)[:20]}_{len(str(value))}")
def test_integers_of_any_size_are_exact_both_ways(value: int) -> None:
    text = json_text.encode({"a": [value]})
    assert text == b'{"a":[%d]}' % value
    assert json_text.decode(text) == {"a": [value]}
    out = bytearray()
    Pipeline(text, [steps.map(lambda r: {"a": [r["a"][0] + 1]})], write(out)).run()
    assert out == b'{"a":[%d]}\n' % (value + 1)


@pytest.mark.parametrize("depth", [253, 254, 255, 300, 499, 500])
@pytest.mark.parametrize("frames", [0, 800])
def test_deep_values_encode_and_decode(depth: int, frames: int) -> None:
    value: Any = [] if depth % 2 else {}
    for _ in range(depth - 1):
        value = {"a": value}
    text = at_depth(frames, lambda: json_text.encode(value))
    assert nesting.depth(text) == depth
    again = at_depth(frames, lambda: json_text.encode(json_text.decode(text)))
    assert again == text


def test_what_is_written_is_never_too_deep_to_be_read() -> None:
    value: Any = 1
    for _ in range(501):
        value = [value]
    with pytest.raises(BadRecord):
        json_text.encode(value)


@dataclasses.dataclass
class Point:
    """A value of a class of the user's own."""

    x: Any
    y: Any = None


class Color(enum.Enum):
    """A choice whose value JSON cannot hold."""

    LOST = math.nan


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


UNENCODABLE = {
    "NaN": math.nan,
    "infinity": {"a": [math.inf]},
    "-infinity": [None, -math.inf],
    "NaN in a tuple": (1, math.nan),
    "NaN in a data class": [Point(math.nan)],
    "NaN in an enumeration": Color.LOST,
    "NaN beside a large integer": [2**70, math.nan],
    "NaN in a data class beside a large integer": [2**70, Point(math.nan)],
    "set": {"a": {1}},
    "set beside a large integer": [2**70, {1}],
    "bytes": b"a",
    "complex": 1j,
    "half a pair": "\ud800",
    "half a pair in a key": {"\udfff": 1},
    "half a pair beside a large integer": [2**70, "\ud800"],
    "key that is no text": {1: 2},
    "circle": circular(),
    "object": object(),
    "5000 digits": 10**5000,
}


@pytest.mark.parametrize("name", UNENCODABLE)
def test_a_step_that_makes_what_json_cannot_hold_fails_or_is_skipped(name: str) -> None:
    made = [steps.map(lambda n: UNENCODABLE[name] if n == 2 else n)]
    with pytest.raises(BadRecord) as caught:
        Pipeline(b"1\n2\n3\n", made, write(bytearray())).run()
    assert any("record 2 of <6 bytes> (line 2, byte 2)" in note for note in caught.value.__notes__)
    out = bytearray()
    report = Pipeline(b"1\n2\n3\n", made, write(out), on_error="skip").run()
    assert (bytes(out), report.skipped, report.balanced) == (b"1\n3\n", 1, True)


@pytest.mark.parametrize("beside", [1, 2**70])
def test_a_key_that_is_no_text_is_an_error_beside_any_integer(beside: int) -> None:
    with pytest.raises(BadRecord):
        json_text.encode({"a": beside, 1: 2})


@pytest.mark.parametrize("beside", [1, 2**70])
def test_dates_and_data_classes_encode_beside_any_integer(beside: int) -> None:
    day = datetime.date(2026, 11, 24)
    number = uuid.UUID(int=7)
    text = json_text.encode([beside, day, number, Point(1)])
    assert json_text.decode(text) == [beside, "2026-11-24", str(number), {"x": 1, "y": None}]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("aé\n\0😀"), inner),
    max_leaves=25,
)


@settings(max_examples=500)
@given(values)
def test_whatever_decodes_encodes_again(value: Any) -> None:
    text = json_text.encode(value)
    assert b"\n" not in text
    again = json_text.decode(text)
    assert again == value
    assert json_text.encode(again) == text


@settings(max_examples=300)
@given(st.lists(values, max_size=5))
def test_records_come_back_as_they_were_written(records: list[Any]) -> None:
    out = bytearray()
    with write(out) as sink:
        sink.write_all(records)
    assert list(read(bytes(out))) == records
