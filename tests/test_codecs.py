"""Codecs: what was written is read, what was cut or damaged is an error that names the byte."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path

import pytest

from paipa_etl import DamagedInput, PaipaError, codecs, read, write
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
