"""Stores that trickle: a byte now and then, at every place of an answer. No run waits for ever."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import servers
from fault_proxy import Fault, FaultProxy
from servers import Place

from paipa_etl import InputUnavailable, OutputUnavailable, Pipeline, read, steps, write
from paipa_etl.location import parse
from paipa_etl.run import new_run
from paipa_etl.sources import remote
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.pace import Watch

GAP = 0.05  # seconds between two bytes: never silent for long
QUICK = {"timeout": 0.2, "retries": 1, "backoff": 0.01}
WITHIN = 20.0  # seconds: four windows, at the most, and a busy machine
DATA = random.Random(5).randbytes(3 << 20)
FIELDS = (
    b'ETag: "one"\r\nx-goog-generation: 1\r\nx-ms-blob-type: BlockBlob\r\n'
    b"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
)
ENGINES = ["http", "boto3", "s3", "gcs", "azure"]


class Line:
    """What a server says over one connection, until the client or the test ends."""

    def __init__(self, made: socket.socket, over: threading.Event) -> None:
        self._made, self._over = made, over
        self.head = b""

    def hear(self) -> bool:
        """Take the head of a request."""
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            if not (came := self._made.recv(1)):
                return False
            self.head += came
        return True

    def say(self, data: bytes) -> None:
        self._made.sendall(data)

    def again(self, data: bytes, gap: float = GAP) -> None:
        """Say something for ever."""
        while not self._over.is_set():
            self.say(data)
            if gap:
                self._over.wait(gap)

    def take(self, count: int, gap: float) -> None:
        """Take so many bytes at a time, until the client goes away."""
        while self._made.recv(count):
            self._over.wait(gap)


Answer = Callable[[Line], None]


class Server:
    """Answers each request over each connection as a test says."""

    def __init__(self, answer: Answer, **options: int) -> None:
        self._answer, self._over = answer, threading.Event()
        self._listener = socket.socket()
        if "room" in options:
            # As over a real line: of loopback's segments, the kernel takes megabytes at once.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["room"])
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_400)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self.heads: list[bytes] = []
        self._lines: list[tuple[threading.Thread, socket.socket]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                thread = threading.Thread(target=self._talk, args=(made,))
                self._lines.append((thread, made))
                thread.start()

    def _talk(self, made: socket.socket) -> None:
        with made, suppress(OSError):
            line = Line(made, self._over)
            if line.hear():
                self.heads.append(line.head)
                self._answer(line)

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for thread, made in self._lines:
            with suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def serving(answer: Answer, **options: int) -> Iterator[Server]:
    server = Server(answer, **options)
    try:
        yield server
    finally:
        server.close()


def place(engine: str, port: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, StoreOptions]:
    """The root of a store that listens at a port, and the options to reach it through an engine."""
    root = f"http://127.0.0.1:{port}"
    if engine == "http":
        return f"{root}/kit/", StoreOptions({**QUICK, "method": "PUT"})
    if engine == "gcs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", root)
        return "gs://kit/", StoreOptions(QUICK)
    if engine == "azure":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={servers.AZURITE_KEY};BlobEndpoint={root}/devstoreaccount1;"
        ))  # fmt: skip
        return "az://kit/", StoreOptions(QUICK)
    if engine == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    login = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    given = {**login, "region_name": "us-east-1", "endpoint_url": root}
    return "s3://kit/", StoreOptions({**QUICK, "client_kwargs": given})


@contextmanager
def ends(kind: type[Exception], within: float = WITHIN) -> Iterator[None]:
    """What is done gives up, and in time."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        yield
    assert time.monotonic() - began < within
    assert getattr(caught.value, "exit_code", None) == 75, caught.value


# In the head of an answer


def status_line(line: Line) -> None:
    line.say(b"HTTP/1.1 200 ")
    line.again(b"x")


def header_line(line: Line) -> None:
    line.say(b"HTTP/1.1 200 OK\r\n" + FIELDS + b"X-Long: ")
    line.again(b"x")


def header_lines(line: Line) -> None:
    line.say(b"HTTP/1.1 200 OK\r\n" + FIELDS)
    line.again(b"X: y\r\n", 0.1)  # a hundred of them, which is the most, take 10 seconds


def interim(line: Line) -> None:
    line.again(b"HTTP/1.1 100 Continue\r\n\r\n", 0.1)


def interim_fast(line: Line) -> None:
    line.again(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n", 0)


HEADS = [status_line, header_line, header_lines, interim, interim_fast]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("answer", HEADS)
def test_a_head_that_does_not_end(
    engine: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an answer to a read, to a look, to a listing and to a write."""
    with serving(answer) as server:
        root, options = place(engine, server.port, monkeypatch)
        with ends(InputUnavailable):
            list(read(root + "a.txt", options=options))
        with ends(OutputUnavailable):
            Pipeline(["new"], [], write(root + "a.txt", options=options)).run()
        if engine in ("http", "s3"):
            return  # no listing, or boto3's
        with ends(InputUnavailable):
            list(read(root + "*.txt", options=options))


@pytest.mark.parametrize("what", ["look", "page"])
@pytest.mark.parametrize("engine", ["boto3", "gcs", "azure"])
def test_a_look_and_a_page_of_a_listing_trickle(
    engine: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the body, which the client library reads by itself."""

    def answer(line: Line) -> None:
        first = line.head.partition(b"\r\n")[0]
        if b"*" in first or b"%2A" in first or b"HEAD" in first:
            if what == "look":
                header_line(line)
            else:
                line.say(
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
        else:
            line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n<?xml")
            line.again(b" ")

    with serving(answer) as server:
        root, options = place(engine, server.port, monkeypatch)
        with ends(InputUnavailable):
            list(read(root + "*.txt", options=options))
        if what == "page":
            assert len(server.heads) >= 3, "the page was asked for, twice"


@pytest.mark.parametrize("status", [b"103 Early Hints", b"102 Processing"])
def test_interim_answers_are_not_the_answer(status: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind them is: a refused PUT has not published anything."""
    final = [b"500 No"]

    def answer(line: Line) -> None:
        line.say(3 * (b"HTTP/1.1 %b\r\nLink: </a>\r\n\r\n" % status))
        line.say(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % final[0])

    with serving(answer) as server:
        root, options = place("http", server.port, monkeypatch)
        options = StoreOptions({**options.transport_params, "timeout": 5})
        with ends(OutputUnavailable):
            Pipeline(["new"], [], write(root + "a.txt", options=options)).run()
        final[0] = b"201 Created"
        Pipeline(["new"], [], write(root + "a.txt", options=options)).run()


# In the body of an answer


def one_byte_a_time(line: Line) -> None:
    line.say(b"HTTP/1.1 206 OK\r\n" + FIELDS)
    line.say(b"Content-Range: bytes 0-999999/1000000\r\nContent-Length: 1000000\r\n\r\n")
    line.again(b"x")


def one_byte_a_range(line: Line) -> None:
    asked = line.head.lower().partition(b"range: bytes=")[2] or b"0-"
    start = int(asked.partition(b"-")[0])
    line.say(b"HTTP/1.1 206 OK\r\n" + FIELDS)
    line.say(b"Content-Range: bytes %d-999999/1000000\r\n" % start)
    line.say(b"Content-Length: %d\r\n\r\nx" % (1_000_000 - start))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("answer", [one_byte_a_time, one_byte_a_range])
def test_a_body_of_known_length(
    engine: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(answer) as server:
        root, options = place(engine, server.port, monkeypatch)
        with ends(InputUnavailable):
            list(read(root + "a.txt", options=options))
        assert len(server.heads) <= 6


CHUNKED = b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("gap", [GAP, 0], ids=["slow", "fast"])
@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"", b"0"),
        (b"5;name=", b"x"),
        (b"5\r\nhello\r\n5;", b"x"),
        (b"5\r\nhello\r\n0\r\nX: ", b"y"),
        (b"5\r\nhello\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["size", "extension", "later extension", "trailer", "trailers"],
)
def test_what_frames_chunks_does_not_end(
    begun: bytes, more: bytes, gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it fill the memory, where it comes fast."""

    def answer(line: Line) -> None:
        line.say(CHUNKED + begun)
        line.again(more if gap else more * (60_000 // len(more)), gap)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(answer) as server:
        root, options = place("http", server.port, monkeypatch)
        with ends(InputUnavailable):
            list(read(root + "a.txt", options=options))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize("head", [CHUNKED, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
def test_a_live_stream_may_be_slow(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a length that nobody knows, each line is given when it comes."""
    came = threading.Semaphore(0)

    def answer(line: Line) -> None:
        line.say(head)
        for n in range(20):
            line.say(b"4\r\n%03d\n\r\n" % n if head == CHUNKED else b"%03d\n" % n)
            assert came.acquire(timeout=10), "the line is not held back"
            time.sleep(2 * GAP)
        line.say(b"0\r\n\r\n" if head == CHUNKED else b"")

    with serving(answer) as server:
        root, options = place("http", server.port, monkeypatch)
        run = new_run()
        options = StoreOptions({**options.transport_params, "timeout": 5})
        found = []
        try:
            for piece in remote.pieces(parse(root + "a.txt"), run, options):
                found.append(piece)
                came.release()
        finally:
            run.over()
            run.close_clients()
        assert found == [b"%03d\n" % n for n in range(20)]


# What is no fault of the store's


def ranges(line: Line) -> None:
    """An honest server; without ranges where none is asked for."""
    asked = line.head.lower().partition(b"range: bytes=")[2]
    start, _, last = asked.partition(b"\r\n")[0].partition(b"-")
    first, end = int(start or 0), int(last or len(DATA) - 1) + 1
    data = DATA[first : min(end, len(DATA))]
    line.say(b"HTTP/1.1 206 OK\r\n" + FIELDS + b"Connection: close\r\n")
    line.say(b"Content-Range: bytes %d-%d/%d\r\n" % (first, first + len(data) - 1, len(DATA)))
    line.say(b"Content-Length: %d\r\n\r\n" % len(data))
    line.say(data)


@pytest.mark.parametrize(
    ("engine", "background"), [*((engine, True) for engine in ENGINES), ("http", False)]
)
def test_a_slow_consumer_is_no_fault_of_the_store(
    engine: str, background: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes many timeouts between one piece and the next."""
    with serving(ranges) as server:
        root, options = place(engine, server.port, monkeypatch)
        run = replace(new_run(), background=background)
        options = StoreOptions({**options.transport_params, "timeout": 2, "retries": 0})
        taken = bytearray()
        try:
            for n, piece in enumerate(remote.pieces(parse(root + "a.txt"), run, options)):
                if n < 2:
                    time.sleep(2.5)
                taken += piece
        finally:
            run.over()
            run.close_clients()
        assert taken == DATA


def test_a_slow_step_is_no_fault_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(line: Line) -> None:
        line.say(b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Content-Length: 400000\r\n\r\n")
        line.say(b"x" * 99_999 + b"\n")
        line.say(b"x" * 99_999 + b"\n")
        line.say(b"x" * 99_999 + b"\n")
        line.say(b"x" * 99_999 + b"\n")

    with serving(answer) as server:
        root, options = place("http", server.port, monkeypatch)
        options = StoreOptions({**options.transport_params, "timeout": 0.5, "retries": 5})
        source = read(root + "a.txt", options=options)
        assert len(list(source | steps.tap(lambda record: time.sleep(0.8)))) == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_a_thin_line_is_read_to_the_end(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 50 kB a second, with more to come than there is time for in one timeout."""
    size = 200_000

    def answer(line: Line) -> None:
        line.say(b"HTTP/1.1 206 OK\r\n" + FIELDS + b"Connection: close\r\n")
        line.say(b"Content-Range: bytes 0-%d/%d\r\n" % (size - 1, size))
        line.say(b"Content-Length: %d\r\n\r\n" % size)
        for start in range(0, size, 2_500):
            line.say(DATA[start : start + 2_500])
            time.sleep(0.05)

    with serving(answer) as server:
        root, options = place(engine, server.port, monkeypatch)
        run = new_run()
        options = StoreOptions({**options.transport_params, "timeout": 2, "retries": 0})
        try:
            assert b"".join(remote.pieces(parse(root + "a.txt"), run, options)) == DATA[:size]
        finally:
            run.over()
            run.close_clients()
        assert len(server.heads) == 1


# Writing


def accepted(line: Line) -> None:
    """What is asked before something is written is there."""
    body = b'{"kind": "storage#bucket", "name": "kit"}'
    line.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + FIELDS)
    line.say(b"Content-Length: %d\r\n\r\n" % (0 if b"HEAD " in line.head else len(body)))
    line.say(b"" if b"HEAD " in line.head else body)


def takes_nothing(line: Line) -> None:
    line.take(1, GAP)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("answer", [takes_nothing, interim, header_line])
def test_a_write_that_trickles(
    engine: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes a byte now and then, or has no end of things to say first."""

    def reply(line: Line) -> None:
        asked = line.head.partition(b" ")[0]
        (answer if asked in (b"PUT", b"POST") else accepted)(line)

    with serving(reply, room=4096) as server:
        root, options = place(engine, server.port, monkeypatch)
        line = DATA[: 1 << 20].hex()
        with ends(OutputUnavailable):
            Pipeline([line], [], write(root + "a.txt", options=options)).run()
        sent = [head for head in server.heads if head[:3] in (b"PUT", b"POS")]
        assert len(sent) == 2


@pytest.mark.parametrize("engine", ["http", "boto3", "gcs"])
def test_a_thin_line_is_written_through(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a multiple of the timeout to send it all."""
    size = 600_000

    def reply(line: Line) -> None:
        if not line.head.startswith((b"PUT", b"POST")):
            accepted(line)
            return
        left = size
        while left > 0:
            left -= len(line._made.recv(min(10_000, left)))
            time.sleep(0.1)
        body = b'{"size": "%d"}' % size if engine == "gcs" else b""
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body) + FIELDS + b"\r\n" + body)

    with serving(reply, room=4096) as server:
        root, options = place(engine, server.port, monkeypatch)
        options = StoreOptions({**options.transport_params, "timeout": 4, "retries": 0})
        Pipeline(["x" * (size - 1)], [], write(root + "a.txt", options=options)).run()


def test_a_watch_that_nobody_closes_ends_with_its_owner() -> None:
    """A sink that is opened and forgotten closes nothing."""
    watch = Watch(0.2)
    assert any(thread.name == "paipa-store-watch" for thread in threading.enumerate())
    del watch  # that no thread is left behind is looked at after each test


# SFTP


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.openssh(tmp_path_factory.mktemp("ssh")) as found:
        yield found


@pytest.mark.parametrize("after", [5, 1_000, 4_500, 100_000])
def test_a_file_server_that_trickles(openssh: Place, after: int) -> None:
    """In its greeting, while keys are exchanged, in the middle of a file."""
    with FaultProxy(openssh.port, raw=True) as proxy:
        assert openssh.through is not None
        there = openssh.through(proxy.port)
        there.put("long.txt", DATA.hex().encode())
        proxy.reset(lambda number, head: Fault("trickle", after))
        options = StoreOptions({**there.words, **QUICK})
        with ends(InputUnavailable):
            list(read(there.url("long.txt"), options=options))
        assert len(proxy.requests) >= 2


def test_a_file_server_that_only_keeps_the_connection_alive() -> None:
    """Messages that mean nothing are no progress."""
    import asyncssh

    ready, over = threading.Event(), threading.Event()
    port = []

    class Mute(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel)
            self._connection = channel.get_connection()

        async def stat(self, *words: Any) -> Any:
            while True:
                self._connection.send_debug("still here")
                await asyncio.sleep(GAP)

        open = realpath = lstat = stat  # type: ignore[assignment]

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def serve() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        words: dict[str, Any] = {"server_factory": Open, "server_host_keys": [key]}
        server = await asyncssh.create_server(**words, host="127.0.0.1", port=0, sftp_factory=Mute)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        while not over.is_set():
            await asyncio.sleep(0.01)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        url = f"sftp://me@127.0.0.1:{port[0]}/a.txt"
        options = StoreOptions({**QUICK, "connect_kwargs": {"known_hosts": None}})
        with ends(InputUnavailable):
            list(read(url, options=options))
        with ends(OutputUnavailable):
            Pipeline(["x"], [], write(url, options=options)).run()
    finally:
        over.set()
        thread.join()


@pytest.mark.filterwarnings("ignore::paipa_etl.errors.PaipaWarning")
def test_parts_that_trickle(tmp_path_factory: Any) -> None:
    """Real S3 requests, one of which is answered a byte at a time: given up, and made again."""
    with (
        servers.moto(tmp_path_factory.mktemp("moto")) as moto,
        FaultProxy(moto.port) as proxy,
    ):
        assert moto.through is not None
        there = moto.through(proxy.port)
        text = DATA.hex()
        options = StoreOptions({**there.words, "backoff": 0.01, "timeout": 3})
        for kind in (b"partNumber=1", b"?uploads"):
            asked: list[bytes] = []

            def plan(
                number: int, head: bytes, kind: bytes = kind, asked: list[bytes] = asked
            ) -> Fault | None:
                if kind not in head.partition(b"\r\n")[0] or asked:
                    return None
                asked.append(head)
                return Fault("trickle")

            proxy.reset(plan)
            Pipeline([text], [], write(there.url("a.txt"), options=options)).run()
            assert asked
            assert there.get("a.txt") == text.encode() + b"\n"
