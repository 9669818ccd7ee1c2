"""Canaries: secrets in every place that takes one, failures of every kind; none is ever seen."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import traceback
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import COMMAND
from servers import Place

from paipa_etl import Pipeline, read, steps, write
from paipa_etl.location import parse
from paipa_etl.stores import secrets

QUERY = "X-Amz-Signature=CANARY-1&sig=CANARY-2&token=CANARY%2D3"
QUICK = {"retries": 1, "backoff": 0.01, "timeout": 1}
pytestmark = pytest.mark.filterwarnings("ignore::paipa_etl.errors.PaipaWarning")


class Handler(BaseHTTPRequestHandler):
    """``/status/N``, ``/cut``, ``/stall``, ``/loop``, ``/away``, ``/whole``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        if kind == "status":
            self.answer(int(rest))
        elif kind == "loop":
            self.answer(302, Location=self.path)
        elif kind == "away":
            self.answer(302, Location=f"http://user:CANARY-9@localhost:1/x?{QUERY}")
        elif kind == "ftp":
            self.answer(302, Location=f"ftp://user:CANARY-9@localhost:1/x?{QUERY}")
        elif kind == "cut":
            self.answer(200, b"x" * 10, **{"Content-Length": "1000"})
        elif kind == "whole":
            self.answer(200, b'{"n": 1}\n')

    do_HEAD = do_GET  # noqa: N815
    do_PUT = do_GET  # noqa: N815

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.close_connection = True
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        yield place


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.openssh(tmp_path_factory.mktemp("ssh")) as place:
        yield place


class Everything(logging.Handler):
    """All that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@pytest.fixture
def log() -> Iterator[Everything]:
    handler, root = Everything(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def all_of(error: BaseException | None, seen: set[int] | None = None) -> str:
    """An error with all that hangs on it: notes, causes, contexts, hidden ones too."""
    seen = seen if seen is not None else set()
    if error is None or id(error) in seen:
        return ""
    seen.add(id(error))
    text = "".join(traceback.format_exception(error)) + repr(error) + str(error.args)
    return text + all_of(error.__cause__, seen) + all_of(error.__context__, seen)


HTTP = [
    *(f"status/{code}" for code in (400, 401, 403, 404, 429, 500, 503)),
    *("loop", "away", "ftp", "cut", "whole", "stall/1"),
]


@pytest.mark.parametrize("page", HTTP)
@pytest.mark.parametrize("way", ["in", "out"])
def test_http(site: int, log: Everything, tmp_path: Path, page: str, way: str) -> None:
    url = f"http://bob:CANARY-4@127.0.0.1:{site}/{page}?{QUERY}#CANARY-5"
    words = {**QUICK, "headers": {"X-Key": "CANARY-6", "Authorization": "Bearer CANARY-7"}}
    if page.startswith("stall"):
        words["timeout"] = 0.2
        url = url.replace(f":{site}", f":{servers.free_port()}")
    told = ""
    try:
        if way == "in":
            source = read(url, from_="jsonl", transport_params=words)
            told = repr(source) + str(source) + repr(source.source) + repr(parse(url))
            (source | write(tmp_path / "out.jsonl")).run()
        else:
            sink = write(url, to="jsonl", transport_params={**words, "method": "PUT"})
            told = repr(sink) + str(sink) + str(Pipeline([1], [], sink))
            Pipeline([1], [], sink).run()
    except Exception as error:
        told += all_of(error)
    assert "CANARY" not in told
    assert "CANARY" not in "\n".join(log.said)
    assert "bob" not in told


@pytest.mark.parametrize("kind", ["missing", "bucket", "kept", "same", "step", "word", "endpoint"])
@pytest.mark.parametrize("engine", ["boto3", "obstore"])
def test_s3(
    moto: Place, log: Everything, kind: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    moto.put("there.jsonl", b"1\n")
    given = {
        **moto.words["client_kwargs"],
        "aws_access_key_id": "AKIACANARY0123456789",
        "aws_secret_access_key": "CANARY-secret",
        "aws_session_token": "CANARY-token",
    }
    if kind == "endpoint":
        given["endpoint_url"] = f"http://127.0.0.1:{servers.free_port()}"
    words: dict[str, Any] = {**QUICK, "client_kwargs": given}
    words |= {"clinet": "CANARY-8"} if kind == "word" else {}
    name = {"missing": "s3://kit/none.jsonl", "bucket": "s3://none/x.jsonl"}.get(kind)
    source = read(name or "s3://kit/there.jsonl", transport_params=words)
    target = "s3://kit/there.jsonl" if kind in ("kept", "same") else "s3://kit/new.jsonl"
    sink = write(target, clobber=kind != "kept", transport_params=words)
    made = steps.map(lambda r: 1 // 0) if kind == "step" else []
    plan = (source if kind != "kept" else Pipeline([1])) | made | sink
    told = repr(plan) + str(plan) + repr(plan.source) + repr(plan.sink)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        plan.run()
    assert "CANARY" not in told + all_of(caught.value)
    assert "CANARY" not in "\n".join(log.said)


@pytest.mark.parametrize("kind", ["password", "key", "host key", "refused"])
def test_sftp(openssh: Place, log: Everything, kind: str, tmp_path: Path) -> None:
    port = servers.free_port() if kind == "refused" else openssh.port
    known = dict(openssh.words["connect_kwargs"])
    words = {"password": "CANARY-10", "passphrase": "CANARY-11", "username": "bob"}
    if kind != "host key":
        words["known_hosts"] = known["known_hosts"]
    if kind == "key":
        (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n")
        words["key_filename"] = str(tmp_path / "key")
    url = f"sftp://bob:CANARY-12@127.0.0.1:{port}/x.jsonl"
    source = read(url, transport_params={**QUICK, "connect_kwargs": words})
    with pytest.raises(Exception) as caught:  # noqa: PT011
        source.run()
    assert "CANARY" not in repr(source) + str(source) + all_of(caught.value)
    assert "CANARY" not in "\n".join(log.said)


def test_azure(log: Everything, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "Q0FOQVJZLUNBTkFSWS1DQU5BUlk="
    address = f"http://127.0.0.1:{servers.free_port()}/account"
    told = (
        f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={key};BlobEndpoint={address}"
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", told)
    source = read("az://kit/x.jsonl", transport_params=QUICK)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        source.run()
    assert key not in all_of(caught.value) + "\n".join(log.said)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=CANARY-13")
    source = read("abfs://kit@account.dfs.core.windows.net/x.jsonl", transport_params=QUICK)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        source.run()
    assert "CANARY" not in all_of(caught.value) + "\n".join(log.said)


@pytest.mark.parametrize("page", ["status/403", "cut", "loop", "whole"])
@pytest.mark.parametrize("more", [["-v"], ["-vv"], ["--progress", "log"], ["--explain"], ["-n"]])
def test_the_command(site: int, tmp_path: Path, page: str, more: list[str]) -> None:
    url = f"http://bob:CANARY-4@127.0.0.1:{site}/{page}?{QUERY}"
    proxy = {"https_proxy": "http://u:CANARY-14@127.0.0.1:1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [*COMMAND, url, "out.jsonl", "--report", "report.json", *more],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **proxy, "PAIPA_ETL_TIMEOUT": "1"},
    )  # fmt: skip
    report = tmp_path / "report.json"
    told = done.stdout + done.stderr + (report.read_text() if report.exists() else "")
    assert "CANARY" not in told


def test_the_sweep_can_fail(site: int, log: Everything, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the filter, urllib3 tells the whole query."""
    monkeypatch.setattr(secrets.Redaction, "filter", lambda self, record: True)
    read(f"http://127.0.0.1:{site}/whole?{QUERY}", from_="jsonl", transport_params=QUICK).run()
    assert "CANARY" in "\n".join(log.said)


def test_warnings_name_no_secret(site: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        url = f"http://bob:CANARY-4@127.0.0.1:{site}/whole?{QUERY}"
        with pytest.raises(Exception):  # noqa: B017, PT011
            read(url, from_="jsonl.gz", transport_params=QUICK).run()
    assert "CANARY" not in "".join(str(one.message) for one in caught)
