"""S3 without boto3's layers around the requests that carry data: less than half of its work.

These requests are signed by botocore's signer and sent through the session of boto3's own client,
which has its connections, proxies, certificates and timeouts, and follows no redirect. Whatever
else is asked of S3 (parts, their abort, listings), and whatever is redirected, boto3 does. The
user's own client is always used as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import quote

from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.failures import ELSEWHERE
from paipa_etl.stores.pace import Outgoing
from paipa_etl.stores.port import Part, StoreFailure
from paipa_etl.stores.s3 import S3Object, md5_of
from paipa_etl.stores.s3_client import LACKING, refused, told

# Buckets whose name is a path of the endpoint's URL; those of S3 Express are signed otherwise.
PLAIN = re.compile(r"[A-Za-z0-9][\w.\-]*(?<!--x-s3)", re.ASCII)
REGIONS = {None: "us-east-1", "aws-global": "us-east-1"}
CODE = re.compile(rb"<Code>(\w+)</Code>")
MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")
ERROR = 1 << 16  # bytes of an error's text that are looked at


class FastS3Object(S3Object):
    """One object, or a prefix, of a bucket; ``min_part_size`` and the like as for boto3."""

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        super().__init__(location, options, clients)
        self._fast: Bucket | None = None
        given = options.word("client", None) is not None
        given = given or "config" in options.word("client_kwargs", {})
        if not given and not self._version and PLAIN.fullmatch(self._bucket):
            key = ("s3-fast", self._bucket, id(self._client))
            self._fast = clients.get(key, self._made, id)

    def _made(self) -> Bucket | None:
        """The requests of the bucket; None where nobody signs, or in another way."""
        signer = self._client._request_signer
        if signer._credentials is None or signer.signature_version != "s3v4":
            return None
        return Bucket(self._client, self._bucket, self._options.timeout)

    def _get(self, start: int, stop: int, stamp: str | None) -> Any:
        if self._fast is None or self._fast.moved:
            return super()._get(start, stop, stamp)
        headers = {"Range": f"bytes={start}-{stop - 1 if stop else ''}"} if start or stop else {}
        headers |= {"If-Match": stamp} if stamp else {}
        try:
            return self._fast.get(self._key, headers)
        except StoreFailure as failure:
            if failure.kind != "moved":
                raise self._explained(failure) from None
        return super()._get(start, stop, stamp)

    def _put(self, data: Part, clobber: bool) -> None:
        if self._fast is None or self._fast.moved:
            super()._put(data, clobber)
            return
        try:
            self._fast.put(self._key, data, clobber)
        except StoreFailure as failure:
            if failure.kind != "moved":
                raise self._explained(failure) from None
        else:
            return
        super()._put(data, clobber)


class Bucket:
    """The requests for the data of a bucket; ``moved`` once one of them was redirected.

    Where to, is not looked at: boto3 computes the endpoint of the bucket's region itself.
    """

    def __init__(self, client: Any, bucket: str, timeout: float) -> None:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.response import StreamingBody

        self._request, self._signature, self._streaming = AWSRequest, S3SigV4Auth, StreamingBody
        self._credentials = client._request_signer._credentials
        self._session, self._timeout = client._endpoint.http_session, timeout
        region = client.meta.region_name
        self._region = REGIONS.get(region, region)
        self._root = f"{client.meta.endpoint_url.rstrip('/')}/{bucket}/"
        self.moved = False

    def get(self, key: str, headers: dict[str, str]) -> dict[str, Any]:
        """The answer to a GET, in boto3's words; what it does not tell is left out."""
        answer = self._sent("GET", key, headers, b"")
        head, length = answer.headers, answer.headers.get("content-length", "")
        told_of = {"ContentRange": head.get("content-range"), "ETag": head.get("etag")}
        told_of |= {"ContentLength": int(length) if length.isdecimal() else None}
        found = {name: value for name, value in told_of.items() if value is not None}
        found["ResponseMetadata"] = {"HTTPStatusCode": answer.status_code}
        return found | {"Body": self._streaming(answer.raw, found.get("ContentLength"))}

    def put(self, key: str, data: Part, clobber: bool) -> None:
        """Publish bytes, compared by their MD5; only where nothing is, unless ``clobber``."""
        headers = {"Content-MD5": md5_of(data)} | ({} if clobber else {"If-None-Match": "*"})
        headers["Content-Length"] = str(len(data))
        answer = self._sent("PUT", key, headers, Outgoing(data))
        told(lambda: answer.raw.read(ERROR), self._timeout)
        answer.raw.close()
        if "etag" not in answer.headers:
            raise StoreFailure(LACKING, retryable=True, kind="strange")

    def _sent(self, verb: str, key: str, headers: Mapping[str, str], body: Any) -> Any:
        """The answer to a signed request; one that is an error is a failure."""
        url = self._root + quote(key, "/~")
        words = {"headers": dict(headers), "data": body, "stream_output": True}
        request = self._request(verb, url, **words)
        # Over TLS, the MD5 that goes along does for the body: it need not be signed, too.
        request.context["has_streaming_input"] = True

        def send() -> Any:
            frozen = self._credentials.get_frozen_credentials()  # boto3 renews what expires
            self._signature(frozen, "s3", self._region).add_auth(request)
            return self._session.send(request.prepare())

        answer = told(send, self._timeout)
        failure = self._refusal(answer)
        if failure is None:
            return answer
        del answer  # its connections would last as long as the failure's traceback
        raise failure

    def _refusal(self, answer: Any) -> StoreFailure | None:
        """What an answer that is no success says; it is closed."""
        status = answer.status_code
        if status in (200, 206):
            return None
        text = b"" if status < 400 else told(lambda: answer.raw.read(ERROR), self._timeout)
        answer.raw.close()
        if status < 400:
            self.moved = True
            return StoreFailure(ELSEWHERE, status=status, kind="moved")
        code, message = (
            found and found[1].decode() for found in (CODE.search(text), MESSAGE.search(text))
        )
        return refused(status, code or "", unescape(message or ""), answer.headers)
