"""xz, through the standard library (imported when a stream needs it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paipa_etl.codecs import Codec, register
from paipa_etl.codecs.members import Member

if TYPE_CHECKING:
    import lzma

MEMORY_LIMIT = 160 << 20  # a dictionary of 128 MiB and what the decoder needs beside it


class XzCompressor:
    """Writes streams with CRC64 checks; a pause ends one, because xz has no flush here."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._stream: lzma.LZMACompressor | None = self._new()

    def _new(self) -> lzma.LZMACompressor:
        import lzma

        return lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=self._level)

    def compress(self, data: bytes | bytearray) -> bytes:
        if self._stream is None:
            self._stream = self._new()
        return self._stream.compress(data)

    def pause(self) -> bytes:
        return self.finish()

    def finish(self) -> bytes:
        stream, self._stream = self._stream, None
        return stream.flush() if stream else b""


def _member() -> Member:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)


register(
    Codec(
        "xz",
        suffixes=("xz",),
        magic=(b"\xfd7zXZ\0",),
        levels=range(10),
        level=6,
        member=_member,
        compressor=XzCompressor,
        flushes=False,
        padding=4,
    )
)
