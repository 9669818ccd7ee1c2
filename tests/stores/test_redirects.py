"""Redirects: no store leads to another host, and HTTP leads to no link-local address."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import servers
from fault_proxy import Fault, FaultProxy, status
from servers import Place

from paipa_etl import InputError, OutputError, Pipeline, PlanError, read, write
from paipa_etl.location import parse
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.cleaning import Leftovers
from paipa_etl.stores.link_local import is_refused, names_refused

CODES = (301, 302, 303, 307, 308)
STOLEN = b"stolen\n"
SESSION = "FwoGZXIvYXdzEJr"
LINES = [random.Random(3).randbytes(500).hex() for _ in range(9_500)]  # 9.5 MB: parts of each store
QUICK = {"backoff": 0.01, "timeout": 5, "retries": 1}
UNREAD = "ignore::pytest.PytestUnraisableExceptionWarning"
"""botocore asks for the region of what redirects, again and again, and leaves an answer unread."""


class Answering(BaseHTTPRequestHandler):
    """Keeps what it was asked, and answers as a test says."""

    protocol_version = "HTTP/1.1"
    server: Listener

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append(self)
        self.server.answer(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def say(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


class Listener(ThreadingHTTPServer):
    """A host of its own, on an address of loopback."""

    def __init__(self, answer: Callable[[Answering], Any], address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Answering)
        self.answer, self.seen = answer, list[Answering]()
        self.host = f"{address}:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def thief(asked: Answering) -> None:
    """Answers like a store, whatever it is asked."""
    head = {"ETag": '"one"', "x_goog_generation": "1", "Last_Modified": DATE, "x_ms_blob_type": "B"}
    asked.say(200, STOLEN, **head)


DATE = "Tue, 01 Jul 2025 10:00:00 GMT"


@pytest.fixture
def thieves() -> Iterator[list[Listener]]:
    """Another port of the same address, and another address."""
    with Listener(thief) as port, Listener(thief, "127.0.0.2") as host:
        yield [port, host]


# Stores


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        keys = place.words["client_kwargs"]
        keys["aws_session_token"] = SESSION
        yield place


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.fake_gcs(tmp_path_factory.mktemp("gcs")) as place:
        yield place


@pytest.fixture(scope="module")
def azure(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.azurite(tmp_path_factory.mktemp("azure")) as place:
        yield place


ENGINES = ["s3 signed", "s3 boto3", "s3 own", "gcs", "gcs own", "gcs smart", "azure", "azure own"]


@pytest.fixture(params=ENGINES)
def store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Place, FaultProxy]]:
    """Each engine, through a proxy that redirects; also with a client that the user made."""
    kind, _, way = request.param.partition(" ")
    real: Place = request.getfixturevalue({"s3": "moto"}.get(kind, kind))
    if way == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    with FaultProxy(real.port) as proxy:
        assert real.through is not None
        place = real.through(proxy.port)
        if kind == "s3":
            place.words["client_kwargs"]["aws_session_token"] = SESSION
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        place.words |= owned(kind, place, proxy.port) if way == "own" else {}
        place.words |= {"blob_open_kwargs": {}} if way == "smart" else {}
        yield place, proxy


def owned(kind: str, place: Place, port: int) -> dict[str, Any]:
    """A client as a user makes it: it may follow redirects of its own accord."""
    if kind == "s3":
        import boto3

        return {"client": boto3.client("s3", **place.words.pop("client_kwargs"))}
    if kind == "gcs":
        from google.cloud import storage
        from google.oauth2.credentials import Credentials

        given = {"api_endpoint": f"http://127.0.0.1:{port}"}
        credentials = Credentials(SESSION)  # type: ignore[no-untyped-call]
        return {"client": storage.Client("kit", credentials=credentials, client_options=given)}
    from azure.storage.blob import BlobServiceClient

    text = place.environment["AZURE_STORAGE_CONNECTION_STRING"]
    return {"client": BlobServiceClient.from_connection_string(text, retry_total=0)}


def options(place: Place) -> StoreOptions:
    return StoreOptions({**place.words, **QUICK})


def read_one(place: Place) -> list[Any]:
    return list(read(place.url("one.txt"), options=options(place)))


def read_many(place: Place) -> list[Any]:
    return list(read(place.url("o*.txt"), options=options(place)))


def write_one(place: Place) -> list[Any]:
    Pipeline(["mine"], [], write(place.url("new.txt"), options=options(place))).run()
    return ["mine"]


def write_parts(place: Place) -> list[Any]:
    Pipeline(LINES, [], write(place.url("new.txt"), options=options(place))).run()
    return LINES


JOBS = [read_one, read_many, write_one, write_parts]


VERBS = {
    "GET": [read_one, read_many], "HEAD": [read_many, write_one], "PUT": [write_one, write_parts],
    "POST": [write_parts], "DELETE": [write_parts],
}  # fmt: skip
WHERE = ("http://{}/x", "//{}/x", "/kit/other.txt", "other.txt", "http://[", "https://{}/")


def clean_up(place: Place) -> None:
    """Look for what uploads left over, and remove it."""
    given = options(place)
    with contextlib.closing(Clients()) as clients:
        left = Leftovers(parse(place.root), given, clients)
        for upload in [*left]:
            left.drop(upload)


def tried(job: Callable[[Place], list[Any]], place: Place) -> bool:
    """Whether the job is done; with what belongs to the store, or nothing.

    Where only the look at what was published fails, it is there, whole.
    """
    whole = {write_one: b"mine\n", write_parts: "".join(f"{line}\n" for line in LINES).encode()}
    place.put("new.txt", b"old\n")
    try:
        found = job(place)
    except (InputError, OutputError):
        assert place.get("new.txt") in (b"old\n", whole.get(job))
        return False
    assert found == (["one"] if job not in whole else found)
    assert place.get("new.txt") == whole.get(job, b"old\n")
    return True


@pytest.mark.filterwarnings("ignore::paipa_etl.errors.PaipaWarning")
@pytest.mark.filterwarnings(UNREAD)
@pytest.mark.keeps_descriptors  # of clients that the user made
@pytest.mark.parametrize("job", JOBS)
def test_no_store_leads_to_another_host(
    store: tuple[Place, FaultProxy], thieves: list[Listener], job: Callable[[Place], list[Any]]
) -> None:
    """Each of its requests is redirected once, and for good, in every way that HTTP has."""
    place, proxy = store
    if job is read_many and "blob_open_kwargs" in place.words:
        pytest.skip("smart_open lists nothing")
    place.put("one.txt", b"one\n")
    proxy.reset()
    assert tried(job, place)
    requests = len(proxy.requests)
    codes, targets = [*CODES], [*thieves]
    for number in range(requests):
        for again in (False, True):
            code = codes[(2 * number + again) % len(codes)]
            to = targets[(number + again) % 2]
            for where in (f"http://{to.host}/kit/one.txt", f"//{to.host}/kit/new.txt"):
                redirect = status(code, f"Location: {where}\r\nx-amz-bucket-region: eu-west-1\r\n")

                def plan(n: int, head: bytes, number: int = number, again: bool = again,
                         redirect: Fault = redirect) -> Fault | None:  # fmt: skip
                    return redirect if n == number or (again and n > number) else None

                proxy.reset(plan)
                tried(job, place)
                assert [to.seen for to in thieves] == [[], []], (number, code, where)


@pytest.mark.filterwarnings("ignore::paipa_etl.errors.PaipaWarning")
@pytest.mark.filterwarnings(UNREAD)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("engine", ["signed", "boto3"])
def test_every_code_for_every_verb_of_s3(
    moto: Place, thieves: list[Listener], code: int, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    assert moto.through is not None
    with FaultProxy(moto.port) as proxy:
        place = moto.through(proxy.port)
        place.words["client_kwargs"]["aws_session_token"] = SESSION
        place.put("one.txt", b"one\n")
        for number, (verb, jobs) in enumerate(VERBS.items()):
            where = WHERE[(number + code) % len(WHERE)].format(thieves[0].host)
            redirect = status(code, f"Location: {where}\r\n")
            proxy.reset(
                lambda n, head, verb=verb, redirect=redirect: (  # type: ignore[misc]
                    redirect if head.startswith(verb.encode()) else None
                )
            )
            for job in jobs:
                tried(job, place)
        with contextlib.suppress(OutputError):
            clean_up(place)
        proxy.reset()
        clean_up(place)
        assert not thieves[0].seen


def test_a_region_is_still_found_out(moto: Place) -> None:
    """The endpoint of a bucket's region, which boto3 computes itself, is asked as before."""
    assert moto.through is not None
    with FaultProxy(moto.port) as proxy:
        place = moto.through(proxy.port)
        place.put("one.txt", b"one\n")
        redirect = status(301, "x-amz-bucket-region: eu-west-1\r\n")
        proxy.reset(lambda n, head: None if b"eu-west-1" in head else redirect)
        assert read_one(place) == ["one"]
        assert write_one(place) == ["mine"]


@pytest.mark.filterwarnings("ignore::paipa_etl.errors.PaipaWarning")
def test_an_upload_session_elsewhere(
    gcs: Place, thieves: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the URL that a session has, only what follows its host is asked for."""
    assert gcs.through is not None
    with FaultProxy(gcs.port) as proxy:
        place = gcs.through(proxy.port)
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        for where in ("http://{}/x?upload_id=1", "//{}/x", "http://[", "https://{}/x"):
            to = where.format(thieves[1].host)
            said = f"HTTP/1.1 200 OK\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()
            session = Fault("answer", answer=said)
            proxy.reset(
                lambda n, head, session=session: session if b"=resumable" in head else None  # type: ignore[misc]
            )
            assert not tried(write_parts, place)
        assert not thieves[1].seen


def test_who_gives_tokens_leads_nowhere(
    tmp_path: Path, thieves: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks for a token is signed by the account: it is for one host only."""
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import serialization

    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    def away(asked: Answering) -> None:
        asked.say(307, Location=f"http://{thieves[0].host}/token")

    with Listener(away) as tokens:
        account = {
            "type": "service_account", "project_id": "kit", "private_key": private.decode(),
            "client_email": "me@kit", "token_uri": f"http://{tokens.host}/token",
        }  # fmt: skip
        (tmp_path / "key.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        given = StoreOptions(QUICK, endpoint_url=f"http://{tokens.host}")
        source = read("gs://kit/one.txt", options=StoreOptions(QUICK)).source
        with pytest.raises(InputError):
            Pipeline(source.__class__(source.locations, options=given)).run()
        assert [asked.command for asked in tokens.seen][:1] == ["POST"]
    assert not thieves[0].seen


# HTTP

LITERAL = [
    "169.254.169.254", "169.254.0.1", "[fe80::1]", "[fe80::1%25lo]", "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]", "[::169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
    "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.16689662",
    "metadata.google.internal", "METADATA.google.INTERNAL.", "169.254.169.254.", "[fd00:ec2::254]",
    "instance-data.ec2.internal", "%31%36%39.254.169.254", "169。254。169。254",
]  # fmt: skip


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that anything in this process has tried to connect to."""
    found = HOOK.setdefault("connected", [])
    found.clear()
    return found


HOOK: dict[str, list[Any]] = {}


def _audit(event: str, words: tuple[Any, ...]) -> None:
    if event == "socket.connect" and "connected" in HOOK:
        HOOK["connected"].append(words[1])


sys.addaudithook(_audit)


def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def content(url: str, **words: Any) -> list[Any]:
    return list(read(url, from_="txt", options=StoreOptions({**QUICK, **words})))


def put(url: str, **words: Any) -> None:
    sink = write(url, to="txt", options=StoreOptions({**QUICK, "method": "PUT", **words}))
    Pipeline(["mine"], [], sink).run()


@pytest.mark.parametrize("host", LITERAL)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_link_local_url_is_refused(host: str, scheme: str, connected: list[Any]) -> None:
    for act in (content, put):
        with pytest.raises(PlanError) as caught:
            act(f"{scheme}://{host}/latest/meta-data")
        assert caught.value.exit_code == 2
    assert not connected


@pytest.mark.parametrize("host", LITERAL)
def test_a_redirect_to_a_link_local_address_is_not_followed(
    host: str, connected: list[Any]
) -> None:
    """For reading and writing, by one hop and by two, with a port and without."""

    said = quote(host, "[]:%.")
    ways = {"/one": f"http://{said}/x", "/two": "/port", "/port": f"http://{said}:8080/x"}
    with Listener(lambda asked: asked.say(307, Location=ways[asked.path])) as server:
        for path in ("one", "two"):
            for act, kind, code in ((content, InputError, 3), (put, OutputError, 6)):
                with pytest.raises(kind, match="redirect") as caught:
                    act(f"http://{server.host}/{path}")
                assert caught.value.exit_code == code  # type: ignore[attr-defined]
        assert {address[1] for address in connected} == {server.server_port}


def resolving(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> list[str]:
    """Have names resolve to addresses, to others at each further time; the names that were."""
    real, asked = socket.getaddrinfo, list[str]()

    def resolved(host: Any, port: Any, *words: Any, **more: Any) -> Any:
        if host not in answers:
            return real(host, port, *words, **more)
        asked.append(host)
        times = answers[host]
        found = times[min(asked.count(host), len(times)) - 1]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "",
             (one, port, 0, 0) if ":" in one else (one, port))
            for one in found
        ]  # fmt: skip

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return asked


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1%lo", "::ffff:169.254.169.254", "fd00:ec2::254"]
)
@pytest.mark.parametrize("way", ["named", "redirect", "rebound", "written"])
def test_a_name_that_resolves_to_a_link_local_address(
    address: str, way: str, monkeypatch: pytest.MonkeyPatch, connected: list[Any]
) -> None:
    """It is judged by the address that is connected to, each time that is looked up."""
    no_proxy(monkeypatch)

    def answer(asked: Answering) -> None:
        if way == "redirect":
            asked.say(302, Location=f"http://evil.example:{server.server_port}/x")
        else:
            asked.say(200, b"half", Content_Length="9", ETag='"one"')  # the rest is asked for again

    with Listener(answer) as server:
        first = [["127.0.0.1"]] if way == "rebound" else []
        resolving(monkeypatch, {"evil.example": [*first, [address]]})
        host = server.host if way == "redirect" else f"evil.example:{server.server_port}"
        kind = OutputError if way == "written" else InputError
        with pytest.raises(kind, match="link-local") as caught:
            (put if way == "written" else content)(f"http://{host}/x")
        assert caught.value.exit_code == (6 if way == "written" else 3)
        assert {where[0] for where in connected} <= {"127.0.0.1"}


def test_an_address_is_looked_up_once_for_each_connection(
    monkeypatch: pytest.MonkeyPatch, connected: list[Any]
) -> None:
    """What was looked at is what is connected to; the addresses that may be are tried in turn."""
    no_proxy(monkeypatch)
    with Listener(lambda asked: asked.say(200, b"fine\n")) as server:
        several = ["169.254.169.254", "127.0.0.3", "127.0.0.1"]  # nobody listens at 127.0.0.3
        asked = resolving(monkeypatch, {"some.example": [several, ["169.254.169.254"]]})
        assert content(f"http://some.example:{server.server_port}/x") == ["fine"]
        assert asked == ["some.example"]
        assert [where[0] for where in connected] == ["127.0.0.3", "127.0.0.1"]
        assert server.seen[0].headers["host"] == f"some.example:{server.server_port}"


def test_proxies_are_not_asked_for_link_local_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy looks names up itself: what its name tells is refused before."""
    no_proxy(monkeypatch)

    def away(asked: Answering) -> None:
        asked.say(302, Location="http://metadata.google.internal/x")

    with Listener(away) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        for host in LITERAL:
            with pytest.raises(PlanError):
                content(f"http://{host}/x")
        assert not proxy.seen
        with pytest.raises(InputError, match="redirect"):
            content("http://fine.example/x")
        assert [asked.path for asked in proxy.seen] == ["http://fine.example/x"]


def test_smart_opens_http_leads_nowhere(
    thieves: list[Listener], monkeypatch: pytest.MonkeyPatch, connected: list[Any]
) -> None:
    """Words that only smart_open knows change nothing about where HTTP goes."""
    no_proxy(monkeypatch)
    words = {"buffer_size": 1000, "headers": {"X-Key": "mine"}}
    with Listener(lambda a: a.say(302, Location=f"http://{thieves[0].host}/x")) as server:
        with pytest.raises(InputError):
            content(f"http://{server.host}/x", **words)
        with pytest.raises(PlanError):
            content("http://169.254.169.254/x", **words)
        resolving(monkeypatch, {"evil.example": [["169.254.169.254"]]})
        with pytest.raises(InputError, match="link-local"):
            content("http://evil.example/x", **words)
        assert {where[1] for where in connected} == {server.server_port}
    with Listener(lambda a: a.say(200, b"fine\n")) as server:
        assert content(f"http://{server.host}/x", **words) == ["fine"]
    assert not thieves[0].seen


def test_what_is_not_link_local_is_left_alone() -> None:
    plain = ("127.0.0.1", "::1", "10.0.0.1", "169.253.0.1", "169.255.0.1", "2001:db8::1")
    for address in (*plain, "fec0::1", "::ffff:10.0.0.1", "64:ff9b::808:808", "2002:808:808::1"):
        assert not is_refused(address)
    for host in ("localhost", "example.org", "metadata.example.org", "10.0.0.1", "[::1]", "1"):
        assert not names_refused(host)
