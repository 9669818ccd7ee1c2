"""Codecs: what was written is read, what was cut or damaged is an error that names the byte."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import (
    DamagedInput,
    PaipaError,
    Pipeline,
    PlanError,
    codecs,
    combine_pipeline,
    read,
    write,
)
from paipa_etl.codecs.members import MemberDecoder
from paipa_etl.errors import PaipaWarning

NAMES = ["gzip", "bzip2", "xz", "zstd", "lz4"]
TEXT = b"".join(b'{"number": %d, "name": "caf\xc3\xa9 %d"}\n' % (n, n * 7919) for n in range(120))


def encode(name: str, data: bytes, level: int | None = None) -> bytes:
    codec = codecs.from_suffix(name)
    assert codec
    compressor = codec.start_compressor(level)
    return compressor.compress(data) + compressor.finish()


def decode(name: str, data: bytes, trip: int = 1 << 16) -> bytes:
    codec = codecs.from_suffix(name)
    assert codec
    decoder = MemberDecoder(codec.name, codec.member, codec.padding)
    pieces = [p for n in range(0, len(data), trip) for p in decoder.feed(data[n : n + trip])]
    decoder.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trip", [1, 7, 4096, 65536])
def test_members_are_one_stream_in_any_pieces(name: str, trip: int) -> None:
    middle = len(TEXT) // 2 + TEXT[len(TEXT) // 2 :].index(b"\xa9")  # inside a character
    parts = [b"", TEXT[:middle], b"", TEXT[middle:], b""]
    assert decode(name, b"".join(encode(name, part) for part in parts), trip) == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_tiny_members(name: str) -> None:
    assert decode(name, encode(name, b"1\n") * 10_000) == b"1\n" * 10_000


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_at_any_byte_is_an_error(name: str) -> None:
    data = encode(name, TEXT)
    for end in range(len(data)):
        with pytest.raises(DamagedInput):
            decode(name, data[:end])


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_never_wrong_data(name: str) -> None:
    data = encode(name, TEXT[:400])
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert decode(name, bytes(damaged)) == TEXT[:400]
        except DamagedInput:
            continue


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tail", [b"x", b"trailing bytes", b"\xff" * 600])
def test_trailing_bytes_are_an_error(name: str, tail: bytes) -> None:
    with pytest.raises(DamagedInput):
        decode(name, encode(name, TEXT) + tail)


def test_zero_padding_after_gzip_is_accepted() -> None:
    data = encode("gzip", TEXT)
    assert decode("gzip", data + bytes(700)) == TEXT
    assert decode("gzip", data + bytes(7) + data) == TEXT * 2


def test_xz_padding_comes_in_fours() -> None:
    data = encode("xz", TEXT)
    assert decode("xz", data + bytes(8) + data) == TEXT * 2
    with pytest.raises(DamagedInput):
        decode("xz", data + bytes(3))


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_skippable_frames_are_skipped(name: str) -> None:
    frame = b"\x52\x2a\x4d\x18\x05\0\0\0abcde"
    data = frame + encode(name, TEXT) + frame
    assert decode(name, data, 3) == TEXT
    assert codecs.detect(data) is codecs.from_suffix(name)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_result_is_a_valid_file(name: str) -> None:
    assert decode(name, encode(name, b"")) == b""
    with pytest.raises(DamagedInput):
        decode(name, b"")


def test_window_bombs_are_refused() -> None:
    with pytest.raises(DamagedInput):
        decode("zstd", b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x03\0\0abc")  # a window of 2 GiB
    with pytest.raises(DamagedInput, match=r"[Mm]emory"):
        decode("xz", huge_dictionary(encode("xz", TEXT)))


def huge_dictionary(data: bytes) -> bytes:
    """An xz file whose block header asks for a dictionary of 1.5 GiB (xz format, 3.1)."""
    header = bytearray(data[12 : 12 + (data[12] + 1) * 4])
    filters = header.index(b"\x21\x01")
    header[filters + 2] = 37
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    return data[:12] + bytes(header) + data[12 + len(header) :]


def test_a_bomb_is_decoded_in_bounded_pieces() -> None:
    codec = codecs.from_suffix("gz")
    assert codec
    decoder = MemberDecoder(codec.name, codec.member, codec.padding)
    sizes = [len(piece) for piece in decoder.feed(encode("gzip", bytes(50_000_000)))]
    assert sum(sizes) == 50_000_000
    assert max(sizes) < 1_300_000


@pytest.mark.parametrize("level", range(10))
def test_gzip_is_reproducible_at_every_level(level: int) -> None:
    data = encode("gzip", TEXT, level)
    assert data == encode("gzip", TEXT, level)
    assert data[3:8] == bytes(5)  # no name, no time
    assert decode("gzip", data) == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_decoder_starts_at_the_restart_point(name: str) -> None:
    codec = codecs.from_suffix(name)
    assert codec
    data = encode(name, TEXT[:1000]) + encode(name, TEXT[1000:])
    decoder = MemberDecoder(codec.name, codec.member, codec.padding)
    list(decoder.feed(data))
    encoded, decoded = decoder.restart
    assert decode(name, data[encoded:]) == TEXT[decoded:]


def test_magic_bytes_win_over_a_name_with_one_warning(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.zst", "c"):
        path = tmp_path / name
        path.write_bytes(encode("gzip", TEXT))
        with pytest.warns(PaipaWarning) as caught:
            assert sum(1 for _ in read(path, from_="jsonl")) == 120
        assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(1 for _ in read(io.BytesIO(encode("xz", TEXT)))) == 120


def test_a_plain_file_with_a_codec_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(TEXT)
    with pytest.raises(DamagedInput, match=r"a\.jsonl\.gz.*byte 0"):
        list(read(tmp_path / "a.jsonl.gz"))


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "lz4"])
def test_a_file_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.jsonl.{suffix}"
    records = [{"n": n} for n in range(1000)]
    with write(path) as sink:
        sink.write_all(records)
    assert list(read(path)) == records
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 1])
    with pytest.raises(PaipaError):
        list(read(path))


# Through read(): what a caller sees of the same promises.

SUFFIXES = {"gzip": "gz", "bzip2": "bz2", "xz": "xz", "zstd": "zst", "lz4": "lz4"}
RECORDS = [{"number": n, "name": f"café {n * 7919}"} for n in range(120)]
NOISE = b"".join(
    b'{"n":"%s"}\n' % hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(50)
)


class Short(io.RawIOBase):
    """A file object whose read gives a few bytes, however many are asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file, self._size = io.BytesIO(data), size

    def read(self, size: int = -1) -> bytes:
        return self._file.read(self._size)


def records_of(data: object, name: str) -> list[Any]:
    return list(read(data, from_=f"jsonl.{SUFFIXES[name]}"))


def decoder_of(name: str) -> MemberDecoder:
    codec = codecs.from_suffix(name)
    assert codec
    return MemberDecoder(codec.name, codec.member, codec.padding)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 4096, 65536])
def test_short_reads_of_members_give_the_same_records(name: str, size: int) -> None:
    middle = TEXT.index(b"\xa9")  # inside a record, and inside a character of it
    data = encode(name, TEXT[:middle]) + encode(name, b"") + encode(name, TEXT[middle:])
    assert list(read(Short(data, size))) == RECORDS
    assert list(combine_pipeline(Short(data, size), [])) == RECORDS


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_members_are_ten_thousand_records(name: str) -> None:
    assert list(read(encode(name, b"1\n") * 10_000)) == [1] * 10_000


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_is_never_a_short_success(name: str) -> None:
    data = encode(name, NOISE)
    assert len(data) > 1700
    for end in range(len(data)):
        with pytest.raises(DamagedInput):
            records_of(data[:end], name)


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4"])  # the others end a stream to pause
def test_a_cut_after_a_whole_record_inside_a_frame_is_an_error(name: str) -> None:
    codec = codecs.from_suffix(name)
    assert codec
    compressor = codec.start_compressor(None)
    head = compressor.compress(TEXT) + compressor.pause()
    records = iter(read(head))
    assert [next(records) for _ in RECORDS] == RECORDS
    with pytest.raises(DamagedInput, match="cut"):
        next(records)
    assert len(list(read(head + compressor.finish()))) == 120


# What a flipped bit leaves as it was, in files of these: time, hints and text flag of a
# gzip header (3 to 9); the level and the "randomised" bit of bzip2 (3, 14); segment flag,
# window and table of zstd (4, 5, 15, 16); the last token of lz4; bits that fill a byte up.
# Everything else is an error: with no checksum, about two flips in three would be wrong data.
HARMLESS = {"gzip": 8, "bzip2": 3, "xz": 0, "zstd": 4, "lz4": 1}


@pytest.mark.parametrize("name", NAMES)
def test_few_bytes_can_be_flipped_and_the_data_stays_what_it_was(name: str) -> None:
    data = encode(name, TEXT[:600])
    harmless = {bit // 8 for bit in range(len(data) * 8) if survives(name, data, bit)}
    assert len(harmless) <= HARMLESS[name], sorted(harmless)


def survives(name: str, data: bytes, bit: int) -> bool:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        assert decode(name, bytes(damaged)) == TEXT[:600]
    except DamagedInput:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_error_of_trailing_bytes_names_the_byte(name: str) -> None:
    data = encode(name, TEXT)
    with pytest.raises(DamagedInput) as caught:
        list(read(data + b"garbage"))
    assert len(data) <= caught.value.byte <= len(data) + 7


@pytest.mark.parametrize("name", NAMES)
def test_a_second_member_that_is_cut_is_an_error(name: str) -> None:
    data = encode(name, TEXT)
    for end in range(len(data) + 1, 2 * len(data), 7):
        with pytest.raises(DamagedInput):
            records_of((data + data)[:end], name)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_no_bytes_is_not_encoded(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.jsonl.{SUFFIXES[name]}"
    path.touch()
    with pytest.raises(DamagedInput, match="0 bytes"):
        list(read(path))


@pytest.mark.parametrize("zeros", range(1, 9))
@pytest.mark.parametrize("size", [1, 4096])
def test_xz_padding_is_judged_the_same_in_any_pieces(zeros: int, size: int) -> None:
    data = encode("xz", TEXT)
    for tail, count in ((b"", 120), (data, 240)):
        file = Short(data + bytes(zeros) + tail, size)
        if zeros % 4:
            with pytest.raises(DamagedInput):
                list(read(file))
        else:
            assert len(list(read(file))) == count


@pytest.mark.parametrize("name", ["bzip2", "zstd", "lz4"])
def test_zero_bytes_behind_other_codecs_are_trailing_bytes(name: str) -> None:
    with pytest.raises(DamagedInput):
        decode(name, encode(name, TEXT) + bytes(4))


def test_zero_bytes_before_gzip_are_no_padding() -> None:
    with pytest.raises(DamagedInput):
        decode("gzip", bytes(4) + encode("gzip", TEXT))


SKIPPED = [
    b"\x50\x2a\x4d\x18\0\0\0\0",
    b"\x5f\x2a\x4d\x18\x05\0\0\0abcde",
    b"\x53\x2a\x4d\x18\x00\x02\0\0" + b"\x28\xb5\x2f\xfd" * 128,
]


@pytest.mark.parametrize("name", ["zstd", "lz4"])
@pytest.mark.parametrize("frame", SKIPPED, ids=["empty", "short", "long"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_skippable_frames_are_skipped_wherever_they_stand(
    name: str, frame: bytes, size: int
) -> None:
    whole = encode(name, TEXT)
    for data in (frame + whole, whole + frame, whole + frame + frame + whole, frame):
        expected = RECORDS * data.count(whole)
        assert records_of(Short(data, size), name) == expected


@pytest.mark.parametrize("name", ["zstd", "lz4"])
@pytest.mark.parametrize("frame", SKIPPED, ids=["empty", "short", "long"])
@pytest.mark.parametrize("size", [1, 7, 9, 4096])
def test_a_codec_behind_a_skippable_frame_is_found_in_any_pieces(
    name: str, frame: bytes, size: int
) -> None:
    assert list(read(Short(frame + encode(name, TEXT), size))) == RECORDS


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_a_cut_skippable_frame_is_an_error(name: str) -> None:
    data = encode(name, TEXT) + SKIPPED[1]
    for end in range(len(data) - len(SKIPPED[1]) + 1, len(data)):
        with pytest.raises(DamagedInput):
            decode(name, data[:end])


@pytest.mark.parametrize("name", NAMES)
def test_zeros_are_decoded_in_bounded_pieces(name: str) -> None:
    decoder = decoder_of(name)
    sizes = [len(piece) for piece in decoder.feed(encode(name, bytes(20_000_000)))]
    decoder.finish()
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= 1_300_000


def test_a_gzip_bomb_is_one_bad_record_and_the_next_is_read() -> None:
    codec = codecs.from_suffix("gz")
    assert codec
    compressor = codec.start_compressor(None)
    zeros = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(300))
    bomb = zeros + compressor.compress(b"\n2\n") + compressor.finish()
    decoder = decoder_of("gzip")
    sizes = [len(piece) for piece in decoder.feed(bomb)]
    assert sum(sizes) == 300_000_003
    assert max(sizes) <= 1_300_000
    out = bytearray()
    source = read(bomb, max_record=1 << 20)
    report = Pipeline(source, [], write(out), on_error="skip").run()
    assert (bytes(out), report.skipped) == (b"2\n", 1)


def test_a_zstd_frame_that_asks_for_two_gibibytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x03\0\0abc")
    with pytest.raises(DamagedInput, match=r"bomb\.jsonl\.zst"):
        list(read(path))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_records_give_the_same_bytes(name: str) -> None:
    assert written(name, RECORDS) == written(name, RECORDS)


def written(name: str, records: list[Any], level: int | None = None) -> bytes:
    out = bytearray()
    with write(out, to=f"jsonl.{SUFFIXES[name]}", level=level) as sink:
        sink.write_all(records)
    return bytes(out)


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("count", [0, 120])
def test_the_standard_library_reads_what_we_write(name: str, count: int) -> None:
    lines = OTHERS[name](written(name, RECORDS[:count])).splitlines()
    assert [json.loads(line) for line in lines] == RECORDS[:count]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 120])
def test_the_systems_tool_reads_what_we_write(name: str, count: int) -> None:
    if not shutil.which(name):
        pytest.skip(f"the command {name} is not installed")
    data = written(name, RECORDS[:count])
    done = subprocess.run([name, "-dc"], input=data, capture_output=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == RECORDS[:count]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_result_has_bytes_and_no_record(name: str) -> None:
    assert written(name, [])
    assert records_of(written(name, []), name) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_level_round_trips_and_no_other_is_taken(name: str, tmp_path: Path) -> None:
    codec = codecs.from_suffix(name)
    assert codec
    for level in codec.levels:
        assert decode(name, encode(name, TEXT, level)) == TEXT
    for level in (codec.levels[0] - 1, codec.levels[-1] + 1):
        with pytest.raises(PlanError, match="levels"):
            Pipeline([1], [], write(tmp_path / f"x.{SUFFIXES[name]}", level=level)).run()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("called", ["plain.jsonl", "none", "lie.jsonl.{}"])
def test_magic_bytes_win_with_exactly_one_warning(name: str, called: str, tmp_path: Path) -> None:
    path = tmp_path / called.format("gz" if name != "gzip" else "xz")
    path.write_bytes(encode(name, TEXT))
    with pytest.warns(PaipaWarning, match=name) as caught:
        assert list(read(path)) == RECORDS
    assert len(caught) == 1


@pytest.mark.parametrize("name", NAMES)
def test_magic_bytes_win_silently_where_there_is_no_name(name: str) -> None:
    data = encode(name, TEXT)
    assert list(read(data)) == list(read(io.BytesIO(data))) == RECORDS


@pytest.mark.parametrize("name", NAMES)
def test_plain_text_with_a_codecs_name_is_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.jsonl.{SUFFIXES[name]}"
    path.write_bytes(TEXT)
    with pytest.raises(DamagedInput, match=re.escape(path.name)):
        list(read(path))


@pytest.mark.parametrize("name", NAMES)
def test_every_restart_point_restarts(name: str) -> None:
    parts = [TEXT[:100], b"", TEXT[100:333], TEXT[333:]]
    padding = bytes(8) if name in ("gzip", "xz") else b""
    data = padding.join(encode(name, part) for part in parts)
    decoder, points = decoder_of(name), set()
    for at in range(len(data)):
        list(decoder.feed(data[at : at + 1]))
        points.add(decoder.restart)
    assert len(points) == 4
    for encoded, decoded in points:
        assert decode(name, data[encoded:]) == TEXT[decoded:]


FIELDS = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\x00ABCD" + b"name\0" + b"comment\0"
HEADER = FIELDS + (zlib.crc32(FIELDS) & 0xFFFF).to_bytes(2, "little")


@pytest.mark.parametrize("trip", [1, 7, 65536])
def test_a_gzip_header_with_every_field_is_read_in_any_pieces(trip: int) -> None:
    body = encode("gzip", TEXT)[10:]
    assert decode("gzip", (HEADER + body) * 2, trip) == TEXT * 2
    with pytest.raises(DamagedInput):
        decode("gzip", HEADER[:-1] + bytes([HEADER[-1] ^ 1]) + body, trip)
