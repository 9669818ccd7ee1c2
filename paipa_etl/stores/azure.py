"""Azure Blob Storage through azure-storage-blob: blocks are staged, and committed as one blob."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from traceback import clear_frames
from typing import Any, TypeVar
from urllib.parse import urlsplit

from paipa_etl.errors import MissingDependency, PlanError
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import CONNECT_TIMEOUT, StoreOptions
from paipa_etl.stores.failures import answered, transport
from paipa_etl.stores.port import Body, Entry, Part, StoreFailure, no_such, nothing
from paipa_etl.stores.secrets import guard

PART_SIZE = 5 << 20  # bytes
LOGIN = "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY"
SECRETS = ("AccountKey", "SharedAccessSignature")  # of a connection string
LACKING = "the answer lacks what Azure tells: is the endpoint right?"
HERE = {"permit_redirects": False}  # of every call, whoever made the client
T = TypeVar("T")


def _forget_frames(error: BaseException) -> None:
    """Empty the frames of an error and of its causes: they refer to themselves, and to answers.

    Else the cyclic collector would find an answer that is not closed, some time later.
    """
    found: BaseException | None = error
    while found is not None:
        clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


class AzureObject:
    """One blob, or a prefix, of a container: ``az://container/blob``.

    ``abfs://container@account.dfs.core.windows.net/blob`` names the account too.
    """

    words = frozenset({"client", "min_part_size"})
    least_part = 1 << 16

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options, self._clients = location, options, clients
        self._root, self._container, self._name, account = _split(location)
        given = options.word("client", None)
        client = _shared(account, options, clients) if given is None else given
        self._service, self._account = client, account
        self._blob = client.get_blob_client(self._container, self._name or "-")
        self.part_size = int(options.word("min_part_size", PART_SIZE))
        self.parallel = 3
        self._blocks: set[int] = set()

    def _told(self, action: Callable[[], T]) -> T:
        """What a call to the library gives; its failure as a store's, without its own text."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            return action()
        except HttpResponseError as error:
            code = getattr(error, "error_code", None) or ""
            code = str(getattr(code, "value", code))  # an enum where the library knows the code
            headers = getattr(error.response, "headers", None)
            failure = answered(error.status_code or 0, code, headers=headers)
            _forget_frames(error)
            if error.status_code == 409 and "Exists" in code:
                failure.kind = "exists"
            if (error.status_code or 0) in range(200, 300):  # of another kind than it is to be
                failure = StoreFailure(LACKING)
        except AttributeError:  # of a time that was not told
            failure = StoreFailure(LACKING)
        except (AzureError, OSError, ValueError) as error:
            problem = f"the request could not be made ({type(error).__name__})"
            if "Content-Range" in str(error) or "Deserialization" in problem:
                problem = LACKING
            failure = transport(error, self._options.timeout) or StoreFailure(problem)
            _forget_frames(error)
        raise failure

    # Reading

    def stat(self) -> Entry:
        """Size, ETag and time."""
        return self._told(self._seen)

    def _seen(self) -> Entry:
        found = self._blob.get_blob_properties(**HERE)
        return Entry(self._location, found.size, found.etag, found.last_modified.timestamp())

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range, pinned to an ETag."""
        from azure.core import MatchConditions

        pinned = {"etag": stamp, "match_condition": MatchConditions.IfNotModified} if stamp else {}
        length = {"offset": start, "length": stop - start} if stop else {}
        try:
            found = self._told(lambda: self._blob.download_blob(**length, **pinned, **HERE))
            data = self._told(found.readall)
        except StoreFailure as failure:
            if failure.kind != "beyond" or start:
                raise
            return nothing(self.stat(), failure)
        told = found.properties
        if start and not told.content_range:
            raise StoreFailure(LACKING)
        size = told.size if not told.content_range else int(told.content_range.rpartition("/")[2])
        return Body(iter((data,) if data else ()), start, start + len(data), size, told.etag)

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """A page of 1,000 blobs whose name begins as the URL's does."""
        container = self._service.get_container_client(self._container)
        begins = prefix.removeprefix(self._root)
        words = {"name_starts_with": begins, "results_per_page": 1_000, **HERE}
        items = container.list_blobs(**words) if deep else container.walk_blobs(**words)
        pages = items.by_page(more)
        found = [one for one in self._told(lambda: list(next(pages, ()))) if "size" in one]
        entries = [
            Entry(
                Location(self._location.scheme, self._root + one.name),
                one.size,
                one.etag,
                one.last_modified.timestamp(),
            )
            for one in found
        ]
        return entries, pages.continuation_token or None

    # Writing

    def check(self, clobber: bool) -> None:
        """Refuse a container that is not there, or a blob that is to stay."""
        key = ("container", self._container, id(self._service))
        self._clients.get(key, self._container_there, id)
        if not clobber and self._exists():
            raise StoreFailure("exists", kind="exists")

    def _container_there(self) -> bool:
        container = self._service.get_container_client(self._container)
        try:
            self._told(lambda: container.get_container_properties(**HERE))
        except StoreFailure as failure:
            if failure.kind == "missing":
                raise no_such("container", failure) from None
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
        """Publish a small blob; its MD5 goes along, for the store to compare."""
        try:
            self._told(
                lambda: self._blob.upload_blob(
                    bytes(data), overwrite=clobber, length=len(data), validate_content=True, **HERE
                )
            )
        except StoreFailure as failure:
            if failure.kind != "exists" or not self._is(data):
                raise

    def _is(self, data: Part) -> bool:
        """Whether the blob is these bytes: put by ourselves, and the answer was lost."""
        body = self.read_range(0, max(len(data), 1), None)
        return body.size == len(data) and b"".join(body.chunks) == bytes(data)

    def begin(self) -> None:
        """Blocks need no beginning."""

    def put_part(self, number: int, data: Part) -> None:
        """Stage one block, compared by its MD5."""
        self._told(
            lambda: self._blob.stage_block(
                _block(number), bytes(data), length=len(data), validate_content=True, **HERE
            )
        )
        self._blocks.add(number)

    def complete(self, size: int, clobber: bool) -> None:
        """Publish the blocks; where the answer was lost, look whether they are published."""
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        once = {} if clobber else {"match_condition": MatchConditions.IfMissing, "etag": "*"}
        blocks = [BlobBlock(_block(number)) for number in sorted(self._blocks)]
        try:
            self._told(lambda: self._blob.commit_block_list(blocks, **once, **HERE))
        except StoreFailure as failure:
            # Committed blocks are no longer staged: the first answer to this was lost.
            if failure.code != "InvalidBlockList" or self.stat().size != size:
                raise
        if self.stat().size != size:
            raise StoreFailure("what the store has put together has another size")
        self._blocks.clear()

    def abort(self) -> None:
        """Nothing can be dropped: blocks that no one commits are forgotten after a week."""


def _block(number: int) -> str:
    return base64.b64encode(b"%06d" % number).decode()


def _split(location: Location) -> tuple[str, str, str, str]:
    """The URL's beginning, the container, the blob and the account (empty where none is told)."""
    scheme, rest = location.target.split("://", 1)
    place, _, name = rest.partition("/")
    container, at, host = place.partition("@")
    if not container:
        raise PlanError(f"{location}: a container is missing: az://container/blob")
    if at and (scheme != "abfs" or ":" in container):
        raise PlanError(f"{location}: credentials do not belong in a location; {LOGIN}")
    return f"{scheme}://{place}/", container, name, host.partition(".")[0]


def _shared(account: str, options: StoreOptions, clients: Clients) -> Any:
    """The run's client for an account."""
    key = ("az", account, options.endpoint_url, options.insecure, options.timeout)
    return clients.get(key, lambda: _client(account, options), lambda client: client.close())


def _client(account: str, options: StoreOptions) -> Any:
    try:
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import BlobServiceClient
    except ImportError as error:
        raise MissingDependency("az://", "azure") from error
    from paipa_etl.stores.sessions import session

    words: dict[str, Any] = {
        "retry_total": 0,  # attempts are made by us
        "connection_timeout": min(CONNECT_TIMEOUT, options.timeout),
        "read_timeout": options.timeout,
        "connection_verify": not options.insecure,
        "max_single_put_size": 1 << 30,
        "max_single_get_size": 1 << 30,
    }
    words["transport"] = RequestsTransport(session=session(), **words)
    told = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    parts = (part.partition("=") for part in (told or "").split(";"))
    guard({name: value for name, _, value in parts if name in SECRETS})
    try:
        if told and not options.endpoint_url and not account:
            return BlobServiceClient.from_connection_string(told, **words)
        account = account or _variable("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
        url = options.endpoint_url or (account and f"https://{account}.blob.core.windows.net")
        if not url:
            raise PlanError(f"az:// needs an account: {LOGIN}")
        return BlobServiceClient(url, credential=_credential(account or _of(url)), **words)
    except ValueError as error:
        if isinstance(error, PlanError):
            raise
    raise PlanError(f"a client for az:// cannot be made of what is set; {LOGIN}")


def _of(url: str) -> str:
    """The account that an endpoint names: the host's first part, or an emulator's path."""
    parts = urlsplit(url)
    return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]


def _credential(account: str) -> Any:
    """A key, a SAS token, or what azure-identity finds, where it is installed; else none."""
    if key := _variable("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"):
        guard(key)
        return {"account_name": account, "account_key": key}
    if token := _variable("AZURE_STORAGE_SAS_TOKEN"):
        guard(token)
        return token
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        return None
    return DefaultAzureCredential()


def _variable(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
