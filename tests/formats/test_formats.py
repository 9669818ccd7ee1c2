"""Cutting into records: the same ones for any pieces, each with its place, none too long."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import Pieces, split

from paipa_etl import BadRecord, Pipeline, read, steps, write
from paipa_etl.formats import by_name
from paipa_etl.formats.line_reader import LineReader, split_lines
from paipa_etl.records.blocks import Block, Limits

BOM = b"\xef\xbb\xbf"
LINES = [b"1", b"  ", b'"two"', b"", b'{"three":3}\r', b"nothing", b'"\xc3\xa9"', b"[", b"9"]


def cut(pieces: list[bytes], max_record: int, size: int) -> list[Block]:
    return list(LineReader(Limits(max_record, size)).cut(pieces))


def plain_lines(data: bytes) -> list[bytes]:
    lines = data.removeprefix(BOM).split(b"\n")
    return lines if lines[-1] else lines[:-1]


tokens = st.sampled_from([b"\n", b"\r\n", b" ", BOM, b"\xe2\x80\xa8", b"\xc2\x85", b"\0", b"1"])
streams = st.lists(tokens | st.binary(max_size=20), max_size=30).map(b"".join)
splits = st.lists(st.integers(0, 1000), max_size=30)


@settings(max_examples=500)
@given(streams, splits, st.integers(1, 64))
def test_any_pieces_give_the_same_records(data: bytes, at: list[int], size: int) -> None:
    blocks = [block for block in cut(split(data, at), 10_000, size) if block.data]
    assert [line for block in blocks for line in split_lines(block.data)] == plain_lines(data)
    for block in blocks:
        offset = block.position.offset
        assert data[offset : offset + len(block.data)] == block.data


@settings(max_examples=500)
@given(streams, splits, st.integers(1, 40))
def test_a_record_is_too_long_in_any_pieces_or_in_none(
    data: bytes, at: list[int], limit: int
) -> None:
    data = data.replace(BOM, b"")  # has a test of its own
    kept, places, offset = [], [], 0
    for block in cut(split(data, at), limit, 1 << 17):
        if block.oversize:
            places.append(block.position.offset)
        kept += [] if block.oversize else split_lines(block.data)
    assert kept == [line for line in plain_lines(data) if len(line) <= limit]
    expected = []
    for line in plain_lines(data):
        expected += [offset] if len(line) > limit else []
        offset += len(line) + 1
    assert places == expected


@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_offsets_of_records_seek_to_their_lines(size: int, ending: bytes) -> None:
    data = BOM + ending.join(LINES)
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    decoder = by_name("jsonl").decoder(None)
    for block in cut(pieces, 100, 10):
        lines = [line for line in split_lines(block.data) if line.strip(b" \t\r")]
        for start, line in zip(decoder.starts(block), lines, strict=True):
            assert data[block.position.offset + start :].startswith(line)


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("reads", [True, False])
def test_the_most_bytes_of_a_record_are_exact(end: bytes, size: int, reads: bool) -> None:
    for text, good in ((b'"345678"', True), (b'"3456789"', False)):
        data = b"1\n" + text + b"\n" + text + b"\n2" + end
        out, report = skipping(data, size, reads, max_record=8)
        assert report.skipped == (0 if good else 2)
        assert out == (data.rstrip(b"\n") + b"\n" if good else b"1\n2\n")


def skipping(data: bytes, size: int, reads: bool, **options: Any) -> tuple[bytes, Any]:
    out = bytearray()
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    made = [steps.map(lambda r: r)] if reads else []
    source = read(Pieces(pieces), **options)
    return out, Pipeline(source, made, write(out), on_error="skip").run()


def test_a_record_that_is_too_long_says_so_and_where() -> None:
    for size in (1, 4, 100):
        pieces = [b"1\n" + b"x" * 200 + b"\n"]
        source = read(Pieces(split(pieces[0], list(range(0, 202, size)))), max_record=100)
        with pytest.raises(
            BadRecord, match=r"record 2 of <Pieces> \(line 2, byte 2\): longer than the 100"
        ):
            list(source)


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_long_record_that_begins_with_blanks_says_where_it_is(size: int) -> None:
    data = b"1\n" + b" " * 2000 + b"1\n"
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    with pytest.raises(BadRecord, match=r"record 2 of .*\(line 2, byte 2\)"):
        list(read(Pieces(pieces), max_record=100))


def test_a_byte_order_mark_is_no_byte_of_the_first_record() -> None:
    assert list(read(BOM + b"12345\n12345\n", max_record=5)) == [12345, 12345]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_byte_order_mark_is_left_out_once_in_each_input(size: int) -> None:
    data = BOM + b"1\n2\n"
    inputs = [Pieces(split(data, list(range(0, 7, size)))) for _ in range(2)]
    assert list(read(*inputs)) == [1, 2, 1, 2]
    for bad in (BOM + data, data + BOM + b"3\n"):
        with pytest.raises(BadRecord):
            list(read(bad))
    assert list(read(BOM)) == []
    assert list(read(BOM + BOM + b"a", from_="txt")) == ["\ufeffa"]


def test_carriage_returns_end_lines_with_the_newline_only() -> None:
    assert list(read(b'1\r\n"a"\r\n')) == [1, "a"]
    assert list(read(b"a\r\nb\rc\r\n", from_="txt")) == ["a", "b\rc"]
    assert list(read(b"a\r\nb\rc\r\n", from_="bytes")) == [b"a", b"b\rc"]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x1c", "\x0b", "\x0c"])
def test_only_a_newline_ends_a_record(mark: str) -> None:
    assert list(read(f"a{mark}b\n".encode(), from_="txt")) == [f"a{mark}b"]
    if mark >= "\x20":
        assert list(read(f'"a{mark}b"\n'.encode())) == [f"a{mark}b"]


@pytest.mark.parametrize("made", [[], [steps.map(lambda r: r)]], ids=["raw", "decoded"])
@pytest.mark.parametrize("format", ["jsonl", "txt", "bytes"])
def test_inputs_without_a_final_newline_are_not_glued(made: list[Any], format: str) -> None:
    out = bytearray()
    report = Pipeline(
        read(b"1", b"2\n", b"", b"3", from_=format), made, write(out, to=format)
    ).run()
    assert out == b"1\n2\n3\n"
    assert report.read == 3


def test_blank_lines_are_records_of_lines_and_none_of_jsonl() -> None:
    data = b"\n1\n \t\r\n\n2\n\n"
    assert list(read(data)) == [1, 2]
    assert list(read(data, from_="txt")) == ["", "1", " \t", "", "2", ""]


@settings(max_examples=200)
@given(splits, st.booleans())
def test_every_error_names_a_place_that_seeks_to_its_line(at: list[int], reads: bool) -> None:
    data = BOM + b"\n".join(LINES)
    made = [steps.map(lambda r: r)] if reads else []
    source = read(Pieces(split(data, at)))
    report = Pipeline(source, made, write(bytearray()), on_error="skip").run()
    pattern = r"record (\d+) of <Pieces> \(line (\d+), byte (\d+)\): "
    places = [re.match(pattern, error) for error in report.errors]
    assert [(int(place[1]), int(place[2])) for place in places if place] == [(4, 6), (6, 8)]
    offsets = [int(place[3]) for place in places if place]
    assert [data[n:].split(b"\n")[0] for n in offsets] == [b"nothing", b"["]


def test_an_error_far_into_a_file_names_its_place(tmp_path: Any) -> None:
    path = tmp_path / "far.jsonl"
    lines = [b'{"n":%d}' % n if n % 3 else b"" for n in range(60_000)]
    lines[50_000] = b"nothing"
    data = b"\n".join(lines)
    path.write_bytes(data)
    number = sum(1 for line in lines[:50_000] if line) + 1
    for source in (read(path), read(path) | steps.filter(lambda r: True)):
        with pytest.raises(BadRecord) as caught:
            Pipeline(source, [], write(bytearray())).run()
        place = f"record {number:,} of {path} (line 50,001, byte {data.index(b'nothing'):,})"
        assert str(caught.value).startswith(place)
