"""LZ4 frames, through the optional package lz4 (imported when a stream needs it)."""

from __future__ import annotations

from typing import Any

from paipa_etl.codecs import Codec, register
from paipa_etl.codecs.members import Member
from paipa_etl.errors import MissingDependency


def _frames() -> Any:
    try:
        import lz4.frame
    except ImportError:
        raise MissingDependency("lz4", "lz4") from None
    return lz4.frame


class Lz4Compressor:
    """Writes one frame with a checksum of its content (off by default in the library)."""

    def __init__(self, level: int) -> None:
        self._frame = _frames().LZ4FrameCompressor(
            compression_level=level, content_checksum=True, auto_flush=True
        )
        self._begin = self._frame.begin()

    def compress(self, data: bytes | bytearray) -> bytes:
        begin, self._begin = self._begin, b""
        return bytes(begin + self._frame.compress(data))

    def pause(self) -> bytes:
        return b""  # auto_flush: nothing is held back

    def finish(self) -> bytes:
        begin, self._begin = self._begin, b""
        return bytes(begin + self._frame.flush())


def _member() -> Member:
    member: Member = _frames().LZ4FrameDecompressor()
    return member


register(
    Codec(
        "lz4",
        suffixes=("lz4",),
        magic=(b"\x04\x22\x4d\x18",),
        levels=range(17),
        level=0,
        member=_member,
        compressor=Lz4Compressor,
    )
)
