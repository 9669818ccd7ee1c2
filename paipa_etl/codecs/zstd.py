"""Zstandard, through the standard library (its backport before Python 3.14).

Never python-zstandard's stream reader: it takes a cut frame for the end of the data.
"""

from __future__ import annotations

import sys

from paipa_etl.codecs import Codec, register

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WINDOW_LOG = 27  # 128 MiB: the largest window that a reader must be ready to hold


class ZstdCompressor:
    """Writes one frame with a checksum of its content (off by default in the library)."""

    def __init__(self, level: int) -> None:
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._frame = zstd.ZstdCompressor(options=options)

    def compress(self, data: bytes) -> bytes:
        return self._frame.compress(data)

    def pause(self) -> bytes:
        return self._frame.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._frame.flush(zstd.ZstdCompressor.FLUSH_FRAME)


def _member() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


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
