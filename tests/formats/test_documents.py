"""JSON documents: the same values, places and errors, however the bytes come; bytes stay."""

from __future__ import annotations

import json
import tracemalloc
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, extension
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import Pieces, of_size, split

from paipa_etl import BadRecord, Pipeline, formats, read, steps, write
from paipa_etl.errors import BrokenInput
from paipa_etl.formats.kernels import _document_python as plain
from paipa_etl.formats.kernels import _scan_python

compiled: Any = extension("paipa_etl.formats.kernels._document")
scan: Any = extension("paipa_etl.formats.kernels._scan")

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
INDENTS = st.sampled_from([None, 0, 2])
TOKENS = [*'{}[],:"\\ \n\r\t', "1", "-0.5e3", "true", "nul", "a", "\\u00", "\u20ac"]
TEXTS = st.lists(st.sampled_from(TOKENS), max_size=30).map("".join).map(str.encode)


def spelled(values: list[Any], indent: int | None, array: bool) -> bytes:
    """A document of the values: an array, or the values one after the other."""
    if array:
        return json.dumps(values, indent=indent, ensure_ascii=False).encode()
    return "\n".join(json.dumps(value, indent=indent) for value in values if value != []).encode()


def scanned(form: Any, pieces: list[bytes]) -> Any:
    """All that a scanner tells of an input."""
    scanner, found, error = form.Scanner(), [], None
    try:
        for piece in pieces:
            scanner.feed(piece)
            found.append((scanner.at, scanner.begun, scanner.inside, scanner.waiting))
        scanner.finish()
    except form.BrokenDocument as broken:
        error = (broken.problem, broken.at, broken.goes_on)
    inside, first = scanner.first_inside, scanner.first if scanner.waiting else None
    tape = scanner.take()
    return found, error, inside, first, list(tape.starts), list(tape.ends), tape.deepest


@settings(deadline=None)
@given(TEXTS, st.lists(st.integers(0, 60), max_size=4))
def test_both_forms_find_the_same_values_and_errors(data: bytes, cuts: list[int]) -> None:
    pieces = split(data, sorted(cut for cut in cuts if cut <= len(data)))
    found = scanned(plain, pieces)
    assert scanned(compiled, pieces) == found
    assert scanned(plain, [data])[1:] == found[1:], "the same, wherever it is cut"
    starts, ends = array("q", found[4]), array("q", found[5])
    if starts:
        data = data[found[3] :]
        for name in ("values_of", "lines_of_values"):
            one, other = getattr(plain, name), getattr(compiled, name)
            assert one(data, starts, ends) == other(data, starts, ends)
        assert list(map(plain.compact, plain.values_of(data, starts, ends))) == list(
            map(compiled.compact, plain.values_of(data, starts, ends))
        )
        count = scan.count_valid_values(data, starts, ends)
        assert count == _scan_python.count_valid_values(data, starts, ends)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), INDENTS, st.booleans(), st.integers(1, 9))
def test_the_records_of_a_document_are_its_values(
    values: list[Any], indent: int | None, array: bool, width: int
) -> None:
    values = values if array else [value for value in values if not isinstance(value, list)]
    data = spelled(values, indent, array)
    assert list(read(Pieces(of_size(data, width)), from_="json")) == values


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), INDENTS)
def test_a_copy_to_lines_and_back_changes_white_space_only(
    values: list[Any], indent: int | None
) -> None:
    lines, again = bytearray(), bytearray()
    data = spelled(values, indent, array=True)
    Pipeline(read(data, from_="json"), sink=write(lines, to="jsonl")).run()
    assert [json.loads(line) for line in lines.splitlines()] == values
    assert lines.count(b"\n") == len(values)
    Pipeline(read(bytes(lines), from_="jsonl"), sink=write(again, to="json")).run()
    assert json.loads(again) == values


SPELLED = [
    b"1.10",
    b"-0",
    b"1e999",
    b"123456789012345678901234567890.0",
    b'"\\u0041\\/"',
    b'{"a":1,"a":2}',
]


@pytest.mark.parametrize(
    "made", [[], [steps.filter(bool)], [steps.skip(0)], [steps.filter(bool, workers=2)]]
)
def test_untouched_records_keep_their_spelling(made: Any) -> None:
    raws = [raw for raw in SPELLED if not made or raw != b"-0"]
    data = b"[" + b" ,\n".join(raws) + b"]"
    lines, document = bytearray(), bytearray()
    Pipeline(read(data, from_="json"), made, write(lines, to="jsonl")).run()
    assert lines == b"".join(raw + b"\n" for raw in raws)
    Pipeline(read(bytes(lines), from_="jsonl"), made, write(document, to="json")).run()
    assert document == b"[" + b",\n".join(raws) + b"]\n"
    Pipeline(read(data, from_="json"), made, write(lines, to="jsonl")).run()


def test_a_value_on_one_line_keeps_its_white_space() -> None:
    out = bytearray()
    Pipeline(
        read(b'[{"a": 1, "b" :[ ]},\n{"c":\n2}]', from_="json"), sink=write(out, to="jsonl")
    ).run()
    assert out == b'{"a": 1, "b" :[ ]}\n{"c":2}\n'


# Broken documents and bad records

BROKEN = {
    b"[1, 2 3]": (1, 6, "a comma or ] is missing"),
    b"[1,\n2,]": (2, 6, "] stands where a value begins"),
    b"[1\n, 2": (2, 6, "the input ends in an array"),
    b'{"a": 1}\n{"b": [2}]': (2, 17, "} stands where [ is to be closed"),
    b'[1, "text': (1, 9, "the input ends in a string"),
    b"[1] ]": (1, 4, "] stands where a value begins"),
    b"1, 2": (1, 1, ", stands where a value begins"),
}


@pytest.mark.parametrize("policy", ["fail", "skip"])
@pytest.mark.parametrize("data", BROKEN)
def test_what_is_broken_ends_the_run_whatever_the_policy(
    data: bytes, policy: str, tmp_path: Path
) -> None:
    line, byte, problem = BROKEN[data]
    (tmp_path / "in.json").write_bytes(data)
    (tmp_path / "out.jsonl").write_bytes(b"before")
    plan = Pipeline(tmp_path / "in.json", [], tmp_path / "out.jsonl", policy)
    with pytest.raises(BrokenInput) as caught:
        plan.run()
    assert (caught.value.line, caught.value.byte) == (line, byte)
    assert problem in str(caught.value)
    assert str(tmp_path / "in.json") in str(caught.value)
    assert (tmp_path / "out.jsonl").read_bytes() == b"before"


def test_the_records_before_what_is_broken_come_first() -> None:
    seen: list[Any] = []

    def pull() -> None:
        for record in read(b'[1, {"a": 2} 3]', from_="json"):
            seen.append(record)

    with pytest.raises(BrokenInput):
        pull()
    assert seen == [1, {"a": 2}]


BAD = [
    b"tru",
    b'{"a" 1}',
    b'"\xff"',
    b'"\\ud800"',
    b"01",
    b'"a\nb"',
    b"[" * 501 + b"]" * 501,
    b'{"a":\n' * 501 + b"1" + b"}" * 501,
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    "made", [[], [steps.map(lambda record: record)], [steps.filter(lambda r: True)]]
)
def test_a_bad_record_takes_no_neighbour(bad: bytes, made: Any) -> None:
    data = b"[1,\n" + bad + b",\n2]"
    out = bytearray()
    report = Pipeline(read(data, from_="json"), made, write(out, to="jsonl"), "skip").run()
    assert (bytes(out), report.read, report.skipped) == (b"1\n2\n", 3, 1)
    with pytest.raises(BadRecord, match=r"record 2 of .*\(line 2, byte 4\)"):
        Pipeline(read(data, from_="json"), made, write(bytearray(), to="jsonl")).run()


def test_a_record_that_is_too_long_takes_no_neighbour_and_no_memory() -> None:
    """Its rest is passed over, and the places behind it are right."""

    def pieces() -> Iterator[bytes]:
        yield b"[1,\n"
        yield b'{"long": "' + b"x" * 1_000
        for _ in range(200):
            yield b"\\n" * 50_000 + b"\n"
        yield b'"},\n{"a": tru},\n2]'

    out = bytearray()
    source = read(Pieces(list(pieces())), from_="json", max_record=100_000)
    tracemalloc.start()
    try:
        report = Pipeline(source, [], write(out, to="jsonl"), "skip").run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out == b"1\n2\n"
    assert report.skipped == 2
    assert "record 2 of" in report.errors[0]
    assert "(line 2, byte 4)" in report.errors[0]
    assert "(line 203, byte" in report.errors[1]
    assert peak < 2_000_000


def test_white_space_between_values_takes_no_memory() -> None:
    data = [b"[1,", *[b" \n" * 100_000] * 50, b"x]"]
    source = read(Pieces(data), from_="json")
    tracemalloc.start()
    try:
        with pytest.raises(BadRecord, match=r"line 5,000,001"):
            list(source)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


# The command


def test_an_output_without_records_is_an_empty_array(paipa: Command, tmp_path: Path) -> None:
    for data in ("", "[]", " [ ]\n[]"):
        (tmp_path / "in.json").write_text(data)
        assert paipa("in.json", "out.json").returncode == 0
        assert (tmp_path / "out.json").read_text() == "[]\n"


DOCUMENTS = [b'[\n  {"a": 1},\n  {"b": 2}\n]', b'{\n  "a": 1\n}', b'{"a": 1} {"b": 2}', b"1 2 3"]


@pytest.mark.parametrize("data", DOCUMENTS)
@pytest.mark.parametrize("options", [(), ("--map", "lambda r: r")])
def test_a_document_that_is_read_as_lines_is_named(
    data: bytes, options: tuple[str, ...], paipa: Command, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(data)
    done = paipa("in.jsonl", "out.jsonl", *options)
    assert done.returncode == 1
    assert b"on the command line: -f json)" in done.stderr
    assert paipa("in.jsonl", "out.jsonl", "-f", "json").returncode == 0


def test_a_bad_line_is_no_document(paipa: Command) -> None:
    for data in (b'{"a": tru}\n', b'{"a": "cut', b"word\n", b'{"a": 1]\n'):
        done = paipa(input=data)
        assert done.returncode == 1
        assert b"-f json" not in done.stderr


PAIRS = [(one, other) for one in ("jsonl", "json", "lines") for other in ("jsonl", "json", "lines")]


@pytest.mark.parametrize("names", PAIRS)
@pytest.mark.parametrize("made", [[], [steps.tap(lambda record: None)]])
def test_any_format_becomes_any_other(names: tuple[str, str], made: Any) -> None:
    assert {name for pair in PAIRS for name in pair} <= {one.name for one in formats.registered()}
    one, other = names
    records = ["a text", '\u20ac \\ "quoted"', ""]
    first, second, third = bytearray(), bytearray(), bytearray()
    Pipeline(records, [], write(first, to=one)).run()
    Pipeline(read(bytes(first), from_=one), made, write(second, to=other)).run()
    Pipeline(read(bytes(second), from_=other), made, write(third, to=one)).run()
    assert list(read(bytes(second), from_=other)) == records
    assert third == first
