"""bzip2, through the standard library (imported when a stream needs it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paipa_etl.codecs import Codec, register
from paipa_etl.codecs.members import Member

if TYPE_CHECKING:
    import bz2

BLOCK_MAGIC = (
    b"1AY&SY"  # the digits of pi that open each block; an empty file has those of its root
)
END_MAGIC = b"\x17\x72\x45\x38\x50\x90"


class Bzip2Compressor:
    """Writes streams; a pause ends one, because bzip2 has no flush."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._stream: bz2.BZ2Compressor | None = self._new()

    def _new(self) -> bz2.BZ2Compressor:
        import bz2

        return bz2.BZ2Compressor(self._level)

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
    import bz2

    return bz2.BZ2Decompressor()


register(
    Codec(
        "bzip2",
        suffixes=("bz2", "bzip2"),
        magic=tuple(b"BZh%d" % n + tail for n in range(1, 10) for tail in (BLOCK_MAGIC, END_MAGIC)),
        levels=range(1, 10),
        level=9,
        member=_member,
        compressor=Bzip2Compressor,
        flushes=False,
    )
)
