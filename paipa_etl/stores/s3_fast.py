"""S3 with the requests for data made by obstore, where it is installed: a third of boto3's work.

What is rare, and what obstore cannot (parts, their abort, listings of uploads), stays with
boto3, which also finds the credentials. The user's own client is always used as it is.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from concurrent.futures import CancelledError
from datetime import timedelta
from traceback import clear_frames
from typing import Any

from paipa_etl.clients import Clients
from paipa_etl.location import Location
from paipa_etl.stop import Stopped
from paipa_etl.stores import CONNECT_TIMEOUT, StoreOptions
from paipa_etl.stores.direct import waited_for
from paipa_etl.stores.failures import answered
from paipa_etl.stores.port import CHUNK, Body, Part, StoreFailure
from paipa_etl.stores.s3 import S3Object
from paipa_etl.stores.s3_client import LACKING

# Keys that obstore's paths hold as they are: it cleans others.
PLAIN = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[\w.\-/=+@,: ]+", re.ASCII)
STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w+)</Code>")
# What obstore says where boto3 may go on with the answer, or knows to tell what is wrong with it.
STRANGE = ("non-partial response", "Unable to extract metadata", "error following redirect")


class FastS3Object(S3Object):
    """One object, or a prefix, of a bucket; ``min_part_size`` and the like as for boto3."""

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        super().__init__(location, options, clients)
        self._fast: Bucket | None = None
        given = options.word("client", None) or "config" in options.word("client_kwargs", {})
        if not given and not self._version and PLAIN.fullmatch(self._key):
            key = ("s3-fast", self._bucket, id(self._client))
            self._fast = clients.get(key, self._made, lambda made: made and made.close())

    def _made(self) -> Bucket | None:
        """The bucket as obstore knows it; None where it is not installed, or nobody signs."""
        try:
            store = importlib.import_module("obstore.store")
        except ImportError:
            return None
        credentials = self._client._request_signer._credentials
        if credentials is None:
            return None
        return Bucket(store, self._bucket, self._client, credentials, self._options)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range, pinned to an ETag."""
        if self._fast is None or not stop:
            return super().read_range(start, stop, stamp)
        try:
            data, size, etag = self._fast.get(self._key, start, stop, stamp)
        except StoreFailure as failure:
            if "HTTP 416" in str(failure) and start == 0:
                return Body(iter(()), 0, 0, 0, self.stat().stamp)
            if failure.kind != "strange":
                raise
        else:
            return Body(iter(data), start, min(stop, size), size, etag)
        return super().read_range(start, stop, stamp)

    def put(self, data: Part, clobber: bool) -> None:
        """Publish a small object."""
        if self._fast is None:
            super().put(data, clobber)
            return
        try:
            self._fast.put(self._key, bytes(data), clobber)
        except StoreFailure as failure:
            kind = failure.kind
            if kind not in ("changed", "strange"):
                raise
        else:
            return
        if kind == "changed":
            self._accept_same(data)
        else:
            super().put(data, clobber)


class Bucket:
    """A bucket through obstore."""

    def __init__(
        self, store: Any, bucket: str, client: Any, credentials: Any, options: StoreOptions
    ) -> None:
        endpoint, self._timeout = client.meta.endpoint_url, options.timeout
        self._obstore = importlib.import_module("obstore")
        self._store = store.S3Store(
            bucket,
            endpoint=endpoint,
            region=client.meta.region_name or "us-east-1",
            virtual_hosted_style_request=False,
            credential_provider=lambda: _frozen(credentials),
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "allow_invalid_certificates": options.insecure,
                "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT, self._timeout)),
                "timeout": timedelta(days=1),  # silence is what is timed, here
            },
            retry_config={"max_retries": 0},
        )

    def get(
        self, key: str, start: int, stop: int, stamp: str | None
    ) -> tuple[list[bytes], int, str]:
        """The bytes of a range, the size of the object, its ETag."""
        wanted: dict[str, Any] = {"range": (start, stop)} | ({"if_match": stamp} if stamp else {})
        answer = self._call(lambda: self._obstore.get_async(self._store, key, options=wanted))
        size, etag = answer.meta["size"], answer.meta["e_tag"]
        small = min(stop, size) - start <= CHUNK  # then all of it, or nothing, at once
        more = answer.bytes_async if small else answer.stream(min_chunk_size=CHUNK).__anext__
        chunks: list[bytes] = []
        try:
            while (chunk := self._call(more)) is not None:
                chunks.append(bytes(chunk))
                if small:
                    break
        except StoreFailure:
            if not chunks:  # else what came is kept, and the reader asks for the rest
                raise
        finally:
            del answer, more
        return chunks, size, etag

    def put(self, key: str, data: bytes, clobber: bool) -> None:
        """Publish bytes; only where nothing is, unless it may be replaced."""
        words: dict[str, Any] = {"mode": "overwrite" if clobber else "create"}
        put = self._obstore.put_async
        self._call(lambda: put(self._store, key, data, use_multipart=False, **words))

    def _call(self, begin: Callable[[], Any]) -> Any:
        """What a request gives, None behind the last of several; its failure as a store's.

        A failure refers to this frame and its callers': they must not hold a connection then.
        """
        try:
            return waited_for(begin, self._timeout)
        except StopAsyncIteration:
            return None
        except CancelledError:
            raise Stopped from None
        except Exception as error:
            failure = self._failure(error)
            # Its frames refer to themselves, and to a connection that is to be closed with us.
            clear_frames(error.__traceback__)
        finally:
            del begin
        raise failure

    def _failure(self, error: Exception) -> StoreFailure:
        if isinstance(error, TimeoutError):
            return StoreFailure(f"silent for {self._timeout:g} seconds", again=True)
        text = str(error)
        status, code = STATUS.search(text), CODE.search(text)
        if status:
            return answered(int(status[1]), code[1] if code else "")
        if "invalid peer certificate" in text or "certificate verify" in text:
            return StoreFailure("its certificate is not valid")
        if "Connection refused" in text:
            return StoreFailure("connection refused", again=True, kind="refused")
        if any(words in text for words in STRANGE):
            return StoreFailure(LACKING, again=True, kind="strange")
        if type(error).__name__ == "GenericError":
            return StoreFailure("the connection failed", again=True)
        return StoreFailure(f"the request could not be made ({type(error).__name__})")

    def close(self) -> None:
        """Let go of the connections."""
        self._store = None


def _frozen(credentials: Any) -> dict[str, Any]:
    """What boto3 found, as it is now: it renews what expires."""
    found = credentials.get_frozen_credentials()
    given = {"access_key_id": found.access_key, "secret_access_key": found.secret_key}
    return given | {"token": found.token, "expires_at": None}
