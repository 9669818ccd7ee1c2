"""What the standard library, urllib3 and botocore tell of a file object beyond ``read``/``write``.

A client library is never imported to recognize its types: an object of a type exists only if the
module of the type is loaded.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any

from paipa_etl.stores.descriptors import Readiness, file_descriptor
from paipa_etl.threads.stop import Stop

MAX_LAYERS = 16
PAUSE = 0.01  # seconds
_FAILURES = (
    ("http.client", "HTTPException"),  # a chunked body that was cut: IncompleteRead
    ("urllib3.exceptions", "HTTPError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("zlib", "error"),
    ("lzma", "LZMAError"),
)
_CODECS = (("gzip", "GzipFile"), ("bz2", "BZ2File"), ("lzma", "LZMAFile"))
_COUNTERS = (
    ("http.client", "HTTPResponse", "length"),
    ("urllib3.response", "HTTPResponse", "length_remaining"),
)
_INNER = (
    ("io", "BufferedReader", "raw"),
    ("tempfile", "_TemporaryFileWrapper", "file"),  # also urllib.error.HTTPError
    ("gzip", "GzipFile", "fileobj"),
    ("bz2", "BZ2File", "_fp"),
    ("lzma", "LZMAFile", "_fp"),
    ("botocore.response", "StreamingBody", "_raw_stream"),
)


class NotReady(Exception):
    """A file object has no bytes, or no room, yet; ``event`` is what to ``poll`` for."""

    def __init__(self, event: int) -> None:
        super().__init__(event)
        self.event = event


class Patience:
    """Waits on the descriptor of a file object that is not ready.

    Where the descriptor is ready and the object is still not, something between the two holds the
    object up: it is asked again after a pause, not in a busy loop.
    """

    def __init__(self, file: object, stop: Stop) -> None:
        self._file, self._stop = file, stop
        self._in_vain = 0

    def progress(self) -> None:
        """The object was ready."""
        self._in_vain = 0

    def readiness(self, event: int) -> Readiness | None:
        """What waits until the object can be tried again; None where it has no descriptor."""
        descriptor = file_descriptor(self._file)
        if descriptor is None:
            return None
        ready = Readiness(descriptor, event, self._stop)
        self._in_vain = self._in_vain + 1 if ready.wait(0) else 0
        if self._in_vain > 1:
            self._stop.wait(PAUSE)
        return ready


def wanted_by_tls(error: BaseException) -> int | None:
    """What a non-blocking TLS connection that raised an error waits for; None for other errors."""
    for name, event in (("SSLWantReadError", select.POLLIN), ("SSLWantWriteError", select.POLLOUT)):
        known = _loaded("ssl", name)
        if known is not None and isinstance(error, known):
            return event
    return None


def is_codec_over_nonblocking(file: object) -> bool:
    """Whether the standard library's gzip, bz2 or lzma works on a non-blocking file.

    Those take "nothing yet" for the end, and "nothing was written" for all written.
    """
    loaded = (_loaded(module, name) for module, name in _CODECS)
    codecs = tuple(kind for kind in loaded if kind is not None)
    if not isinstance(file, codecs):
        return False
    for layer in _layers(file):
        if isinstance(layer, io.FileIO):
            descriptor = file_descriptor(layer)
            return descriptor is not None and not os.get_blocking(descriptor)
    return False


def failures() -> tuple[type[Exception], ...]:
    """What the ``read`` of known file objects raises where the input cannot be read to its end."""
    loaded = (_loaded(module, name) for module, name in _FAILURES)
    return (OSError, EOFError, *(found for found in loaded if found is not None))


def bytes_missing(file: object) -> int:
    """How many bytes of an HTTP body never came, once a file object has given its last byte.

    Only counters of what is left are asked, of types that are known to keep one: headers, and
    attributes of that name elsewhere, are wrong after a partial read or a decoding.
    """
    for layer in _layers(file):
        for module, name, attribute in _COUNTERS:
            known = _loaded(module, name)
            if known is not None and isinstance(layer, known):
                # Before Python 3.13, read1 leaves a body open that was read whole, and a kept
                # connection could not be used again (cpython#113199).
                layer.read(0)
                left = getattr(layer, attribute, None)
                # While it is open, a reader above it has left bytes behind its own end.
                return left if isinstance(left, int) and layer.isclosed() else 0
    return 0


def _layers(file: object) -> Iterator[Any]:
    """A file object, and those that it reads from."""
    layer: Any = file
    for _ in range(MAX_LAYERS):
        yield layer
        for module, name, attribute in _INNER:
            known = _loaded(module, name)
            if known is not None and isinstance(layer, known):
                layer = getattr(layer, attribute, None)
                break
        else:
            return


def _loaded(module: str, name: str) -> Any:
    """A class of a module, if the module is loaded."""
    return getattr(sys.modules.get(module), name, None)
