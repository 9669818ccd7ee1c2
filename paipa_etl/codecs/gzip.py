"""gzip (RFC 1952) through ISA-L, and through zlib for the levels that ISA-L has not."""

from __future__ import annotations

import zlib
from typing import Any

from isal import igzip_lib, isal_zlib

from paipa_etl.codecs import Codec, register
from paipa_etl.errors import DamagedInput

HEADER_LIMIT = 1 << 17  # two fields of 64 KiB: what a sane header stays within
GZIP_WINDOW = 31  # zlib's window bits of 15, plus 16 for a gzip header and trailer
FHCRC, FEXTRA, FNAME, FCOMMENT, RESERVED = 2, 4, 8, 16, 0xE0


class GzipMember:
    """Decodes one member; its CRC and length are checked at the end.

    The header is read here, because ISA-L fails on one that comes in small pieces.
    """

    def __init__(self) -> None:
        self._header = b""
        self._inflate: Any = None

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self._inflate is None:
            self._header += data
            size = header_size(self._header)
            if size is None:
                return b""
            data = self._header[size:]
            self._header = b""
            self._inflate = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)
        return bytes(self._inflate.decompress(data, max_length))

    @property
    def eof(self) -> bool:
        return self._inflate is not None and self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return self._inflate is None or self._inflate.needs_input

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inflate.unused_data)


def header_size(data: bytes) -> int | None:
    """The length of a member's header, or None while more bytes are needed (RFC 1952, 2.3)."""
    if not b"\x1f\x8b\x08".startswith(data[:3]):
        raise DamagedInput("no gzip header", 0)
    if len(data) > 3 and data[3] & RESERVED:
        raise DamagedInput("a gzip header with reserved flags", 3)
    end = _fields_end(data) if len(data) >= 10 else len(data) + 1
    if len(data) > HEADER_LIMIT < end:
        raise DamagedInput("a gzip header without an end", 0)
    if end > len(data):
        return None
    if data[3] & FHCRC and data[end - 2 : end] != _crc16(data[: end - 2]):
        raise DamagedInput("a gzip header with a bad checksum", 0)
    return end


def _fields_end(data: bytes) -> int:
    """Where the header's optional fields end; beyond the data when that is not known yet."""
    flags, end, unknown = data[3], 10, len(data) + 1
    if flags & FEXTRA:
        end += 2 + int.from_bytes(data[10:12], "little") if len(data) >= 12 else unknown
    for flag in (FNAME, FCOMMENT):
        if flags & flag:
            end = data.find(b"\0", end) + 1 or unknown
    return end + 2 if flags & FHCRC else end


def _crc16(data: bytes) -> bytes:
    return (zlib.crc32(data) & 0xFFFF).to_bytes(2, "little")


class GzipCompressor:
    """Writes one member: no name, no time, so that the same input gives the same bytes."""

    def __init__(self, level: int) -> None:
        library: Any = isal_zlib if level <= 3 else zlib
        self._deflate = library.compressobj(level, zlib.DEFLATED, GZIP_WINDOW)

    def compress(self, data: bytes | bytearray) -> bytes:
        return bytes(self._deflate.compress(data))

    def pause(self) -> bytes:
        return bytes(self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def finish(self) -> bytes:
        return bytes(self._deflate.flush())


register(
    Codec(
        "gzip",
        suffixes=("gz", "gzip"),
        magic=(b"\x1f\x8b\x08",),
        levels=range(10),
        level=2,
        member=GzipMember,
        compressor=GzipCompressor,
        padding=1,
    )
)
