"""What the network's failures mean, whichever client library tells of them.

Nothing of a library's own text is passed on: it may hold the whole URL, with its secrets.
"""

from __future__ import annotations

import email.utils
import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from paipa_etl.stores.port import FailureKind, StoreFailure
from paipa_etl.stores.secrets import redacted

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
KINDS: dict[int, FailureKind] = {
    401: "denied",
    403: "denied",
    404: "missing",
    410: "missing",
    412: "changed",
    416: "beyond",
}
ELSEWHERE = "the store redirects to elsewhere: are its region and the endpoint right?"
WORDS = {
    400: "the store refused the request",
    401: "access denied: no valid credentials",
    403: "access denied",
    404: "there is nothing of that name",
    410: "it is gone",
    412: "changed while it was read",
    429: "the store asks for fewer requests",
    **dict.fromkeys((301, 302, 303, 307, 308), ELSEWHERE),
    503: "the store is busy",
}
CUT = (
    *("IncompleteRead", "ProtocolError", "RemoteDisconnected", "ConnectionClosed", "Chunked"),
    *("ResponseStreamingError", "ServiceResponseError", "DecodeError", "ConnectionError"),
    *("SSLEOFError", "SSLZeroReturnError", "BadStatusLine", "EOFError"),
)
SILENT = ("ReadTimeout", "ConnectTimeout", "TimeoutError", "ServiceResponseTimeout")


def answered(
    status: int, code: str = "", message: str = "", headers: Mapping[str, str] | None = None
) -> StoreFailure:
    """What an answer that is an error means; ``code`` and ``message`` are the store's own words."""
    problem = WORDS.get(status, "the store failed" if status >= 500 else "the store refused")
    message = redacted(message)
    said = f"{code}: {message}" if code and message else code or message
    problem = f"{problem} ({said}, HTTP {status})" if said else f"{problem} (HTTP {status})"
    return StoreFailure(
        problem,
        status=status or None,
        code=code,
        retryable=status in AGAIN,
        after=retry_after((headers or {}).get("retry-after")),
        kind=KINDS.get(status, ""),
    )


def retry_after(value: str | None) -> float | None:
    """The seconds that a ``Retry-After`` asks for: a number, or a date."""
    if not value:
        return None
    with suppress(ValueError):
        return max(float(value), 0)
    with suppress(ValueError, TypeError):  # a date, or nothing that a server may say
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0)
    return None


def transport(error: BaseException, timeout: float) -> StoreFailure | None:
    """What a failure on the way means: cut, refused, silent, not trusted; None for no such one."""
    chain = [*_chain(error)]
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return StoreFailure(f"its certificate is not valid: {one.verify_message}")
    for one in chain:
        if isinstance(one, TimeoutError) or type(one).__name__.startswith(SILENT):
            return StoreFailure(f"silent for {timeout:g} seconds", retryable=True, kind="silent")
        if isinstance(one, socket.gaierror):
            passes = one.errno == socket.EAI_AGAIN
            return StoreFailure(f"its host is not known: {one.strerror}", retryable=passes)
    for one in chain:
        if isinstance(one, OSError) and one.errno is not None and one.errno > 0:
            words = os.strerror(one.errno).lower()
            refused = one.errno == errno.ECONNREFUSED
            passes = one.errno not in (errno.EACCES, errno.EPERM)
            kind: FailureKind = "refused" if refused else "unanswered"
            return StoreFailure(words, retryable=passes, kind=kind)
    if any(type(one).__name__.startswith(CUT) or isinstance(one, OSError) for one in chain):
        return StoreFailure("the connection was cut", retryable=True, kind="unanswered")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was made of: each library keeps that in a place of its own."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = getattr(one, "inner_exception", None), getattr(one, "reason", None)
        keywords = getattr(one, "kwargs", None)
        kept = keywords.get("error") if isinstance(keywords, dict) else None
        todo += [*one.args, *inner, kept, one.__cause__, one.__context__]
