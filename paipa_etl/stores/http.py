"""HTTP and HTTPS through urllib3: ranges where the server has them, redirects that keep secrets.

Nothing is decoded on the way: what a server says of ``Content-Encoding`` is part of the
bytes, whose codec is told by their first ones.
"""

from __future__ import annotations

import netrc
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from typing import IO, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from paipa_etl.errors import PlanError
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.failures import answered
from paipa_etl.stores.http_pools import Pools, split_user, told
from paipa_etl.stores.link_local import REFUSED, names_refused
from paipa_etl.stores.pace import moved
from paipa_etl.stores.port import CHUNK, PIECE, Body, Entry, Part, StoreFailure
from paipa_etl.stores.secrets import guard, guard_url

CONNECTIONS = 128  # that stay open: as many as transfers may run at once
REDIRECTS = 10
MOVED = frozenset({301, 302, 303, 307, 308})
SAFE = "!#$%&'()*+,/:;=?@[]~"  # characters of a URL that stay as they are
T = TypeVar("T")


class HttpObject:
    """What one URL names. Writing is a PUT, where ``transport_params`` ask for that."""

    words = frozenset({"user", "password", "headers", "method"})
    least_part = 1 << 16
    part_size = 8 << 20
    parallel = 0

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options = location, options
        guard_url(location.target)
        self._url, user = split_user(location.target)
        if names_refused(urlsplit(self._url).hostname or ""):
            raise PlanError(f"{location}: {REFUSED}")
        given = options.word("user", None), options.word("password", None)
        self._login = given if given[0] is not None else user or _from_netrc(self._url)
        self._headers = dict(options.word("headers", None) or {})
        guard(self._headers, self._login, ":".join(part or "" for part in self._login or ()))
        self._moved: str | None = None
        self._pools = clients.get(
            ("http", options.insecure, options.timeout),
            lambda: Pools(options.insecure, options.timeout),
            Pools.close,
        )
        self._spool: IO[bytes] | None = None

    def _request(self, verb: str, headers: dict[str, str], body: Any = None) -> Any:
        """The answer to a request, after redirects; one that is an error is a failure."""
        url = self._moved or self._url
        for _ in range(REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", **headers, **self._credentials_for(url)}
            if hasattr(body, "seek"):
                body.seek(0)  # a redirect has had it
            send = partial(self._pools.send, verb, url, sent, body)
            answer = told(send, self._options.timeout)
            if answer.status not in MOVED:
                break
            url = self._next(url, answer)
        else:
            raise StoreFailure(f"more than {REDIRECTS} redirects", status=answer.status)
        if answer.status >= 400:
            answer.close()
            if self._moved and answer.status in (401, 403, 404, 410):
                self._moved = None  # what it led to was for a time: ask again from the start
                return self._request(verb, headers, body)
            raise answered(answer.status, headers=answer.headers)
        if url != self._url and body is None:
            self._moved = url
        return answer

    def _credentials_for(self, url: str) -> dict[str, str]:
        """The user's own headers and login: for the host that they were given for, no other."""
        if _origin(url) != _origin(self._url):
            return {}
        import urllib3

        if self._login is None:
            return self._headers
        login = ":".join(part or "" for part in self._login)
        basic: dict[str, str] = urllib3.make_headers(basic_auth=login)
        return {"Authorization": basic["authorization"], **self._headers}

    def _next(self, url: str, answer: Any) -> str:
        """Where a redirect leads: never to another scheme but https."""
        target = answer.headers.get("location")
        answer.drain_conn()
        answer.close()
        if not target:
            raise StoreFailure("a redirect that leads nowhere", status=answer.status)
        try:
            whole = urljoin(url, target)
            guard_url(whole)
            following, _ = split_user(whole)
            scheme, before = _origin(following)[0], _origin(url)[0]
        except ValueError:
            scheme = ""
        if not scheme:
            raise StoreFailure("a redirect to what is not a URL", status=answer.status)
        if scheme not in ("http", "https") or (before == "https" and scheme == "http"):
            problem = f"a redirect from {before} to {scheme} is not followed"
            raise StoreFailure(problem, status=answer.status)
        if names_refused(urlsplit(following).hostname or ""):
            problem = f"a redirect that is not followed: {REFUSED}"
            raise StoreFailure(problem, status=answer.status)
        return following

    # Reading

    def stat(self) -> Entry:
        """Size, ETag and time, as the server tells them."""
        answer = self._request("HEAD", {})
        answer.close()
        length = answer.headers.get("content-length")
        when = _date(answer.headers.get("last-modified"))
        size = int(length) if length and length.isdecimal() else None
        return Entry(self._location, size, _stamp(answer), when)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range, pinned to a strong ETag or a time; all of it where ``stop`` is 0."""
        headers = {"Range": f"bytes={start}-{stop - 1 if stop else ''}"} if start or stop else {}
        if stamp:
            headers |= (
                {"If-Match": stamp} if stamp.startswith('"') else {"If-Unmodified-Since": stamp}
            )
        try:
            answer = self._request("GET", headers)
        except StoreFailure as failure:
            if failure.kind != "beyond" or start:
                raise
            return self._nothing()
        return _body(answer, self._options.timeout)

    def _nothing(self) -> Body:
        """An empty object: it has no first byte that could be asked for."""
        answer = self._request("GET", {})
        return _body(answer, self._options.timeout)

    # Writing

    def check(self, clobber: bool) -> None:
        """Writing is asked for by name; with a condition where nothing is to be replaced."""
        if str(self._options.word("method", "")).upper() != "PUT":
            problem = "is written by a PUT, and only where transport_params={'method': 'PUT'} asks"
            raise PlanError(f"{self._location}: {problem}", parameter="method")

    def put(self, data: Part, clobber: bool) -> None:
        """Publish a small object."""
        self._send(bytes(data), len(data), clobber)

    def _send(self, body: Any, size: int, clobber: bool) -> None:
        kind = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        once = {} if clobber else {"If-None-Match": "*"}
        try:
            self._request("PUT", kind | once, body).drain_conn()
        except StoreFailure as failure:
            if failure.kind != "changed" or clobber:
                raise
        else:
            return
        raise StoreFailure("exists", kind="exists")

    def begin(self) -> None:
        """Begin a file that is sent when it is whole: servers want to know the length first."""
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115  (closed by complete or abort)

    def put_part(self, number: int, data: Part) -> None:
        """Add to the file."""
        assert self._spool is not None
        try:
            self._spool.write(data)
            return
        except OSError as error:
            failure = StoreFailure(f"the temporary file: {error.strerror}")
        raise failure

    def complete(self, size: int, clobber: bool) -> None:
        """Send the file; a server publishes what came as a whole."""
        assert self._spool is not None
        self._spool.flush()
        self._send(self._spool, size, clobber)
        self.abort()

    def abort(self) -> None:
        """Drop the file."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def _body(answer: Any, timeout: float) -> Body:
    """An answer as a body; what it says of its part is looked at, never trusted blindly."""
    stamp, chunks = _stamp(answer), _chunks(answer, timeout)
    length = answer.headers.get("content-length")
    end = int(length) if length is not None and length.isdecimal() else None
    if answer.status != 206:
        return Body(chunks, 0, end, end, stamp, ranges=False, release=answer.close)
    try:
        span, size = answer.headers["content-range"].removeprefix("bytes ").split("/")
        first, last = map(int, span.split("-"))
        whole = None if size == "*" else int(size)
        if end not in (None, last + 1 - first):
            raise ValueError
        return Body(chunks, first, last + 1, whole, stamp, release=answer.close)
    except (KeyError, ValueError):
        answer.close()
    raise StoreFailure("the server gave a part, and did not say which")


def _stamp(answer: Any) -> str | None:
    """What tells this content from another: a strong ETag, or else a time that is old enough.

    A time of modification a minute back cannot stand for two contents (RFC 9110, 8.8.2.2).
    """
    etag: str | None = answer.headers.get("etag")
    if etag and etag.startswith('"'):
        return etag
    modified: str | None = answer.headers.get("last-modified")
    when, now = _date(modified), _date(answer.headers.get("date"))
    if etag is None and when is not None and now is not None and now - when >= 60:
        return modified
    return None


def _date(value: str | None) -> float | None:
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(value or "").timestamp()
    return None


def _chunks(answer: Any, timeout: float) -> Iterator[bytes]:
    """The bytes of an answer; one that ends too early is a failure."""
    whole = False
    try:
        # Of a chunked answer more at once: what comes of a chunk is not given before its end.
        most = CHUNK if answer.chunked else PIECE
        empty = not (answer.chunked or answer.length_remaining is not None)
        while chunk := told(lambda: answer.read1(most), timeout):
            moved(len(chunk))
            empty = False
            yield chunk
        if empty:  # so does a head look that was cut before it told a length
            raise StoreFailure("the answer is empty, and does not say so", retryable=True)
        whole = True
    finally:
        if whole:
            answer.release_conn()
        else:
            answer.close()  # what was not read would stand before the next answer


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _from_netrc(url: str) -> tuple[str, str | None] | None:
    """The login that ~/.netrc (or ``NETRC``) keeps for a host."""
    with suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc(os.environ.get("NETRC")).hosts.get(urlsplit(url).hostname or "")
        return (found[0], found[2]) if found else None
    return None
