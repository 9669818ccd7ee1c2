"""Codec ``zlib-streams`` (``.zstr``): streams of zlib, one after the other."""

from __future__ import annotations

import zlib

from paipa_etl.codecs import Codec, register

# The second byte depends on the level. That of the levels 2 to 5 is "^", and "x^" may be text.
MAGIC = (b"x\x01", b"x\x9c", b"x\xda")


class ZlibMember:
    """Decodes one stream; zlib keeps the input that is not decoded yet as ``unconsumed_tail``."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    @property
    def eof(self) -> bool:
        """Whether the stream is complete; its checksum is right then."""
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing left to decode of what was given."""
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What follows the end of the stream."""
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most ``max_length`` decoded bytes of what was given so far."""
        return self._stream.decompress(self._stream.unconsumed_tail + data, max(max_length, 0))


class ZlibCompressor:
    """Writes one stream."""

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level)

    def compress(self, data: bytes | bytearray) -> bytes:
        """What comes out so far."""
        return self._stream.compress(data)

    def pause(self) -> bytes:
        """What is held back; everything written so far can be decoded then."""
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """The end of the stream."""
        return self._stream.flush()


register(
    Codec(
        "zlib-streams",
        suffixes=("zstr",),
        magic=MAGIC,
        levels=range(6, 10),
        level=6,
        member=ZlibMember,
        compressor=ZlibCompressor,
    )
)
