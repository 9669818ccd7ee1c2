"""Codecs one by one: padding, skippable frames, bombs, levels, and what others read and write."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance.codec_samples import (
    RECORDS,
    TEXT,
    Short,
    decode,
    decoder_of,
    encode,
    records_of,
    written,
)

from paipa_etl import DamagedInput, Pipeline, codecs, read, write
from paipa_etl.codecs.members import MemberDecoder
from paipa_etl.errors import PaipaWarning

NAMES = ["gzip", "bzip2", "xz", "zstd", "lz4"]


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


FIELDS = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\x00ABCD" + b"name\0" + b"comment\0"
HEADER = FIELDS + (zlib.crc32(FIELDS) & 0xFFFF).to_bytes(2, "little")


@pytest.mark.parametrize("trip", [1, 7, 65536])
def test_a_gzip_header_with_every_field_is_read_in_any_pieces(trip: int) -> None:
    body = encode("gzip", TEXT)[10:]
    assert decode("gzip", (HEADER + body) * 2, trip) == TEXT * 2
    with pytest.raises(DamagedInput):
        decode("gzip", HEADER[:-1] + bytes([HEADER[-1] ^ 1]) + body, trip)
