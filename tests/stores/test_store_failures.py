"""What stores fail with: typed fields from each engine's answer; all errors survive pickling."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from test_unknown_sizes import Asked, head, s3_words, site

import paipa_etl
from paipa_etl import errors
from paipa_etl.cli.reporting import ReportMissing
from paipa_etl.errors import BadRecord, DamagedInput, PaipaError, note
from paipa_etl.failures import Place
from paipa_etl.formats import BadSample
from paipa_etl.location import parse
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.remote import object_of
from paipa_etl.suffixes import RefusedSuffix

MADE: dict[type[BaseException], tuple[Any, ...]] = {
    errors.MissingDependency: ("zstd", "zstd"),
    errors.BrokenInput: ("a comma is missing", 3, 17, "in.json"),
    DamagedInput: ("a bad block", 17, "in.jsonl.gz"),
    BadRecord: ("not JSON", Place(3, "in.jsonl", 4, 50), b"{"),
    BadSample: (2, "no such column"),
    RefusedSuffix: ("a.parquet", "parquet", "from_"),
    errors.ChangedRecord: (),
    errors.StuckWorker: (["map(f)"], 10.0, "the stacks"),
    errors.ForkedChild: ("the feed", 17),
    ReportMissing: ("report.json", OSError("no room"), None, 0),
}
"""What those are made of that take more than a message."""


def copied(error: Any) -> Any:
    """The error as another process gets it."""
    return pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)


def own_errors() -> Iterator[type[BaseException]]:
    """Every exception class of ``paipa_etl.errors``, and each that derives from one of them."""
    for module in pkgutil.walk_packages(paipa_etl.__path__, "paipa_etl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    todo: list[type[BaseException]] = [PaipaError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith("paipa_etl"):
            yield kind
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, BaseException):
            yield kind
    yield StoreFailure


ERRORS = sorted({*own_errors()}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("duplicate", [copied, copy.copy])
def test_every_error_of_ours_survives_pickling(
    kind: type[BaseException], duplicate: Callable[[Any], Any]
) -> None:
    error = kind(*MADE.get(kind, ("a message",)))
    if isinstance(error, PaipaError):
        error.parameter = "max_memory"
    note(error, "map(f), record 3 of in.jsonl")
    again = duplicate(error)
    assert type(again) is kind
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)
    assert [*map(type, again.__notes__)] == [errors.Note]


def test_a_failure_of_a_store_survives_pickling_with_all_fields() -> None:
    told: dict[str, Any] = {"status": 503, "code": "SlowDown", "retryable": True, "after": 1.5}
    failure = StoreFailure("the store is busy", **told, kind="silent")
    again = copied(failure)
    assert str(again) == "the store is busy"
    assert vars(again) == told | {"kind": "silent"}


# What each engine makes of an answer


def failure_of(url: str, **words: Any) -> StoreFailure:
    """What a request for the first bytes of an object fails with."""
    clients = Clients()
    try:
        reader = object_of(parse(url), StoreOptions({"timeout": 5, **words}), clients)
        with pytest.raises(StoreFailure) as caught:
            reader.read_range(0, 10, None)
        return caught.value
    finally:
        clients.close()


def fields(failure: StoreFailure) -> tuple[Any, ...]:
    return failure.status, failure.code, failure.retryable, failure.kind


def answer_of(status: int, body: bytes = b"", *more: str) -> Callable[[Asked], bytes]:
    length = f"Content-Length: {len(body)}"
    return lambda asked: head(f"{status} x", length, *more) + body


def xml(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>the message</Message></Error>".encode()


S3_CASES = [
    (404, "NoSuchKey", (404, "NoSuchKey", False, "missing"), "(NoSuchKey: the message, HTTP 404)"),
    (403, "AccessDenied", (403, "AccessDenied", False, "denied"), "access denied (AccessDenied"),
    (503, "SlowDown", (503, "SlowDown", True, ""), "the store is busy (SlowDown"),
    # It may pass whatever its status, which is told as it came.
    (400, "RequestTimeout", (400, "RequestTimeout", True, ""), "the store is busy (RequestTimeout"),
]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("status", "code", "expected", "words"), S3_CASES)
def test_s3(status: int, code: str, expected: tuple[Any, ...], words: str, fast: bool) -> None:
    with site(answer_of(status, xml(code), "Retry-After: 7")) as (port, _):
        given = s3_words(port) if fast else s3_words(port) | {"version_id": "1"}
        failure = failure_of("s3://kit/x", **given)
    assert fields(failure) == expected
    assert failure.after == 7
    assert words in str(failure)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": 404, "errors": [{"reason": "notFound"}]}}', "notFound"),
        (b'{"error": {"code": 404}}', ""),
        (b'{"error": [', ""),
        (b"not found", ""),
        (b"", ""),
    ],
)
def test_google(body: bytes, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(answer_of(404, body, "Content-Type: application/json")) as (port, _):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        failure = failure_of("gs://kit/x")
    assert fields(failure) == (404, code, False, "missing")
    assert str(failure) == "there is nothing of that name (HTTP 404)"


def azure_at(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at = f"BlobEndpoint=http://127.0.0.1:{port}/kit"
    text = f"DefaultEndpointsProtocol=http;AccountName=kit;AccountKey={servers.AZURITE_KEY};{at}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)


AZURE_CASES = [
    (404, "BlobNotFound", (404, "BlobNotFound", False, "missing")),
    (409, "BlobAlreadyExists", (409, "BlobAlreadyExists", False, "exists")),
    (503, "ServerBusy", (503, "ServerBusy", True, "")),
    (403, "SomethingNew", (403, "SomethingNew", False, "denied")),
    (500, "", (500, "", True, "")),
]


@pytest.mark.parametrize(("status", "code", "expected"), AZURE_CASES)
def test_azure(
    status: int, code: str, expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(answer_of(status, b"", *([f"x-ms-error-code: {code}"] if code else []))) as (port, _):
        azure_at(port, monkeypatch)
        failure = failure_of("az://kit/x")
    assert fields(failure) == expected
    assert code in str(failure)


def test_azure_blocks_that_an_unanswered_request_has_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second commit is refused, as the blocks are no longer staged: the blob is there."""

    def answer(asked: Asked) -> bytes:
        if asked.verb == "HEAD":
            kind, date = "x-ms-blob-type: BlockBlob", "Last-Modified: Tue, 01 Jul 2025 00:00:00 GMT"
            return head("200 All", "Content-Length: 9", 'ETag: "one"', date, kind)
        return head("400 x", "Content-Length: 0", "x-ms-error-code: InvalidBlockList")

    with site(answer) as (port, _):
        azure_at(port, monkeypatch)
        clients = Clients()
        writer = object_of(parse("az://kit/x"), StoreOptions({"timeout": 5}), clients)
        writer.complete(9, True)
        with pytest.raises(StoreFailure) as caught:
            writer.complete(10, True)
        clients.close()
    assert fields(caught.value) == (400, "InvalidBlockList", False, "")


@pytest.mark.parametrize(
    ("status", "more", "expected"),
    [
        (404, [], (404, "", False, "missing")),
        (429, ["Retry-After: 7"], (429, "", True, "")),
        (302, [], (302, "", False, "")),
        (302, ["Location: ftp://somewhere/x"], (302, "", False, "")),
        (302, ["Location: /x"], (302, "", False, "")),
    ],
)
def test_http(status: int, more: list[str], expected: tuple[Any, ...]) -> None:
    with site(answer_of(status, b"", *more)) as (port, _):
        failure = failure_of(f"http://127.0.0.1:{port}/x")
    assert fields(failure) == expected


def test_sftp(tmp_path: Path) -> None:
    with servers.openssh(tmp_path) as place:
        failure = failure_of(place.url("missing"), **place.words)
    assert fields(failure) == (None, "FX_NO_SUCH_FILE", False, "missing")
    assert str(failure) == "there is nothing of that name"


def test_nobody_listens() -> None:
    failure = failure_of(f"http://127.0.0.1:{servers.free_port()}/x")
    assert fields(failure) == (None, "", True, "refused")
