"""HTTP on real servers: redirects, cut and wrong answers, certificates, proxies."""

from __future__ import annotations

import datetime
import email.utils
import gc
import gzip
import ipaddress
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import open_descriptors
from servers import Place, free_port

from paipa_etl import InputError, InputUnavailable, OutputUnavailable, Pipeline, PlanError, read
from paipa_etl import write as written
from paipa_etl.errors import PaipaWarning
from paipa_etl.location import parse
from paipa_etl.run import new_run
from paipa_etl.sources import remote
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.ranged import RANGE

QUICK = {"backoff": 0.01, "timeout": 1, "retries": 2}
SMALL = random.Random(1).randbytes(1_000)
DATA = random.Random(2).randbytes(9 << 20)  # several ranges
LAST = RANGE - 1  # byte of the first of them
ETAG = '"one"'
LOGIN = {"headers": {"X-Key": "mine", "Cookie": "mine"}, "user": "bob", "password": "secret"}


class Asked(BaseHTTPRequestHandler):
    """One request, and ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.number = len(self.server.seen)
        self.server.seen.append(self)
        self.server.answer(self)

    do_PUT = do_CONNECT = do_HEAD = do_GET  # noqa: N815

    def say(self, code: int, body: bytes = b"", sent: int | None = None, **headers: Any) -> None:
        """An answer; only ``sent`` bytes of its body come, or all."""
        self.send_response(code)
        told = {"Content_Length": len(body), "Connection": "close", **headers}
        for name, value in told.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = True

    def part(self, data: bytes, sent: int | None = None, **headers: Any) -> None:
        """The range that was asked for, as a server with ranges gives it."""
        asked = self.headers.get("range")
        if asked is None:
            self.say(200, data, sent, **headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        end = min(int(last or len(data)) + 1, len(data))
        span = f"bytes {first}-{end - 1}/{len(data)}"
        self.say(206, data[int(first) : end], sent, **{"Content_Range": span, **headers})

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


class Site(ThreadingHTTPServer):
    """A server that does what a test says, and keeps what it was asked."""

    def __init__(self, answer: Callable[[Asked], Any], secure: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.answer, self.seen = answer, list[Asked]()
        self.root = f"http{'s' if secure else ''}://127.0.0.1:{self.server_port}/"
        if secure:
            self.socket = secure.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


@contextmanager
def site(answer: Callable[[Asked], Any], secure: ssl.SSLContext | None = None) -> Iterator[Site]:
    with Site(answer, secure) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def content(url: str, insecure: bool = False, **words: Any) -> bytes:
    """All bytes of what a URL names, as our reader gives them."""
    run = replace(new_run(), background=True)
    try:
        options = StoreOptions({**QUICK, **words}, insecure=insecure)
        return b"".join(remote.pieces(parse(url), run, options))
    finally:
        run.over()
        run.close_clients()


def put(url: str, text: str = "new", clobber: bool = True, **words: Any) -> None:
    options = StoreOptions({**QUICK, "method": "PUT", **words})
    Pipeline([text], [], written(url, to="txt", clobber=clobber, options=options)).run()


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> Iterator[None]:
    """What was there before is not looked through after each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.nginx(tmp_path_factory.mktemp("nginx")) as place:
        yield place


# Certificates


def certified(folder: Path, host: str, days: int) -> Path:
    """A certificate that signs itself, for a host; its last day is so many days from now."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    address = (
        x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    )
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / f"{host}{days}.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, *private))
    return path


def secured(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("host", "days", "trusted", "valid"),
    [
        ("127.0.0.1", 1, True, True),
        ("127.0.0.1", 1, False, False),
        ("127.0.0.1", -1, True, False),
        ("other.example", 1, True, False),
    ],
    ids=["valid", "self-signed", "expired", "wrong host"],
)
def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int, trusted: bool,
    valid: bool,
) -> None:  # fmt: skip
    path = certified(tmp_path, host, days)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with site(lambda asked: asked.part(SMALL, ETag=ETAG), secured(path)) as server:
        if valid:
            assert content(server.root) == SMALL
        else:
            with pytest.raises(InputError, match="its certificate is not valid") as caught:
                content(server.root)
            assert caught.value.exit_code == 3
            assert not server.seen
        assert content(server.root, insecure=True) == SMALL


# Redirects


def elsewhere(to: Callable[[], str], code: int = 302) -> Callable[[Asked], None]:
    return lambda asked: asked.say(code, Location=to())


@pytest.mark.parametrize("kind", ["port", "host", "scheme"])
def test_another_origin_is_told_no_secret(tmp_path: Path, kind: str) -> None:
    def answer(asked: Asked) -> None:
        if asked.path == "/there":
            asked.part(SMALL, ETag=ETAG)
        else:
            asked.say(int(asked.path[1:]), Location=to + "there")

    secure = secured(certified(tmp_path, "127.0.0.1", 1)) if kind == "scheme" else None
    with site(answer) as first, site(answer, secure) as second:
        target = first if kind == "host" else second
        to = target.root.replace("127.0.0.1", "localhost") if kind == "host" else target.root
        for code in (301, 302, 303, 307, 308):
            first.seen.clear()
            assert content(f"{first.root}{code}", kind == "scheme", **LOGIN) == SMALL
            here, there = first.seen[0], target.seen[-1]
            assert here.headers["authorization"].startswith("Basic ")
            assert here.headers["x-key"] == here.headers["cookie"] == "mine"
            assert there.path == "/there"
            assert not {"authorization", "x-key", "cookie"} & {*map(str.lower, there.headers)}
            assert "mine" not in str(there.headers)


def test_the_same_origin_is_told_again() -> None:
    def answer(asked: Asked) -> None:
        asked.say(302, Location="/there") if asked.path == "/here" else asked.part(SMALL)

    with site(answer) as server:
        assert content(server.root + "here", **LOGIN) == SMALL
        assert [asked.headers["x-key"] for asked in server.seen] == ["mine"] * len(server.seen)
        assert all(asked.headers["authorization"] for asked in server.seen)


def test_the_user_info_of_a_redirect_goes_nowhere() -> None:
    def answer(asked: Asked) -> None:
        to = f"http://eve:other@localhost:{asked.server.server_port}/there"
        asked.say(302, Location=to) if asked.path == "/here" else asked.part(SMALL)

    with site(answer) as server:
        assert content(server.root + "here") == SMALL
        assert all("authorization" not in asked.headers for asked in server.seen)


@pytest.mark.parametrize(("hops", "fine"), [(10, True), (11, False), (1_000_000, False)])
def test_redirects_end(hops: int, fine: bool) -> None:
    def answer(asked: Asked) -> None:
        hop = int(asked.path[1:])
        asked.say(302, Location=f"/{hop + 1}") if hop < hops else asked.part(SMALL, ETag=ETAG)

    with site(answer) as server:
        if fine:
            assert content(server.root + "0") == SMALL
            return
        with pytest.raises(InputError, match="more than 10 redirects") as caught:
            content(server.root + "0")
        assert caught.value.exit_code == 3
        assert len(server.seen) == 11


@pytest.mark.parametrize(
    "to",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http://[", "http://h:word/", "//h:w/"],
)
def test_a_redirect_to_what_is_no_web_page(to: str) -> None:
    with site(elsewhere(lambda: to)) as server:
        with pytest.raises(InputError, match="redirect") as caught:
            content(server.root)
        assert caught.value.exit_code == 3
        assert len(server.seen) == 1


def test_a_redirect_without_a_target() -> None:
    with (
        site(lambda asked: asked.say(302)) as server,
        pytest.raises(InputError, match="leads nowhere"),
    ):
        content(server.root)


def test_a_secure_page_leads_to_no_open_one(tmp_path: Path) -> None:
    with site(lambda asked: asked.part(SMALL)) as open_site:
        secure = secured(certified(tmp_path, "127.0.0.1", 1))
        with (
            site(elsewhere(lambda: open_site.root), secure) as server,
            pytest.raises(InputError, match="from https to http is not followed"),
        ):
            content(server.root, insecure=True)
        assert not open_site.seen


# What answers say of themselves


@pytest.mark.parametrize("way", ["plain", "whole", "blind", "gzip"])
def test_a_web_server_is_read_whole(nginx: Place, way: str) -> None:
    """With ranges, without, without validators, and compressed unless it is told not to."""
    for size in (0, 1, RANGE, RANGE + 1, len(DATA)):
        nginx.put("sized.bin", DATA[:size])
        assert content(f"http://127.0.0.1:{nginx.port}/{way}/sized.bin") == DATA[:size]


@pytest.mark.parametrize("stamp", [ETAG, None])
def test_a_range_that_is_answered_with_everything(stamp: str | None) -> None:
    with site(lambda asked: asked.say(200, DATA, ETag=stamp)) as server:
        assert content(server.root) == DATA
        assert server.seen[0].headers["range"] == f"bytes=0-{LAST}"
        assert len(server.seen) == 1


def test_ranges_that_a_server_forgets_about() -> None:
    """The first answer is a part; to the others the server gives everything: no answer fits."""

    def answer(asked: Asked) -> None:
        asked.part(DATA, ETag=ETAG) if asked.number == 0 else asked.say(200, DATA, ETag=ETAG)

    with site(answer) as server, pytest.raises(InputError, match="too long"):
        content(server.root)


@pytest.mark.parametrize(
    "said",
    ["", "bytes", f"bytes 0-{LAST}", "bytes a-b/c", "bytes */9437184", f"bytes 5-{LAST}/9437184",
     "bytes 0-9/9437184", f"bytes {LAST}-0/9437184", f"bytes 0-{LAST}/5", f"lines 0-{LAST}/9437184",
     None],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 1])
def test_a_wrong_content_range(said: str | None, at: int) -> None:
    def answer(asked: Asked) -> None:
        wrong = {"Content_Range": said} if asked.number == at else {}
        asked.part(DATA, ETag=ETAG, **wrong)

    with site(answer) as server:
        with pytest.raises(InputError):
            content(server.root)
        assert len(server.seen) <= len(DATA) // RANGE + 4


def test_a_part_that_begins_before_what_was_asked_for() -> None:
    def answer(asked: Asked) -> None:
        if asked.number == 0:
            asked.part(DATA, ETag=ETAG)
            return
        first, _, last = asked.headers["range"].removeprefix("bytes=").partition("-")
        start, end = int(first) - 1_000, min(int(last) + 1, len(DATA))
        span = f"bytes {start}-{end - 1}/{len(DATA)}"
        asked.say(206, DATA[start:end], ETag=ETAG, Content_Range=span)

    gc.collect()
    before = open_descriptors()
    gc.disable()  # what a failure refers to may be in a cycle: the answer is closed, not collected
    try:
        with (
            site(answer) as server,
            pytest.raises(InputError, match="answered with bytes from") as failed,
        ):
            content(server.root)
        deadline = time.monotonic() + 5  # the other end may be slow to hear of it
        while open_descriptors() - before and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not open_descriptors() - before
        del failed
    finally:
        gc.enable()


def test_nothing_at_the_end() -> None:
    """A range of nothing is refused, also where it says of how much."""

    def answer(asked: Asked) -> None:
        if asked.headers["range"]:
            asked.say(416, Content_Range="bytes */0")
        else:
            asked.say(200, b"")

    with site(answer) as server:
        assert content(server.root) == b""


def test_what_shrinks_while_it_is_read() -> None:
    def answer(asked: Asked) -> None:
        if asked.number == 0:
            asked.part(DATA, ETag=ETAG)
        else:
            asked.say(416, Content_Range=f"bytes */{RANGE}")

    with site(answer) as server, pytest.raises(InputError, match="HTTP 416"):
        content(server.root)


def test_a_content_encoding_is_part_of_the_bytes() -> None:
    body = gzip.compress(b'{"n": 1}\n{"n": 2}\n')
    with site(lambda asked: asked.say(200, body, ETag=ETAG, Content_Encoding="gzip")) as server:
        assert content(server.root) == body
        with pytest.warns(PaipaWarning, match="holds gzip data"):
            records = list(read(server.root + "x.jsonl", options=StoreOptions(QUICK)))
        assert records == [{"n": 1}, {"n": 2}]
        assert {asked.headers["accept-encoding"] for asked in server.seen} == {"identity"}


@pytest.mark.parametrize("length", ["many", "-1", ""])
def test_a_length_that_is_none(length: str) -> None:
    """The end of the connection is that of the bytes then."""
    with site(lambda asked: asked.say(200, SMALL, Content_Length=length)) as server:
        assert content(server.root) == SMALL


# Answers that are cut


@pytest.mark.parametrize("stamp", [ETAG, 'W/"weak"', None], ids=["strong", "weak", "none"])
@pytest.mark.parametrize("ranges", [True, False])
def test_fewer_bytes_than_promised(stamp: str | None, ranges: bool) -> None:
    def answer(asked: Asked) -> None:
        sent = cut if asked.number == 0 else None
        if ranges:
            asked.part(SMALL, sent, ETag=stamp)
        else:
            asked.say(200, SMALL, sent, ETag=stamp)

    with site(answer) as server:
        for cut in (0, 1, 500, 999):
            server.seen.clear()
            if stamp != ETAG and cut:
                with pytest.raises(InputError, match="cannot be continued"):
                    content(server.root)
                continue
            assert content(server.root) == SMALL
            assert len(server.seen) == 2
            if ranges and cut:
                assert server.seen[1].headers["range"].startswith(f"bytes={cut}-")
                assert server.seen[1].headers["if-match"] == ETAG


def test_always_cut() -> None:
    with site(lambda asked: asked.say(200, SMALL, int(asked.path[1:]), ETag=ETAG)) as server:
        for cut in (0, 1, 500, 999):
            server.seen.clear()
            with pytest.raises(InputError):
                content(f"{server.root}{cut}")
            assert len(server.seen) == 3


@pytest.mark.parametrize("stamp", [ETAG, None])
def test_chunks_that_are_cut(stamp: str | None) -> None:
    """In a size, in a chunk, between two, and before the end is told."""
    size = 1 << 20
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (size, DATA[n : n + size]) for n in range(0, 9 * size, size)
    )

    def answer(asked: Asked) -> None:
        body = chunks[:after] if asked.number == 0 else chunks + b"0\r\n\r\n"
        asked.say(200, body, ETag=stamp, Content_Length=None, Transfer_Encoding="chunked")

    with site(answer) as server:
        for after in (0, 3, 300, size + 9, 2 * size + 12, len(chunks)):
            server.seen.clear()
            if stamp or after <= 300:
                assert content(server.root) == DATA
                continue
            with pytest.raises(InputError, match="cannot be continued"):
                content(server.root)


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("honest", [True, False])
def test_an_etag_that_changes_between_ranges(at: int, honest: bool) -> None:
    """Whether or not the server heeds the condition that goes along."""

    def answer(asked: Asked) -> None:
        stamp = ETAG if asked.number < at else '"two"'
        if honest and asked.headers["if-match"] not in (None, stamp):
            asked.say(412)
        else:
            asked.part(DATA, ETag=stamp)

    with site(answer) as server:
        with pytest.raises(InputError, match="changed while it was read") as caught:
            content(server.root)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("stamp", ['W/"weak"', None])
def test_what_cannot_be_pinned_is_read_in_one_go(stamp: str | None) -> None:
    """No two ranges of what may be two contents are put together."""
    with site(lambda asked: asked.part(DATA, ETag=stamp)) as server:
        assert content(server.root) == DATA
        assert [asked.headers["range"] for asked in server.seen] == [f"bytes=0-{LAST}", None]


# Attempts


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_what_passes_is_tried_again_so_often(times: int) -> None:
    def answer(asked: Asked) -> None:
        if asked.number < times:
            asked.say(int(asked.path[1:]), Retry_After="0")
        else:
            asked.part(SMALL, ETag=ETAG)

    for code in (408, 429, 500, 502, 503, 504):
        with site(answer) as server:
            if times <= 2:
                assert content(f"{server.root}{code}") == SMALL
            else:
                with pytest.raises(InputUnavailable, match="given up after 3 attempts") as caught:
                    content(f"{server.root}{code}")
                assert caught.value.exit_code == 75
            assert len(server.seen) == min(times, 2) + 1


def test_what_does_not_pass_is_tried_once() -> None:
    with site(lambda asked: asked.say(int(asked.path[1:]))) as server:
        for code in (400, 401, 403, 404, 405, 410, 451, 501):
            server.seen.clear()
            with pytest.raises(InputError, match=f"HTTP {code}") as caught:
                content(f"{server.root}{code}")
            assert caught.value.exit_code == 3
            assert len(server.seen) == 1


@pytest.mark.parametrize("said", ["1", "date", "-1", "soon, really", "nan", "0"])
def test_the_server_says_after_how_long(said: str) -> None:
    """In seconds, or as a date; anything else says nothing."""
    waits = said in ("1", "date")
    said = email.utils.formatdate(time.time() + 2, usegmt=True) if said == "date" else said

    def answer(asked: Asked) -> None:
        if asked.number == 0:
            asked.say(503, Retry_After=said)
        else:
            asked.part(SMALL, ETag=ETAG)

    with site(answer) as server:
        began = time.monotonic()
        assert content(server.root) == SMALL
        took = time.monotonic() - began
    assert 0.9 < took < 4 if waits else took < 0.9


@pytest.mark.parametrize("sent", [None, 0, 500])
def test_silence_ends_in_time(sent: int | None) -> None:
    over = threading.Event()

    def answer(asked: Asked) -> None:
        if sent is not None:
            asked.part(SMALL, sent, ETag=ETAG)
        over.wait(10)

    with site(answer) as server:
        try:
            began = time.monotonic()
            with pytest.raises(InputUnavailable, match=r"silent for 0\.1 seconds"):
                content(server.root, timeout=0.1)
            assert time.monotonic() - began < 0.1 * 3 + 1
            assert len(server.seen) >= 3
        finally:
            over.set()


@pytest.mark.parametrize(("words", "attempts"), [({}, 3), ({"retries": 5}, 6), ({"retries": 1}, 2)])
def test_nobody_listens(words: dict[str, Any], attempts: int) -> None:
    """That is mostly a mistyped name: it is tried as often as was said, or a few times."""
    source = read(
        f"http://127.0.0.1:{free_port()}/", options=StoreOptions({"backoff": 0.01, **words})
    )
    with pytest.raises(InputUnavailable, match=rf"refused \(given up after {attempts} attempts\)"):
        source.run()


def test_nobody_listens_any_more() -> None:
    """A server that has answered in this run may start again: all attempts are made."""
    run, options = new_run(), StoreOptions({"backoff": 0.01})
    with site(lambda asked: asked.part(DATA, len(DATA) // 2, ETag=ETAG)) as server:
        pieces = remote.pieces(parse(server.root), run, options)
        next(pieces)
    with pytest.raises(InputUnavailable, match=r"refused \(given up after 6 attempts\)"):
        list(pieces)
    with pytest.raises(InputUnavailable, match=r"refused \(given up after 6 attempts\)"):
        list(remote.pieces(parse(f"{server.root}other"), run, options))
    run.over()
    run.close_clients()


# Proxies


def test_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with (
        site(
            lambda asked: (
                asked.say(403) if asked.command == "CONNECT" else asked.part(SMALL, ETag=ETAG)
            )
        ) as proxy,
        site(lambda asked: asked.part(SMALL, ETag=ETAG)) as server,
    ):
        address = f"http://bob:pass%2Fword@127.0.0.1:{proxy.server_port}"
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("https_proxy", address)
        assert content("http://store.example/x?y=1") == SMALL
        assert proxy.seen[0].path == "http://store.example/x?y=1"
        assert proxy.seen[0].headers["proxy-authorization"] == "Basic Ym9iOnBhc3Mvd29yZA=="
        assert "authorization" not in proxy.seen[0].headers
        with pytest.raises(InputError):
            content("https://store.example/x?y=1")
        assert {(a.command, a.path) for a in proxy.seen[1:]} == {("CONNECT", "store.example:443")}
        asked = len(proxy.seen)
        for without in ("127.0.0.1", f"127.0.0.1:{server.server_port}", "example, 127.0.0.1", "*"):
            monkeypatch.setenv("no_proxy", without)
            assert content(server.root) == SMALL
        assert len(proxy.seen) == asked
        assert "proxy-authorization" not in server.seen[0].headers


# Writing


def test_a_put_of_many_parts_follows_a_redirect() -> None:
    """The file is sent from its beginning again; the other origin is told no secret."""
    text = "x" * (20 << 20)
    with site(lambda asked: asked.say(201)) as second:
        with site(elsewhere(lambda: second.root + "there", 307)) as first:
            put(first.root + "here", text, **LOGIN)
        assert first.seen[0].headers["x-key"] == "mine"
        assert second.seen[0].body == text.encode() + b"\n"
        assert not {"authorization", "x-key", "cookie"} & {*second.seen[0].headers}


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 9 << 20], ids=["small", "large"])
def test_a_put_is_tried_again(times: int, size: int) -> None:
    with site(lambda asked: asked.say(503 if asked.number < times else 201)) as server:
        if times == 3:
            with pytest.raises(OutputUnavailable, match="given up after 3 attempts"):
                put(server.root, "x" * size)
        else:
            put(server.root, "x" * size)
        assert len(server.seen) == min(times, 2) + 1
        assert all(len(asked.body) == size + 1 for asked in server.seen)


def test_a_put_of_what_is_to_stay() -> None:
    with site(lambda asked: asked.say(412)) as server:
        with pytest.raises(PlanError, match="exists already"):
            put(server.root, clobber=False)
        assert server.seen[0].headers["if-none-match"] == "*"
