"""What the tests of codecs share: data, ways to encode and decode, and a sample for each codec."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any

from paipa_etl import codecs, read, write
from paipa_etl.codecs import Codec
from paipa_etl.codecs.members import MemberDecoder

TEXT = b"".join(b'{"number": %d, "name": "caf\xc3\xa9 %d"}\n' % (n, n * 7919) for n in range(120))
RECORDS = [{"number": n, "name": f"café {n * 7919}"} for n in range(120)]
NOISE = b"".join(
    b'{"n":"%s"}\n' % hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(50)
)


@dataclass(frozen=True)
class CodecSample:
    """What a kit has to be told of a codec."""

    harmless: int
    """The bytes, of ``TEXT[:600]`` encoded, in which a flipped bit may change nothing."""


# What a flipped bit leaves as it was: time, hints and text flag of a gzip header (3 to 9); the
# level and the "randomised" bit of bzip2 (3, 14); segment flag, window and table of zstd (4, 5,
# 15, 16); the last token of lz4; bits that fill a byte up. Everything else is an error: with
# no checksum, about two flips in three would be wrong data.
SAMPLES = {
    "gzip": CodecSample(harmless=8),
    "bzip2": CodecSample(harmless=3),
    "xz": CodecSample(harmless=0),
    "zstd": CodecSample(harmless=4),
    "lz4": CodecSample(harmless=1),
    "zlib-streams": CodecSample(harmless=2),
}


def codec_of(name: str) -> Codec:
    codec = codecs.from_suffix(name)
    assert codec, name
    return codec


def suffix_of(name: str) -> str:
    return codec_of(name).suffixes[0]


def encode(name: str, data: bytes, level: int | None = None) -> bytes:
    compressor = codec_of(name).start_compressor(level)
    return compressor.compress(data) + compressor.finish()


def decoder_of(name: str) -> MemberDecoder:
    codec = codec_of(name)
    return MemberDecoder(codec.name, codec.member, codec.padding)


def decode(name: str, data: bytes, trip: int = 1 << 16) -> bytes:
    decoder = decoder_of(name)
    pieces = [p for n in range(0, len(data), trip) for p in decoder.feed(data[n : n + trip])]
    decoder.finish()
    return b"".join(pieces)


def records_of(data: object, name: str) -> list[Any]:
    return list(read(data, from_=f"jsonl.{suffix_of(name)}"))


def written(name: str, records: list[Any], level: int | None = None) -> bytes:
    out = bytearray()
    with write(out, to=f"jsonl.{suffix_of(name)}", level=level) as sink:
        sink.write_all(records)
    return bytes(out)


class Short(io.RawIOBase):
    """A file object whose read gives a few bytes, however many are asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file, self._size = io.BytesIO(data), size

    def read(self, size: int = -1) -> bytes:
        return self._file.read(self._size)
