"""Zstandard, through the standard library (its backport before Python 3.14).

Never python-zstandard's stream reader: it takes a cut frame for the end of the data.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from paipa_etl.codecs import Codec, register
from paipa_etl.codecs.members import Member

WINDOW_LOG = 27  # 128 MiB: the largest window that a reader must be ready to hold


def _library() -> Any:
    """Imported when a stream needs it."""
    home = "compression" if sys.version_info >= (3, 14) else "backports"
    return importlib.import_module(f"{home}.zstd")


class ZstdCompressor:
    """Writes one frame with a checksum of its content (off by default in the library)."""

    def __init__(self, level: int) -> None:
        zstd = _library()
        options = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._flush_block = zstd.ZstdCompressor.FLUSH_BLOCK
        self._frame = zstd.ZstdCompressor(options=options)

    def compress(self, data: bytes | bytearray) -> bytes:
        return bytes(self._frame.compress(data))

    def pause(self) -> bytes:
        return bytes(self._frame.flush(self._flush_block))

    def finish(self) -> bytes:
        return bytes(self._frame.flush())


def _member() -> Member:
    zstd = _library()
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    member: Member = zstd.ZstdDecompressor(options=options)
    return member


register(
    Codec(
        "zstd",
        suffixes=("zst", "zstd"),
        magic=(b"\x28\xb5\x2f\xfd",),
        levels=range(1, 20),
        level=3,
        member=_member,
        compressor=ZstdCompressor,
    )
)
