"""S3 and what speaks its protocol, through boto3: the user's own client, or one of a run's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from operator import itemgetter
from typing import Any

from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.buckets import bucket_and_key, key_of, url_of
from paipa_etl.stores.pace import Outgoing, allow, moved
from paipa_etl.stores.port import PIECE, Body, Entry, Part, StoreFailure, Upload, no_such, nothing
from paipa_etl.stores.s3_client import LACKING, shared, told

PART_SIZE = 5 << 20  # bytes of a part, the least that S3 takes
COMPLETION = 10  # timeouts: S3 puts huge objects together for minutes, and sends spaces meanwhile
PARTIAL = 206
FOREIGN = "what answers is not an S3 store: is the endpoint right?"


class S3Object:
    """One object, or a prefix, of a bucket."""

    schemes = ("s3",)
    words = frozenset({"client", "client_kwargs", "version_id", "min_part_size"})
    least_part = PART_SIZE

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options = location, options
        self._bucket, self._key = bucket_and_key(location)
        given = options.word("client", None)
        self._client = shared(options, clients) if given is None else given
        self._version = options.word("version_id", None)
        self._upload: str | None = None
        self._parts: dict[int, str] = {}
        self._sums: dict[int, bytes] = {}
        self._clients = clients
        self.part_size = max(int(options.word("min_part_size", PART_SIZE)), self.least_part)
        self.parallel = 3

    def _call(self, verb: str, take: Callable[[Any], Any] | None = None, /, **words: Any) -> Any:
        """What is taken of the answer to one request about the object, or all of it.

        What it fails with, or lacks, is raised as a store's failure.
        """
        words |= {"Bucket": self._bucket}
        request = getattr(self._client, verb)
        try:
            return told(
                lambda: take(request(**words)) if take else request(**words), self._options.timeout
            )
        except StoreFailure as error:
            failure = error
        raise self._explained(failure)

    def _explained(self, failure: StoreFailure) -> StoreFailure:
        """The failure, or that no S3 answers: it gives bytes then, and no ETag of theirs.

        A head that was cut has lost its ETag too, but no byte follows it.
        """
        if failure.kind != "strange":
            return failure
        words = {"Bucket": self._bucket, "Key": self._key or "-", "Range": "bytes=0-0"}
        with suppress(StoreFailure):
            found = told(lambda: self._client.get_object(**words), self._options.timeout)
            with closing(found["Body"]) as body:
                begun = told(lambda: body.read(1), self._options.timeout)
            if begun and not _is_whole(found):
                return StoreFailure(FOREIGN)
        return failure

    # Reading

    def stat(self) -> Entry:
        """Size, ETag and time."""
        version = {"VersionId": self._version} if self._version else {}
        entry: Entry = self._call("head_object", self._seen, Key=self._key, **version)
        return entry

    def _seen(self, found: Any) -> Entry:
        modified = found["LastModified"].timestamp()
        return Entry(self._location, found["ContentLength"], found["ETag"], modified)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range, pinned to an ETag; all of it where ``stop`` is 0."""
        try:
            found = self._get(start, stop, stamp)
        except StoreFailure as failure:
            if failure.kind != "beyond" or start:
                raise
            return nothing(self.stat(), failure)
        try:
            first, end, size, etag, part = answer_of(found)
        except (KeyError, ValueError):
            found["Body"].close()
        else:
            body = found["Body"]
            chunks, ranges = _chunks(body, self._options.timeout), part or end <= (stop or end)
            return Body(chunks, first, end, size, etag, ranges, body.close)
        raise self._explained(StoreFailure(LACKING, retryable=True, kind="strange"))

    def _get(self, start: int, stop: int, stamp: str | None) -> Any:
        """The answer to a request for a range, in boto3's words."""
        words = {"Range": f"bytes={start}-{stop - 1 if stop else ''}"} if start or stop else {}
        words |= {"IfMatch": stamp} if stamp else {}
        words |= {"VersionId": self._version} if self._version else {}
        return self._call("get_object", Key=self._key, **words)

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """A page of 1,000 objects whose key begins as the URL's does."""
        words = (more or {}) | ({} if deep else {"Delimiter": "/"})
        page: tuple[list[Entry], Any] = self._call(
            "list_objects_v2", self._entries, Prefix=key_of(prefix), **words
        )
        return page

    def _entries(self, page: Any) -> tuple[list[Entry], Any]:
        entries = [self._entry(one) for one in page.get("Contents", ())]
        if not page["IsTruncated"]:
            return entries, None
        return entries, {"ContinuationToken": page["NextContinuationToken"]}

    def _entry(self, one: Any) -> Entry:
        place = url_of("s3", self._bucket, one["Key"])
        return Entry(place, one["Size"], one["ETag"], one["LastModified"].timestamp())

    # Writing

    def check(self, clobber: bool) -> None:
        """Refuse a bucket that is not there, or an object that is to stay."""
        self._clients.get(("bucket", self._bucket, id(self._client)), self._bucket_there, id)
        if not clobber and self._exists():
            raise StoreFailure("exists", kind="exists")

    def _bucket_there(self) -> bool:
        try:
            self._call("head_bucket")
        except StoreFailure as failure:
            if failure.kind == "missing":
                raise no_such("bucket", failure) from None
            if failure.kind != "denied":  # one may write who may not look
                raise
        return True

    def _exists(self) -> bool:
        try:
            self.stat()
        except StoreFailure as failure:
            if failure.kind != "missing":
                raise
            return False
        return True

    def put(self, data: Part, clobber: bool) -> None:
        """Publish a small object; its MD5 goes along, for the store to compare."""
        try:
            self._put(data, clobber)
        except StoreFailure as failure:
            if failure.kind != "changed":  # of a put, that says that it exists
                raise
            self._accept_same(data)

    def _put(self, data: Part, clobber: bool) -> None:
        once = {} if clobber else {"IfNoneMatch": "*"}
        words = {"Body": Outgoing(data), "ContentMD5": md5_of(data)} | once
        self._call("put_object", itemgetter("ETag"), Key=self._key, **words)

    def _accept_same(self, data: Part) -> None:
        """It exists already: by our own put, whose answer was lost, or by somebody else's."""
        if self.stat().stamp != f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"':
            raise StoreFailure("exists", kind="exists")

    def begin(self) -> None:
        """Begin a multipart upload."""
        if self._upload is None:
            upload = itemgetter("UploadId")
            self._upload = self._call("create_multipart_upload", upload, Key=self._key)

    def put_part(self, number: int, data: Part) -> None:
        """Upload one part, compared by its MD5."""
        found = hashlib.md5(data, usedforsecurity=False)
        words = {"UploadId": self._upload, "PartNumber": number, "ContentMD5": _base64(found)}
        body = Outgoing(data)
        etag = self._call("upload_part", itemgetter("ETag"), Key=self._key, Body=body, **words)
        self._parts[number], self._sums[number] = etag, found.digest()

    def complete(self, size: int, clobber: bool) -> None:
        """Publish the parts; where the answer was lost, look whether they are published."""
        if not clobber and self._exists():  # not every server heeds the condition at completion
            raise StoreFailure("exists", kind="exists")
        parts = [{"PartNumber": n, "ETag": self._parts[n]} for n in sorted(self._parts)]
        once = {} if clobber else {"IfNoneMatch": "*"}
        allow(COMPLETION)
        try:
            done = self._call(
                "complete_multipart_upload",
                Key=self._key,
                UploadId=self._upload,
                MultipartUpload={"Parts": parts},
                **once,
            )
            etag = done.get("ETag") or self.stat().stamp or ""
        except StoreFailure as failure:
            if failure.code != "NoSuchUpload" and failure.kind != "changed":
                raise
            etag = self._published(size, str(failure))
        self._upload = None
        if self._expected() and etag.strip('"') != self._expected():
            raise StoreFailure("what the store has put together is not what was sent")
        if not self._expected() and self.stat().size != size:
            raise StoreFailure("what the store has put together has another size")

    def _published(self, size: int, problem: str) -> str:
        """The ETag of the object that an unanswered completion published; else the failure."""
        found = self.stat()
        expected = self._expected()
        if found.size != size or (expected and (found.stamp or "").strip('"') != expected):
            raise StoreFailure(f"the upload is gone ({problem})")
        return found.stamp or ""

    def _expected(self) -> str:
        """The ETag of the parts together, where the store's ETags are MD5 sums; else nothing."""
        plain = all(self._parts[n].strip('"') == self._sums[n].hex() for n in self._parts)
        together = b"".join(self._sums[n] for n in sorted(self._sums))
        whole = hashlib.md5(together, usedforsecurity=False).hexdigest()
        return f"{whole}-{len(self._sums)}" if plain else ""

    def abort(self) -> None:
        """Drop the parts."""
        if self._upload is not None:
            self._drop(self._key, self._upload)
            self._upload = None

    def _drop(self, key: str, upload: str) -> None:
        try:
            self._call("abort_multipart_upload", Key=key, UploadId=upload)
        except StoreFailure as failure:
            if failure.kind != "missing":
                raise

    def upload_page(self, prefix: str, more: Any) -> tuple[list[Upload], Any]:
        """A page of the multipart uploads that were neither completed nor aborted."""
        words = {"Prefix": key_of(prefix), **(more or {})}
        page: tuple[list[Upload], Any] = self._call(
            "list_multipart_uploads", self._uploads, **words
        )
        return page

    def _uploads(self, page: Any) -> tuple[list[Upload], Any]:
        found = [
            Upload(
                one["UploadId"],
                url_of("s3", self._bucket, one["Key"]),
                one["Initiated"].timestamp(),
            )
            for one in page.get("Uploads", ())
        ]
        if not page["IsTruncated"]:
            return found, None
        marks = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
        return found, {name: page[following] for name, following in marks.items()}

    def drop(self, upload: Upload) -> None:
        """Remove a left-over upload."""
        self._drop(bucket_and_key(upload.location)[1], upload.name)


def answer_of(found: Any) -> tuple[int, int, int | None, str, bool]:
    """First byte and end of an answer, size and ETag of the object, and whether it is a part of it.

    The size is None where a part says that it is not known. Raises ``KeyError`` or
    ``ValueError`` where the answer lacks something: of a part, which one it is.
    """
    length, etag = found["ContentLength"], found["ETag"]
    if found["ResponseMetadata"]["HTTPStatusCode"] != PARTIAL:
        return 0, length, length, etag, False
    span, _, size = found["ContentRange"].removeprefix("bytes ").partition("/")
    first = int(span.partition("-")[0])
    return first, first + length, None if size == "*" else int(size), etag, True


def _is_whole(found: Any) -> bool:
    """Whether an answer tells all that S3 tells with bytes."""
    with suppress(KeyError, ValueError):
        answer_of(found)
        return True
    return False


def md5_of(data: Part) -> str:
    """The value of a ``Content-MD5`` header."""
    return _base64(hashlib.md5(data, usedforsecurity=False))


def _base64(digest: Any) -> str:
    return base64.b64encode(digest.digest()).decode()


def _chunks(body: Any, timeout: float) -> Iterator[bytes]:
    """The bytes of an answer as they are stored; the connection is given back, or up.

    botocore's own body waits until all bytes that were asked for are there; the stream
    in it gives those that have come.
    """
    read = getattr(getattr(body, "_raw_stream", None), "read1", body.read)
    with closing(body):
        while chunk := told(lambda: read(PIECE), timeout):
            moved(len(chunk))
            yield chunk
