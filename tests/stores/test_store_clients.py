"""Remote stores on real servers of our own: S3 with multipart uploads, HTTP with cut bodies."""

from __future__ import annotations

import gzip
import http.server
import os
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import SAMPLE, Command

from paipa_etl import InputError, OutputError, Pipeline, PlanError, read, steps, transfer, write
from paipa_etl.location import parse
from paipa_etl.run.clients import Clients
from paipa_etl.stores import NO_OPTIONS, StoreOptions
from paipa_etl.stores.cleaning import Leftovers

PART = 5 << 20  # the smallest part that the protocol allows
WORD = "x" * 1000

pytestmark = [
    pytest.mark.keeps_descriptors,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
]


def options_of(s3: Any) -> StoreOptions:
    return StoreOptions({"client": s3, "min_part_size": PART})


@pytest.mark.parametrize("at", [0, 9_000, 19_999])
def test_an_upload_of_many_parts_that_fails_is_aborted(s3: Any, at: int) -> None:
    target = write("s3://uploads/many.jsonl", options=options_of(s3))
    s3.put_object(Bucket="uploads", Key="many.jsonl", Body=b"old")

    def fail(n: int) -> str:
        if n == at:
            raise KeyError(n)
        return WORD

    with pytest.raises(KeyError):
        Pipeline(range(20_000), [steps.map(fail)], target).run()
    assert s3.get_object(Bucket="uploads", Key="many.jsonl")["Body"].read() == b"old"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="uploads")


def test_an_upload_of_many_parts_is_whole(s3: Any) -> None:
    target = write("s3://uploads/whole.txt", options=options_of(s3))
    report = Pipeline(range(20_000), [steps.map(lambda _: WORD)], target).run()
    size = s3.head_object(Bucket="uploads", Key="whole.txt")["ContentLength"]
    assert size == report.bytes_out == 20_000 * (len(WORD) + 1)
    source = read("s3://uploads/whole.txt", options=options_of(s3))
    assert sum(record == WORD for record in source) == 20_000
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="uploads")


def test_an_early_stop_of_an_object_leaves_nothing(s3: Any) -> None:
    s3.put_object(Bucket="uploads", Key="long.txt", Body=os.urandom(8 << 20))
    source = read("s3://uploads/long.txt", from_="bytes", options=options_of(s3))
    assert (source | steps.limit(3)).run().read == 3


def test_a_missing_object_and_a_missing_bucket_are_named(s3: Any) -> None:
    with pytest.raises(InputError, match="s3://uploads/none"):
        read("s3://uploads/none", options=options_of(s3)).run()
    with pytest.raises(OutputError, match="s3://no-bucket/out"):
        Pipeline([1], [], write("s3://no-bucket/out", options=options_of(s3))).run()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``/whole``, and ``/cut/N``: N bytes of it under the length of all."""

    body = gzip.compress(b"".join(b"%d\n" % n for n in range(5_000)))

    def do_GET(self) -> None:
        kind, _, count = self.path.partition("?")[0].strip("/").partition("/")
        if kind not in ("whole", "cut", "plain"):
            self.send_error(404)
            return
        body = gzip.decompress(self.body) if kind == "plain" else self.body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: int(count)] if count else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a server that runs for the module."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("page", ["whole", "plain"])
def test_a_page_is_a_source(site: str, page: str) -> None:
    with_name = read(f"{site}/{page}", from_="jsonl.gz" if page == "whole" else "jsonl")
    assert list(with_name) == list(range(5_000))


@pytest.mark.parametrize("kind", ["cut", "plain"])
@pytest.mark.parametrize("size", [0, 1, 2_000, -1])
def test_a_body_shorter_than_its_length_is_an_error(
    site: str, tmp_path: Any, kind: str, size: int
) -> None:
    whole = Handler.body if kind == "cut" else gzip.decompress(Handler.body)
    count = size % len(whole)
    suffixes = "jsonl.gz" if kind == "cut" else "jsonl"
    options = StoreOptions({"backoff": 0.01})
    source = read(f"{site}/{kind}/{count}", from_=suffixes, options=options)
    with pytest.raises(InputError):
        Pipeline(source, [], tmp_path / "out.jsonl").run()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_page_is_named_without_its_query(site: str) -> None:
    with pytest.raises(InputError, match="/nothing") as caught:
        read(f"{site}/nothing?token=hush").run()
    assert "hush" not in str(caught.value)


def test_a_page_is_no_sink_unless_that_is_asked_for(site: str) -> None:
    with pytest.raises(ValueError, match="written by a PUT"):
        Pipeline([1], [], f"{site}/out").run()


def test_s3_is_transformed_in_stream_and_published_whole(s3: Any) -> None:
    options = StoreOptions({"client": s3})
    s3.upload_file(str(SAMPLE), "bucket", "in.jsonl.gz")
    source, target = (
        read("s3://bucket/in.jsonl.gz", options=options),
        write("s3://bucket/out.jsonl.zst", options=options),
    )
    report = (source | steps.map(lambda r: r["id"]) | target).run()
    expected = [record["id"] for record in read(SAMPLE)]
    assert list(read("s3://bucket/out.jsonl.zst", options=options)) == expected
    assert report.balanced
    before = s3.get_object(Bucket="bucket", Key="out.jsonl.zst")["ETag"]
    for at in (0, 14_000):
        bad = steps.map(lambda r, at=at: r["id"] if r["id"] != expected[at] else 1 // 0)
        with pytest.raises(ZeroDivisionError):
            (source | bad | target).run()
    assert s3.get_object(Bucket="bucket", Key="out.jsonl.zst")["ETag"] == before
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="bucket")
    with pytest.raises(InputError, match="missing"):
        read("s3://bucket/missing", options=options).run()


class Page(http.server.BaseHTTPRequestHandler):
    """Answers to everything alike: a login page, a portal, somebody else's API."""

    protocol_version = "HTTP/1.1"
    status, body = 200, b""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        if self.status != 200:
            self.send_header("Location", "/login")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Page]]:
    """What answers at the endpoint that the environment names for every store."""
    page = type("Page", (Page,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        azure = f"AccountName=account;AccountKey=a2V5;BlobEndpoint={endpoint}/account;"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure)
        yield page
        server.shutdown()
        thread.join()


@pytest.fixture(params=["boto3", "signed"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each engine of S3 in turn."""
    if request.param == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)


def fails_in_our_words(scheme: str, words: str) -> None:
    """Whatever is asked of a store fails so, with its location, and not to be tried again."""
    for name in ("x.jsonl", "a/*.jsonl", "x*y.jsonl", "a/**/x.jsonl"):
        url = f"{scheme}://logs/{name}"
        with pytest.raises(InputError, match=f"^{re.escape(url)}: {words}") as read_of:
            read(url).run()
        assert read_of.value.exit_code == 3
    for lines, clobber in (([WORD], True), ([WORD], False), ([WORD] * 18_000, True)):
        sink = write(f"{scheme}://clean/x.txt", clobber=clobber)
        with pytest.raises(OutputError, match=f"^{scheme}://clean/x.txt: {words}") as write_of:
            Pipeline(lines, [], sink).run()
        assert write_of.value.exit_code == 6


def cannot_be_listed(words: str) -> None:
    """What was left over in a bucket of S3 is not said to be nothing."""
    clients = Clients()
    with pytest.raises(OutputError, match=f"^s3://clean/: {words}"):
        list(Leftovers(parse("s3://clean/"), StoreOptions(), clients))
    clients.close()


BODIES = [b"<html><p>Log in</p></html>", b"<!doctype html><br>Log in & on", b'{"ok": true}']
REDIRECTS = "the store redirects to elsewhere: are its region and the endpoint right"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.usefixtures("engine")
def test_an_endpoint_that_is_no_s3_is_named_as_that(no_store: type[Page], body: bytes) -> None:
    """It takes everything that is sent, and calls it a success."""
    no_store.body = body
    words = "what answers is not an S3 store: is the endpoint right"
    fails_in_our_words("s3", words)
    cannot_be_listed(words)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("gs", "what (answers is not Google|the store has put together is not what was sent)"),
        ("az", "the answer lacks what Azure tells: is the endpoint right"),
    ],
)
def test_an_endpoint_that_is_another_store_or_none(
    no_store: type[Page], body: bytes, scheme: str, words: str
) -> None:
    no_store.body = body
    fails_in_our_words(scheme, words)


@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.usefixtures("engine")
def test_an_endpoint_that_redirects_everything(no_store: type[Page], status: int) -> None:
    """Asked for the region of the bucket, which boto3 looks for then, it redirects too."""
    no_store.status = status
    fails_in_our_words("s3", REDIRECTS)
    cannot_be_listed(REDIRECTS)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_another_endpoint_that_redirects_everything(no_store: type[Page], scheme: str) -> None:
    no_store.status = 301
    fails_in_our_words(scheme, REDIRECTS)


@pytest.mark.parametrize("endpoint", ["nonsense", "host:9000", "http://", "http://host:port"])
def test_what_is_no_endpoint_is_named(paipa: Command, endpoint: str) -> None:
    """On the command line, for every store; and where boto3 finds it."""
    words = f"a URL such as https://host:port, and {endpoint} is none".encode()
    for url in ("s3://logs/x.jsonl", "gs://logs/x.jsonl", "az://logs/x.jsonl"):
        done = paipa("--endpoint-url", endpoint, url, "out.jsonl")
        assert (done.returncode, words in done.stderr) == (2, True)
    cleanup = paipa("cleanup", "--endpoint-url", endpoint, "s3://logs/")
    assert (cleanup.returncode, words in cleanup.stderr) == (2, True)
    found = paipa(
        *("s3://logs/x.jsonl", "out.jsonl"), env={**os.environ, "AWS_ENDPOINT_URL": endpoint}
    )
    assert (found.returncode, words in found.stderr) == (2, True)


@pytest.mark.parametrize("url", [
    *("s3://clean/", "s3://clean", "gs://clean/", "gs://clean", "az://clean/", "az://clean"),
    *("abfs://clean@account.dfs.core.windows.net/", "abfs://clean@account.dfs.core.windows.net"),
])  # fmt: skip
def test_a_bucket_alone_is_no_object(url: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", s3.meta.endpoint_url)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    options = options_of(s3) if url.startswith("s3:") else NO_OPTIONS
    missing = rf"^{re.escape(str(parse(url)))}: a (key|name|blob) is missing: {url[:5]}"
    with pytest.raises(PlanError, match=missing) as caught:
        read(url, from_="jsonl", options=options).run()
    with pytest.raises(PlanError, match=missing):
        transfer(Pipeline(read(url, from_="jsonl", options=options), [], write("{index}.jsonl")))
    given: list[int] = []
    with pytest.raises(PlanError, match=missing):
        Pipeline([1], [steps.tap(given.append)], write(url, to="jsonl", options=options)).run()
    assert (caught.value.exit_code, given) == (2, [])


def test_leftovers_of_a_bucket_are_listed_all_the_same(s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket="uploads", Key="left.txt")["UploadId"]
    clients = Clients()
    for url in ("s3://uploads", "s3://uploads/"):
        found = [*Leftovers(parse(url), StoreOptions({"client": s3}), clients)]
        assert [one.location.name for one in found] == ["left.txt"]
    clients.close()
    s3.abort_multipart_upload(Bucket="uploads", Key="left.txt", UploadId=upload)


def test_credentials_that_are_given_are_looked_for_nowhere_else(
    s3: Any, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine's metadata service, which answers late or never outside of a cloud."""
    asked: list[str] = []
    monkeypatch.setattr(Handler, "do_PUT", lambda self: asked.append(self.path), raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", site)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    words = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "region_name": "us-east-1",
        "endpoint_url": s3.meta.endpoint_url,
    }
    s3.put_object(Bucket="uploads", Key="given.txt", Body=b"data\n")
    source = read("s3://uploads/given.txt", options=StoreOptions({"client_kwargs": words}))
    assert list(source) == ["data"]
    assert asked == []
