"""Canaries: secrets of every kind, in every place that takes one; failures tell none of them.

What each channel says is looked through: errors with all that hangs on them, warnings, logs of
client libraries at their lowest level, the command's output, plans and their parts.
"""

from __future__ import annotations

import base64
import gc
import logging
import os
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import COMMAND
from servers import Place, free_port

from paipa_etl import Pipeline, read, steps, write
from paipa_etl.location import parse
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions, secrets
from paipa_etl.stores.failures import answered
from paipa_etl.stores.http import HttpObject
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.remote import told_as

QUICK = {"retries": 1, "backoff": 0.01, "timeout": 1}
LOGIN = "robert:CANARY-1"
QUERIES = {
    "SigV4": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=CANARY-2%2F20260101"
    "&X-Amz-Security-Token=CANARY-3%2B%3D&X-Amz-Signature=CANARY-4",
    "SAS": "sv=2024-11-04&se=2030&sr=b&sp=r&sig=CANARY-5%2F%2B%3D",
    "GCS": "X-Goog-Algorithm=GOOG4&X-Goog-Credential=CANARY-6%40x&X-Goog-Signature=CANARY-7",
}
HEADERS = {"Authorization": "Bearer CANARY-8", "X-Api-Key": "CANARY-9", "Cookie": "id=CANARY-10"}
KEY = base64.b64encode(b"CANARY-11 CANARY-11 CANARY-11").decode()
PROXY = "http://robert:CANARY-12@127.0.0.1:"
SHIELD = {
    "AWS_ACCESS_KEY_ID": "AKIACANARY1234567890",
    "AWS_SECRET_ACCESS_KEY": "CANARY-13",
    "AWS_SESSION_TOKEN": "CANARY-14+/=",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_STORAGE_KEY": KEY,
}
HIDDEN = ("CANARY", KEY, base64.b64encode(LOGIN.encode()).decode(), LOGIN)
pytestmark = pytest.mark.filterwarnings("ignore::paipa_etl.errors.PaipaWarning")


class Handler(BaseHTTPRequestHandler):
    """``/status/N``, and what else the methods say."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        kind, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        query = self.path.partition("?")[2]
        to = {
            "loop": self.path,
            "away": f"http://{LOGIN}@localhost:1/x?{query}",
            "ftp": f"ftp://{LOGIN}@localhost:1/x?{query}",
            "port": "http://localhost:CANARY-15/x",
            "garbage": f"http://{LOGIN}@[CANARY-16/x?{query}",
        }.get(kind)
        if to:
            self.say(302, Location=to)
        elif kind == "status":
            self.say(int(rest), Retry_After="0", X_Amz_Error=f"CANARY-17 {self.path}")
        elif kind == "cut":
            self.say(200, b"x" * 10, Content_Length="1000")
        elif kind == "chunks":
            self.say(200, b"ffff\r\nxx", Content_Length=None, Transfer_Encoding="chunked")
        elif kind == "length":
            self.say(200, b"x", Content_Length="CANARY-18")
        elif kind == "range":
            self.say(206, b"x", Content_Range="bytes CANARY-19")
        else:
            self.say(200, b"not JSON\n")

    do_HEAD = do_PUT = do_CONNECT = do_GET  # noqa: N815

    def say(self, code: int, body: bytes = b"", **headers: str | None) -> None:
        self.close_connection = True
        self.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> Iterator[None]:
    """What was there before, and the client libraries, is not looked through after each test."""
    for name in ("boto3", "google.cloud.storage", "azure.storage.blob", "asyncssh", "smart_open"):
        pytest.importorskip(name)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        place.put("there.jsonl", b"1\n")
        yield place


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.openssh(tmp_path_factory.mktemp("ssh")) as place:
        yield place


class Everything(logging.Handler):
    """All that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everything]:
    """What is logged while a test runs; the environment holds secrets too."""
    for name, value in SHIELD.items():
        monkeypatch.setenv(name, value)
    handler, root = Everything(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def all_of(error: BaseException | None, seen: list[BaseException] | None = None) -> str:
    """An error with all that hangs on it: notes, causes, contexts, suppressed ones too."""
    seen = seen if seen is not None else []
    if error is None or any(error is one for one in seen):
        return ""
    seen.append(error)
    told = traceback.TracebackException.from_exception(error)
    text = "".join(told.format_exception_only()) + repr(error) + repr(error.args)
    text += "".join(getattr(error, "__notes__", ()))
    return text + all_of(error.__cause__, seen) + all_of(error.__context__, seen)


def plain(plan: Pipeline) -> str:
    """A plan and its parts, in the forms in which they are printed."""
    parts = [plan, plan.source, plan.sink]
    for part in (plan.source, plan.sink):
        parts += [*getattr(part, "locations", ()), getattr(part, "location", None)]
        parts += [getattr(part, "options", None)]
    return "".join(f"{part!r} {part!s} {part}" for part in parts)


def sweep(log: Everything, make: Callable[[], Pipeline], fails: bool = True) -> str:
    """Run a plan that fails: no channel may tell a secret. What they told, all together."""
    told, failed = "", False
    try:
        plan = make()
        told += plain(plan)
        plan.run()
    except Exception as error:
        failed = True
        told += all_of(error)
    assert failed == fails, told
    told += "\n".join(log.said)
    for secret in HIDDEN:
        assert secret not in told, told[max(told.find(secret) - 200, 0) :][:400]
    return told


# HTTP

PAGES = [
    *(f"status/{code}" for code in (400, 401, 403, 404, 407, 412, 416, 429, 500, 503)),
    *("loop", "away", "ftp", "port", "garbage", "cut", "chunks", "length", "range", "whole"),
]


@pytest.mark.parametrize("page", PAGES)
def test_reading_a_page_fails(site: int, log: Everything, page: str) -> None:
    words = {**QUICK, "headers": HEADERS}
    for query in QUERIES.values():
        url = f"http://{LOGIN}@127.0.0.1:{site}/{page}?{query}#CANARY-20"
        sweep(log, lambda url=url: read(url, from_="jsonl", options=StoreOptions(words)))  # type: ignore[misc]


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith(("s", "l", "a", "p"))])
def test_writing_a_page_fails(site: int, log: Everything, page: str) -> None:
    url = f"http://{LOGIN}@127.0.0.1:{site}/{page}?{QUERIES['SAS']}"
    words = {**QUICK, "headers": HEADERS, "method": "PUT", "user": "eve", "password": "CANARY-21"}
    sink = write(url, to="jsonl", clobber=page != "status/412", options=StoreOptions(words))
    sweep(log, lambda: Pipeline([1], [], sink), fails=page != "length")


@pytest.mark.parametrize("kind", ["refused", "host", "no words", "words", "smart", "silent"])
def test_no_page_comes(site: int, log: Everything, kind: str) -> None:
    words: dict[str, Any] = {**QUICK, "headers": HEADERS}
    words |= {
        "words": {"clinet": "CANARY-22"},
        "smart": {"kerberos": False, "cert": "CANARY-23"},
    }.get(kind, {})
    port = {"refused": free_port()}.get(kind, site)
    host = "no-such-host.invalid" if kind == "host" else "127.0.0.1"
    url = f"http://{LOGIN}@{host}:{port}/status/403?{QUERIES['GCS']}"
    sweep(log, lambda: read(url, from_="jsonl", options=StoreOptions(words)))


WRONG = [
    f"http://{LOGIN}/2@127.0.0.1/x",
    f"sftp://{LOGIN}/2@127.0.0.1/x",
    f"http://{LOGIN}@ho\u2100st/x",
    f"http://{LOGIN}@[127/x?CANARY-24",
    f"file://{LOGIN}@host/x?CANARY-24",
    f"s3://{LOGIN}@bucket/x",
    f"gs://{LOGIN}@bucket/x",
    f"az://{LOGIN}@container/x",
    f"abfs://{LOGIN}@account.dfs.core.windows.net/x",
    f"ftp://{LOGIN}@host/x?CANARY-24",
    f"zip::http://{LOGIN}@host/x?CANARY-24",
]


def test_locations_that_are_none(log: Everything) -> None:
    given = StoreOptions(QUICK)
    for url in WRONG:
        sweep(log, lambda url=url: read(url, from_="jsonl", options=given))  # type: ignore[misc]
        sweep(log, lambda url=url: Pipeline([1], [], write(url, to="jsonl", options=given)))  # type: ignore[misc]


@pytest.mark.parametrize("scheme", ["http", "https", "s3"])
def test_a_proxy_with_a_password(
    site: int, log: Everything, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    page = f"{scheme}://{LOGIN}@store.example/cut?{QUERIES['SAS']}"
    url = "s3://bucket/x" if scheme == "s3" else page
    for port in (site, free_port(), "CANARY-25"):
        monkeypatch.setenv("http_proxy", f"{PROXY}{port}")
        monkeypatch.setenv("https_proxy", f"{PROXY}{port}")
        sweep(log, lambda: read(url, from_="jsonl", options=StoreOptions(QUICK)))


# The other stores


@pytest.mark.parametrize("kind", ["missing", "bucket", "kept", "same", "step", "endpoint"])
@pytest.mark.parametrize("place", ["environment", "client_kwargs"])
def test_s3(
    moto: Place, log: Everything, kind: str, place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    port = free_port() if kind == "endpoint" else moto.port
    given = {"endpoint_url": f"http://{LOGIN}@127.0.0.1:{port}"} if kind == "endpoint" else {}
    given |= {} if kind == "endpoint" else {"endpoint_url": f"http://127.0.0.1:{port}"}
    if place == "client_kwargs":
        given |= {"aws_access_key_id": "AKIACANARY0000000000", "region_name": "us-east-1"}
        given |= {"aws_secret_access_key": "CANARY-26", "aws_session_token": "CANARY-27/+"}
    options = StoreOptions({**QUICK, "client_kwargs": given})
    names = {"missing": "s3://kit/none.jsonl", "bucket": "s3://none/x.jsonl"}
    source = read(names.get(kind, "s3://kit/there.jsonl"), options=options)
    target = "s3://kit/there.jsonl" if kind in ("kept", "same") else "s3://kit/new.jsonl"
    sink = write(target, clobber=kind != "kept", options=options)
    made = steps.map(lambda r: 1 // 0) if kind == "step" else []
    plan = (source if kind != "kept" else Pipeline([1])) | made | sink
    sweep(log, lambda: plan)
    monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    sweep(log, lambda: plan)


@pytest.mark.parametrize("kind", ["password", "key", "host key", "refused", "word"])
def test_sftp(openssh: Place, log: Everything, kind: str, tmp_path: Path) -> None:
    port = free_port() if kind == "refused" else openssh.port
    words = {"password": "CANARY-28", "passphrase": "CANARY-29", "username": "robert"}
    words |= {"pasword": "CANARY-30"} if kind == "word" else {}
    if kind != "host key":
        words["known_hosts"] = openssh.words["connect_kwargs"]["known_hosts"]
    if kind == "key":
        (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n")
        words["key_filename"] = str(tmp_path / "key")
    given = StoreOptions({**QUICK, "connect_kwargs": words})
    url = f"sftp://{LOGIN}@127.0.0.1:{port}/x.jsonl"
    sweep(log, lambda: read(url, options=given))
    sweep(log, lambda: Pipeline([1], [], write(url, options=given)))


@pytest.mark.parametrize("kind", ["key", "string", "string with SAS", "SAS", "broken string"])
def test_azure(site: int, log: Everything, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    at = f"BlobEndpoint=http://127.0.0.1:{site}/status"
    strings = {
        "string": f"DefaultEndpointsProtocol=http;AccountName=robert;AccountKey={KEY};{at}",
        "string with SAS": f"SharedAccessSignature={QUERIES['SAS']};{at}",
        "broken string": f"AccountKey={KEY}CANARY-31;AccountName",
    }
    if kind in strings:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", strings[kind])
    else:
        monkeypatch.setenv("http_proxy", f"{PROXY}{site}")
        monkeypatch.setenv("https_proxy", f"{PROXY}{site}")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "robert")
    if kind == "SAS":
        monkeypatch.delenv("AZURE_STORAGE_KEY")
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", QUERIES["SAS"])
    sweep(log, lambda: read("az://403/x.jsonl", options=StoreOptions(QUICK)))
    sweep(log, lambda: Pipeline([1], [], write("az://403/x.jsonl", options=StoreOptions(QUICK))))
    if kind == "string":
        assert "http://127.0.0.1" in "".join(log.said), "what is public is told"


@pytest.mark.parametrize("kind", ["endpoint", "credentials"])
def test_gcs(
    site: int, log: Everything, monkeypatch: pytest.MonkeyPatch, kind: str, tmp_path: Path
) -> None:
    if kind == "endpoint":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{LOGIN}@127.0.0.1:{site}")
    else:
        (tmp_path / "key.json").write_text(
            '{"type": "service_account", "private_key": "CANARY-32"}'
        )
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    sweep(log, lambda: read("gs://bucket/x.jsonl", options=StoreOptions(QUICK)))


def test_a_file_system_that_is_allowed(log: Everything) -> None:
    login = {"password": "CANARY-33", "username": "robert"}
    options = StoreOptions(QUICK, login, allow_schemes=["ftp"])
    sweep(log, lambda: read(f"ftp://{LOGIN}@127.0.0.1:{free_port()}/x.jsonl", options=options))
    sweep(log, lambda: read("memory://none/x.jsonl", options=options))


# The command


def test_the_command(site: int, tmp_path: Path) -> None:
    pages = [f"http://{LOGIN}@127.0.0.1:{site}/cut?{QUERIES['SigV4']}", "s3://bucket/x.jsonl"]
    flags = (["-vv", "--progress", "log"], ["--explain"], ["--dry-run", "-f", "jsonl"])
    environment = {**os.environ, **SHIELD, "PAIPA_ETL_TIMEOUT": "1"}
    environment |= {"AWS_ENDPOINT_URL": f"http://{LOGIN}@127.0.0.1:{free_port()}"}
    environment |= {"https_proxy": f"{PROXY}1", "no_proxy": "127.0.0.1"}
    running = [
        subprocess.Popen(
            [*COMMAND, page, f"{number}.jsonl", "--report", f"{number}.json", *more],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        )
        for number, (page, more) in enumerate(
            (page, more) for page in pages for more in flags
        )
    ]  # fmt: skip
    told = "".join(process.communicate(timeout=60)[0].decode() for process in running)
    told += "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert [process.returncode == 0 for process in running] == [
        more == ["--explain"] for more in flags
    ] * 2
    assert "Traceback" in told
    assert not [secret for secret in HIDDEN if secret in told]


# What is printed of things


def test_reprs_tell_nothing() -> None:
    url = f"https://{LOGIN}@host/x.jsonl?{QUERIES['SigV4']}#CANARY-20"
    options = StoreOptions({"headers": HEADERS}, {"key": "CANARY-34"}, f"http://{LOGIN}@host")
    plan = read(url, options=options) | write(url, options=options)
    told = plain(plan) + f"{options!r} {options} {parse(url)!r} {parse(url)}"
    told += repr(StoreFailure("x")) + plain(read(url, options=options)) + repr([plan])
    clients = Clients()
    told += repr(HttpObject(parse(url), options, clients)) + repr(clients)
    clients.close()
    assert not [secret for secret in HIDDEN if secret in told]


def test_nothing_of_a_librarys_hangs_on_an_error() -> None:
    def fail() -> None:
        raise OSError("CANARY")

    with pytest.raises(Exception) as caught:  # noqa: PT011
        told_as(type("Ours", (Exception,), {}), parse("s3://b/k"), fail)  # type: ignore[arg-type]
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert "CANARY" not in str(answered(403, "Denied", f"see https://host/?{QUERIES['SAS']}"))


# Logs


def logged(name: str, *words: Any, **more: Any) -> None:
    logging.getLogger(name).warning(*words, **more)


def test_the_sweep_can_fail(site: int, log: Everything, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the filter, urllib3 tells the query, and botocore what it signs with."""
    monkeypatch.setattr(secrets.Redaction, "filter", lambda self, record: True)
    monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    for url in (f"http://127.0.0.1:{site}/cut?{QUERIES['SAS']}", "s3://bucket/x"):
        before = len(log.said)
        given = {"client_kwargs": {"endpoint_url": f"http://127.0.0.1:{site}"}}
        with pytest.raises(Exception):  # noqa: B017, PT011
            read(
                url,
                from_="jsonl",
                options=StoreOptions({**QUICK, **(given if url[0] == "s" else {})}),
            ).run()
        assert "CANARY" in "\n".join(log.said[before:])


def test_what_is_known_and_what_has_the_form(log: Everything) -> None:
    secrets.guard({"password": "CANARY one/two+three", "username": "public"}, [b"CANARY-40"])
    for text in (
        "say CANARY one/two+three",
        "say CANARY%20one%2Ftwo%2Bthree",
        "say " + base64.b64encode(b"CANARY one/two+three").decode(),
        "CANARY-40",
        "GET /x?a=CANARY-41&b=1 HTTP/1.1",
        "to http://eve:CANARY-42@host/",
        "{'Authorization': b'AWS4-HMAC-SHA256 Credential=CANARY-43/x, Signature=CANARY-44'}",
        "x-amz-security-token:CANARY-45\nhost:x",
        "host;x\nCredential=CANARY-46",
        '{"access_token": "CANARY-47"}',
        "AccountKey=CANARY-48;x",
        "Set-Cookie: CANARY-49",
        "StringToSign:\n" + "ab" * 32,
    ):
        logged("urllib3.connectionpool", "%s", text)
    told = "\n".join(log.said)
    assert "CANARY" not in told
    assert "ab" * 32 not in told
    assert base64.b64encode(b"CANARY one").decode()[:12] not in told
    logged("urllib3", "public stays, as do %s %d", "names", 7)
    assert "public stays, as do names 7" in log.said[-1]
    logged("mine", "CANARY")
    assert "CANARY" in log.said[-1], "loggers of others are left alone"


def test_loggers_that_come_later(log: Everything) -> None:
    secrets.guard("CANARY-50")
    name = f"botocore.later.{id(log)}"
    logged(name, "said CANARY-50")
    assert "CANARY" not in log.said[-1]
    own = Everything()
    logging.getLogger(name).addHandler(own)
    secrets.guard()
    logged(name, "said CANARY-50")
    assert "CANARY" not in own.said[-1]


def test_tracebacks_and_mistakes_of_libraries(log: Everything) -> None:
    secrets.guard("CANARY-51")
    try:
        raise OSError("CANARY-51")
    except OSError:
        logged("azure.core.x", "failed", exc_info=True)
    assert "OSError" in log.said[-1]
    logged("azure.core.x", "%d of %s", "CANARY-51")
    assert "CANARY" not in "\n".join(log.said)


def test_warnings_are_still_told_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, log: Everything
) -> None:
    last = Everything()
    monkeypatch.setattr(logging, "lastResort", last)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    secrets.guard("CANARY-52")
    logged("adlfs.x", "a warning, with CANARY-52")
    assert last.said == ["adlfs.x a warning, with … None"]


def test_a_million_urls_are_not_kept() -> None:
    for number in range(secrets.QUERIES + 100):
        secrets.guard_url(f"http://host/x?signature={number:020}")
    assert len(secrets._queries) == secrets.QUERIES
    secrets._queries.clear()


def test_threads_make_clients_while_others_log(log: Everything) -> None:
    over = threading.Event()

    def make() -> None:
        number = 0
        while not over.is_set():
            number += 1
            logging.getLogger(f"urllib3.t{threading.get_ident()}.{number % 50}")
            secrets.guard(f"CANARY-{threading.get_ident()}-{number % 50}")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        logged("urllib3.x", "a=%s", "b?c")
    over.set()
    for thread in threads:
        thread.join()
    assert {line.split()[1] for line in log.said} == {"a=b?…"}
