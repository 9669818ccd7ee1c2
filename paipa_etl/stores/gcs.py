"""Google Cloud Storage: the JSON API through google-cloud-storage's own authorised session.

The client library's downloads do not tell the generation with the first bytes, and decode
what is stored as gzip; its uploads cannot be asked how far they came. The session can.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import CONNECT_TIMEOUT, StoreOptions, exists_already
from paipa_etl.stores.buckets import bucket_and_key, key_of, url_of
from paipa_etl.stores.failures import answered
from paipa_etl.stores.gcs_client import shared, told
from paipa_etl.stores.pace import moved
from paipa_etl.stores.port import PIECE, Body, Entry, Part, StoreFailure, no_such, nothing

PART_SIZE = 8 << 20  # bytes; a multiple of 256 KiB, as a resumable upload wants
UNIT = 256 << 10
UNFINISHED = 308
CANCELLED = 499  # GCS's answer to the cancellation of an upload
BOUNDARY = b"paipa-etl-9f86d081884c7d659a2feaa0c55ad015"
ERROR = 1 << 16  # bytes of an error's text that are looked at
LISTING = "storage#objects"
FOREIGN = "what answers is not Google Cloud Storage: is the endpoint right?"
CUT = "the answer was cut in its head"
T = TypeVar("T")


class GcsObject:
    """One object, or a prefix, of a bucket; its stamp is its generation."""

    words = frozenset({"client", "min_part_size"})
    least_part = UNIT
    parallel = 0  # a resumable upload takes one part after the other

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options, self._clients = location, options, clients
        self._bucket, self._key = bucket_and_key(location)
        given = options.word("client", None)
        client = shared(options, clients) if given is None else given
        self._session, self._root = client._http, client._connection.API_BASE_URL.rstrip("/")
        self.part_size = max(int(options.word("min_part_size", PART_SIZE)) // UNIT, 1) * UNIT
        self._upload: str | None = None
        self._held: Part | None = None
        self._sent = 0
        self._sum = hashlib.md5(usedforsecurity=False)

    def _request(self, verb: str, url: str, expected: int = 0, **words: Any) -> Any:
        """The answer to a request; an error is a failure, and a redirect unless it is expected."""
        timeout = (min(CONNECT_TIMEOUT, self._options.timeout), self._options.timeout)
        send = self._session.request
        # The body of an answer is read by us, or not at all: nothing is decoded on the way.
        answer = told(
            lambda: send(verb, url, timeout=timeout, stream=True, allow_redirects=False, **words),
            self._options.timeout,
        )
        if answer.status_code < 300 or answer.status_code == expected:
            return answer
        failure = self._refused(answer)
        del answer  # its connection would last as long as the failure's traceback
        raise failure

    def _refused(self, answer: Any) -> StoreFailure:
        """What an answer that is an error means; it is closed."""
        with answer:
            failure = answered(answer.status_code, headers=answer.headers)
            failure.code = self._reason(answer)
        return failure

    def _reason(self, answer: Any) -> str:
        """GCS's own name of an error, from the answer's body; empty where that has none."""
        with suppress(StoreFailure, ValueError, LookupError, TypeError):
            if int(answer.headers["content-length"]) <= ERROR:
                text = told(lambda: answer.content, self._options.timeout)
                return str(json.loads(text)["error"]["errors"][0]["reason"])
        return ""

    def _bucket_url(self, kind: str = "storage") -> str:
        return f"{self._root}/{kind}/v1/b/{quote(self._bucket, '')}/o"

    def _object_url(self) -> str:
        return f"{self._bucket_url()}/{quote(self._key, '')}"

    def _told_json(self, answer: Any, take: Callable[[dict[str, Any]], T]) -> T:
        """What is taken of an answer in JSON."""
        with answer:
            text = told(lambda: answer.content, self._options.timeout)
        if not text:
            raise StoreFailure(CUT, retryable=True)
        with suppress(ValueError, KeyError, TypeError):
            return take(json.loads(text))
        raise StoreFailure(FOREIGN)

    def _lacking(self, answer: Any) -> StoreFailure:
        """What it means that a head lacks a line of GCS's: it was cut, if no byte follows it."""
        with answer:
            begun = told(lambda: answer.raw.read(1), self._options.timeout)
        return StoreFailure(FOREIGN) if begun else StoreFailure(CUT, retryable=True)

    # Reading

    def stat(self) -> Entry:
        """Size, generation and time."""
        return self._told_json(self._request("GET", self._object_url()), self._entry)

    def _entry(self, found: dict[str, Any]) -> Entry:
        place = url_of("gs", self._bucket, found["name"])
        modified = datetime.fromisoformat(found["updated"]).timestamp()
        return Entry(place, int(found["size"]), str(found["generation"]), modified)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range, pinned to a generation; as it is stored, gzip too."""
        words = {"alt": "media"} | ({"ifGenerationMatch": stamp} if stamp else {})
        headers = {"Accept-Encoding": "gzip"}  # else what is stored as gzip came decoded
        if start or stop:
            headers["Range"] = f"bytes={start}-{stop - 1 if stop else ''}"
        try:
            answer = self._request("GET", self._object_url(), params=words, headers=headers)
        except StoreFailure as failure:
            if failure.kind != "beyond" or start:
                raise
            return nothing(self.stat(), failure)
        with suppress(KeyError, ValueError):
            return _body(answer, stop, self._options.timeout)
        raise self._lacking(answer)

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """A page of 1,000 objects whose name begins as the URL's does."""
        words = {"prefix": key_of(prefix)} | ({"pageToken": more} if more else {})
        words |= {} if deep else {"delimiter": "/"}
        return self._told_json(
            self._request("GET", self._bucket_url(), params=words), self._entries
        )

    def _entries(self, page: dict[str, Any]) -> tuple[list[Entry], Any]:
        if page["kind"] != LISTING:
            raise KeyError(LISTING)
        return [self._entry(one) for one in page.get("items", ())], page.get("nextPageToken")

    # Writing

    def check(self, clobber: bool) -> None:
        """Refuse a bucket that is not there, or an object that is to stay."""
        self._clients.get(("bucket", self._bucket, self._root), self._bucket_there, id)
        if clobber:
            return
        with suppress(StoreFailure):
            self.stat()
            raise exists_already(self._location)

    def _bucket_there(self) -> bool:
        try:
            self._request("GET", f"{self._root}/storage/v1/b/{quote(self._bucket, '')}").close()
        except StoreFailure as failure:
            if failure.kind == "missing":
                raise no_such("bucket", failure) from None
            if failure.kind != "denied":  # one may write who may not look
                raise
        return True

    def _create(self, clobber: bool, **words: Any) -> Any:
        params = {"uploadType": "multipart", "name": self._key}
        params |= {} if clobber else {"ifGenerationMatch": "0"}
        url = self._bucket_url("upload/storage")
        try:
            return self._request("POST", url, params=params, **words)
        except StoreFailure as failure:
            if failure.kind == "changed":
                self._accept_own()
                return None
            raise

    def _accept_own(self) -> None:
        """It exists already: by our own request, whose answer was lost, or by somebody else's."""
        found = self._told_json(self._request("GET", self._object_url()), dict)
        if found.get("md5Hash") != _base64(self._sum):
            raise StoreFailure("exists", kind="exists")

    def put(self, data: Part, clobber: bool) -> None:
        """Publish a small object; its MD5 goes along, for the store to compare."""
        self._sum = hashlib.md5(data, usedforsecurity=False)
        about = json.dumps({"name": self._key, "md5Hash": _base64(self._sum)}).encode()
        body = b"".join(
            (
                b"--%b\r\nContent-Type: application/json\r\n\r\n%b\r\n" % (BOUNDARY, about),
                b"--%b\r\nContent-Type: application/octet-stream\r\n\r\n" % BOUNDARY,
                data,
                b"\r\n--%b--" % BOUNDARY,
            )
        )
        headers = {"Content-Type": f"multipart/related; boundary={BOUNDARY.decode()}"}
        answer = self._create(clobber, data=body, headers=headers)
        if answer is not None:
            self._check_whole(self._told_json(answer, dict), len(data))

    def begin(self) -> None:
        """Begin a resumable upload, which is named by the URL of its session."""
        if self._upload is not None:
            return
        headers = {"X-Upload-Content-Type": "application/octet-stream"}
        params = {"uploadType": "resumable", "name": self._key}
        url = self._bucket_url("upload/storage")
        answer = self._request("POST", url, params=params, headers=headers)
        if "location" not in answer.headers:
            raise self._lacking(answer)
        answer.close()
        self._upload = self._at_endpoint(answer.headers["location"])

    def _at_endpoint(self, url: str) -> str:
        """The path and query of a URL that the store gave, at the endpoint: no other host is asked.

        A store behind a proxy or a forwarded port gives the name that it has for itself.
        """
        with suppress(ValueError):
            given, root = urlsplit(url), urlsplit(self._root)
            return f"{root.scheme}://{root.netloc}/{given.path.lstrip('/')}?{given.query}"
        raise StoreFailure(FOREIGN)

    def put_part(self, number: int, data: Part) -> None:
        """Upload the part before this one; the last one is held back for the completion."""
        if self._held is not None and self._held is not data:
            self._send(self._held, "*")
        if self._held is not data:
            self._sum.update(data)
        self._held = data

    def _send(self, data: Part, size: str) -> dict[str, Any]:
        """Send what of a part the store does not have yet; what it says of the finished object."""
        assert self._upload is not None
        url, end = self._upload, self._sent + len(data)
        at = self._sent
        while True:
            span = f"bytes {at}-{end - 1}/{size}" if at < end else f"bytes */{size}"
            body = bytes(memoryview(data)[at - self._sent :])
            answer = self._request(
                "PUT", url, UNFINISHED, data=body, headers={"Content-Range": span}
            )
            if answer.status_code != UNFINISHED:
                found = self._told_json(answer, dict)
                self._sent = end
                return found
            answer.close()
            kept = _kept(answer)
            if kept == end and size == "*":
                self._sent = end
                return {}
            if not at < kept <= end:
                raise StoreFailure("the store has kept nothing of what was sent", retryable=True)
            at = kept

    def complete(self, size: int, clobber: bool) -> None:
        """Send the last part with the whole size, which publishes the object."""
        if not clobber:
            self.check(clobber)
        assert self._held is not None
        self._check_whole(self._send(self._held, str(size)), size)
        self._upload = self._held = None

    def _check_whole(self, found: dict[str, Any], size: int) -> None:
        kept = found.get("md5Hash")
        if int(found.get("size", -1)) != size or (kept and kept != _base64(self._sum)):
            raise StoreFailure("what the store has put together is not what was sent")

    def abort(self) -> None:
        """Cancel the upload."""
        if self._upload is None:
            return
        try:
            headers = {"Content-Length": "0"}
            self._request("DELETE", self._upload, CANCELLED, headers=headers).close()
        except StoreFailure as failure:
            if failure.kind != "missing":
                raise
        self._upload = None


def _base64(digest: Any) -> str:
    return base64.b64encode(digest.digest()).decode()


def _kept(answer: Any) -> int:
    """The bytes of an unfinished upload that the store has; without a ``Range`` there are none."""
    span = answer.headers.get("range")
    if span is None:
        return 0
    with suppress(ValueError):
        return int(span.rpartition("-")[2]) + 1
    raise StoreFailure(FOREIGN)


def _body(answer: Any, stop: int, timeout: float) -> Body:
    """An answer with bytes of an object; raises ``KeyError`` where its head does not tell which."""
    head, chunks = answer.headers, _chunks(answer, timeout)
    generation = head["x-goog-generation"]
    if answer.status_code != 206:
        size = int(head.get("x-goog-stored-content-length") or head["content-length"])
        return Body(chunks, 0, size, size, generation, size <= stop, answer.close)
    span, _, whole = head["content-range"].removeprefix("bytes ").partition("/")
    first, last = map(int, span.split("-"))
    return Body(chunks, first, last + 1, int(whole), generation, release=answer.close)


def _chunks(answer: Any, timeout: float) -> Iterator[bytes]:
    """The bytes of an answer as they are stored; the connection is given back, or up."""
    with answer:
        while chunk := told(lambda: answer.raw.read1(PIECE, decode_content=False), timeout):
            moved(len(chunk))
            yield chunk
