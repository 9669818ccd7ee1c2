"""The compiled kernel and its plain form: one verdict; and a run without the kernel."""

from __future__ import annotations

import dataclasses
import enum
import gzip
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from operator import length_hint
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import SAMPLE, extension
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paipa_etl import BadRecord
from paipa_etl.formats import json_text
from paipa_etl.formats.kernels import _scan_python

scan = extension("paipa_etl.formats.kernels._scan")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('aé😀\\"', max_size=9), inner)
    ),
    max_leaves=12,
)
lines = st.builds(
    lambda value, ascii, indent: json.dumps(value, ensure_ascii=ascii, separators=indent).encode(),
    values,
    st.booleans(),
    st.sampled_from([(",", ":"), (" , ", "\t:\r")]),
)
TOKENS = b'" \\ { } [ ] , : 0 1 - + . e E t true null NaN \\u \\ud83d \\ude00 \\udc00 \\x'.split()
RAW = [b" ", b"\n", b"\r", b"\t", b"\0", b"\x1f", b"\x7f", b"\xc3", b"\xa9", b"\xed\xa0\x80"]
RAW += [b"\xf4\x90\x80\x80", b"\xf0\x9f\x98\x80", b"\xe0\x80\x80", b"\xc0\x80", b"\xff"]
changes = st.tuples(
    st.integers(0, 9999),
    st.integers(0, 2),
    st.sampled_from([*TOKENS, *RAW]) | st.binary(max_size=2),
)


def mutated(texts: list[bytes], made: list[tuple[int, int, bytes]]) -> bytes:
    """The texts as lines, with some bytes left out and others put in their place."""
    block = bytearray(b"\n".join([*texts, b""]))
    for at, gone, new in made:
        at %= len(block) + 1
        block[at : at + gone] = new
    return bytes(block)


@settings(max_examples=800)
@given(st.lists(lines, max_size=4), st.lists(changes, max_size=3))
def test_what_the_kernel_accepts_the_plain_form_accepts(
    texts: list[bytes], made: list[tuple[int, int, bytes]]
) -> None:
    block = mutated(texts, made)
    count = scan.count_valid(block)
    assert count in (-1, _scan_python.count_valid(block))


@settings(max_examples=500)
@given(st.lists(st.sampled_from([*TOKENS, *RAW]), max_size=12).map(b"".join))
def test_any_bytes_have_the_same_verdict(block: bytes) -> None:
    count = scan.count_valid(block)
    assert count in (-1, _scan_python.count_valid(block))


@given(st.lists(lines))
def test_valid_lines_are_accepted_and_counted(texts: list[bytes]) -> None:
    for block in (b"\n".join(texts), mutated(texts, [])):
        assert scan.count_valid(block) == _scan_python.count_valid(block) == len(texts)


@given(lines)
def test_a_text_that_is_cut_never_makes_the_kernel_read_on(text: bytes) -> None:
    for end in range(len(text)):
        count = scan.count_valid(text[:end])
        assert count in (-1, _scan_python.count_valid(text[:end]))


@pytest.mark.parametrize("width", range(1, 20))
@pytest.mark.parametrize("special", [b"\x01", b"\x1f", b"\n", b"\x80", b"\xff", b'"', b"\\"])
def test_a_bad_byte_is_seen_at_any_place_of_a_string(width: int, special: bytes) -> None:
    for at in range(width):
        text = b'"' + b"x" * at + special + b"y" * (width - at) + b'"'
        assert scan.count_valid(text) == _scan_python.count_valid(text) == -1


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize(("depth", "count"), [(499, 1), (500, 1), (501, -1), (100_000, -1)])
def test_both_forms_allow_five_hundred_levels(opening: bytes, depth: int, count: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    text = opening * depth + b"1" + closing * depth
    assert scan.count_valid(text) == _scan_python.count_valid(text) == count


@dataclasses.dataclass
class Holder:
    """A value of a class of its own, as the encoder takes it."""

    held: Any


def choice(value: Any) -> enum.Enum:
    return enum.Enum("Choice", {"ONE": value})["ONE"]


class Floats(list[float]):
    """A list of a class of its own."""


numbers = scalars | st.floats()
WRAPS: list[Callable[[Any], Any]] = [
    lambda v: [v],
    lambda v: (v, 1),
    lambda v: {"a": v},
    lambda v: Floats([v]),
    Holder,
    choice,
]


@settings(max_examples=500)
@given(numbers, st.lists(st.sampled_from(WRAPS), max_size=6))
def test_both_forms_find_the_same_values_finite(number: Any, wraps: list[Any]) -> None:
    value = number
    for wrap in wraps:
        value = [1.5, wrap(value), None]
    finite = not isinstance(number, float) or math.isfinite(number)
    assert scan.is_finite(value) == _scan_python.is_finite(value) == finite


@given(st.lists(st.sampled_from([b"n", b"u", b"l", b"ll", b"null", b"x", b"12", b"x" * 9])))
@example([b"nul"])
@example([b"x", b"null"])
@example([b"xx", b"null"])
@example([b"xxx", b"null"])
@example([b"x" * 14, b"null"])
@example([b"x" * 15, b"null"])
@example([b"null", b"x" * 40])
def test_null_is_found_wherever_it_stands(parts: list[bytes]) -> None:
    line = b"".join(parts)
    found = scan.holds_nan(line, math.nan)
    assert _scan_python.holds_nan(line, math.nan) == (b"null" in line)
    if b"null" in line or b"ull" not in line:  # with "ull" alone, the value alone decides
        assert found == (b"null" in line)
    assert not scan.holds_nan(line, 1.0)


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([b"", b"x", b"-", b".", b" xxxx"]))))
@example([(18, b"x"), (19, b"")])
def test_a_long_number_is_found_wherever_it_stands(parts: list[tuple[int, bytes]]) -> None:
    block = b"".join(b"7" * digits + tail for digits, tail in parts)
    rows = re.findall(rb"(?<![.0-9])[0-9]+", block)
    longest = max(map(len, rows), default=0)
    assert scan.needs_care(block) == _scan_python.needs_care(block) == (longest >= 19)


@pytest.mark.parametrize("lead", range(20))
@pytest.mark.parametrize("digits", [18, 19, 20])
def test_a_long_number_is_found_at_every_place(lead: int, digits: int) -> None:
    block = b"x" * lead + b"9" * digits + b"x"
    assert scan.needs_care(block) == (digits >= 19)


digits = st.integers(15, 24).map(lambda count: "7" * count)
texts_with_digits = st.lists(
    st.lists(digits | st.sampled_from(['"', "\\", "x", "\\\\", "[" * 40, " "]), max_size=6).map(
        "".join
    )
    | digits.map(int)
    | st.sampled_from([1, 2.5, None, 0.0048610710708540017]),
    max_size=6,
)


@settings(max_examples=500)
@given(st.lists(texts_with_digits, max_size=5))
def test_digits_in_strings_need_no_care(values: list[Any]) -> None:
    block = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    long = any(type(n) is int and len(str(n)) >= 19 for value in values for n in value)
    assert scan.needs_care(block) == _scan_python.needs_care(block) == long


def nested(depth: int, width: int) -> str:
    """A text of this depth, before which so many brackets stand in a string."""
    return f'["{"[" * width}",{"[" * (depth - 1)}{"]" * (depth - 1)}]'


@pytest.mark.parametrize("width", [0, 600])
@pytest.mark.parametrize(("depth", "deep"), [(499, False), (500, False), (501, True), (3000, True)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_only_what_nests_too_deep_needs_care(
    depth: int, deep: bool, width: int, place: int
) -> None:
    lines = ["[" + "[]," * 600 + "1]"] * 3  # many brackets, none of them deep
    lines[place] = nested(depth, width)
    for end in ("", "\n"):
        block = ("\n".join(lines) + end).encode()
        assert scan.needs_care(block) == _scan_python.needs_care(block) == deep


@given(st.lists(st.integers(0, 1500), max_size=30), st.integers(0, 30), st.integers(495, 505))
def test_a_deep_line_is_found_among_lines_of_any_length(
    lengths: list[int], place: int, depth: int
) -> None:
    lines = [b"7" * 3 + b" " * length for length in lengths]
    lines.insert(place, nested(depth, 0).encode())
    block = b"\n".join(lines)
    assert scan.needs_care(block) == _scan_python.needs_care(block) == (depth > 500)


def test_a_line_of_many_long_texts_of_digits_is_looked_at_once() -> None:
    line = json.dumps(["7" * 40] * 50_000).encode()
    began = time.thread_time()
    assert not scan.needs_care(line)
    once = time.thread_time() - began
    assert once < 1  # a look from the start of the line for each text takes a minute


@given(scalars | st.lists(scalars) | st.floats())
def test_both_forms_give_the_line_that_the_encoder_gives(value: Any) -> None:
    for form in (scan, _scan_python):
        encode = form.LineEncoder(orjson.dumps, orjson.OPT_APPEND_NEWLINE, json_text.encode_line)
        try:
            wanted = json_text.encode_line(value)
        except BadRecord:
            with pytest.raises(BadRecord):
                encode(value)
        else:
            assert encode(value) == wanted


@given(st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line)), st.booleans())
def test_both_forms_give_the_lines(lines: list[bytes], is_ended: bool) -> None:
    data = b"\n".join([*lines, b""] if is_ended else lines)
    wanted = _scan_python.Lines(data)
    found = scan.Lines(data)
    assert list(found) == wanted
    assert len(found) == len(wanted)
    assert [found[index] for index in range(len(found))] == wanted
    rest = iter(found)
    for number in range(len(wanted)):
        assert length_hint(rest) == len(wanted) - number
        assert next(rest) == wanted[number]
    assert next(rest, None) is None
    assert next(rest, None) is None


def test_newlines_are_counted_in_blocks_of_any_size() -> None:
    for size in (0, 1, 4079, 4080, 4081, 100_000):
        assert len(scan.Lines(b"\n" * size)) == size
        assert len(scan.Lines(b"\n" * size + b"x")) == size + 1


PLAIN = """
import sys
sys.modules["paipa_etl.formats.kernels._scan"] = None
from paipa_etl.cli.main import main
from paipa_etl.formats import json_text, kernels
from paipa_etl.formats.kernels import _scan_python
assert kernels.count_valid is _scan_python.count_valid
assert json_text.holds_nan is _scan_python.holds_nan
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [[], ["--map", "lambda r: r"]], ids=["copy", "map"])
def test_a_run_without_the_kernel_gives_the_same_bytes(
    words: list[str], paipa: Callable[..., Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PLAIN, str(SAMPLE), "plain.jsonl", *words]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert paipa(SAMPLE, "kernel.jsonl", *words).returncode == 0
    plain = (tmp_path / "plain.jsonl").read_bytes()
    assert plain == (tmp_path / "kernel.jsonl").read_bytes()
    if not words:
        assert plain == gzip.decompress(SAMPLE.read_bytes())


def test_a_run_without_the_kernel_refuses_the_same_record(
    paipa: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b"1\n[1,]\n")
    command = [sys.executable, "-c", PLAIN, "bad.jsonl", "out.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    usual = paipa("bad.jsonl", "out.jsonl")
    assert (done.returncode, done.stderr) == (usual.returncode, usual.stderr)
    assert b"record 2" in done.stderr
