"""Sizes that no store promises: all bytes come, or an error; never some of them, and none twice."""

from __future__ import annotations

import contextlib
import gzip
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import servers

from paipa_etl import PaipaError
from paipa_etl.errors import InputError, InputUnavailable
from paipa_etl.location import parse
from paipa_etl.run import new_run
from paipa_etl.sources import remote
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.ranged import RANGE

DATA = random.Random(4).randbytes(9 << 20)  # several ranges
SMALL = DATA[:1_000]
QUICK = {"backoff": 0.01, "timeout": 5, "retries": 2}
ETAG = 'ETag: "one"\r\n'
SIZES = [0, 1, 1_000, RANGE - 1, RANGE, RANGE + 1, 2 * RANGE, len(DATA)]


class Asked:
    """One request, by the lines of its head."""

    def __init__(self, head: bytes, number: int) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.verb, self.path = first.split()[:2]
        self.fields = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
        self.number = number
        span = self.fields.get("range", "").removeprefix("bytes=")
        self.ranged = bool(span)
        self.first = int(span.partition("-")[0] or 0)
        last = span.partition("-")[2]
        self.stop = int(last) + 1 if last else len(DATA)


Answer = Callable[[Asked], bytes]


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", "Connection: close", *fields, "", "")).encode()


@contextmanager
def site(answer: Answer) -> Iterator[tuple[int, list[Asked]]]:
    """A server that sends the bytes that a test makes, and closes the connection."""
    seen: list[Asked] = []
    over = threading.Event()
    running: list[tuple[threading.Thread, socket.socket]] = []

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            try:
                made, _ = listener.accept()
            except OSError:
                return
            running.append((threading.Thread(target=talk, args=(made,)), made))
            running[-1][0].start()

    def talk(made: socket.socket) -> None:
        with made, made.makefile("rb") as file:
            text = b""
            while not text.endswith(b"\r\n\r\n"):
                line = file.readline()
                if not line:
                    return
                text += line
            asked = Asked(text.rstrip(b"\r\n"), len(seen))
            seen.append(asked)
            try:
                made.sendall(answer(asked))
                made.shutdown(socket.SHUT_WR)
                while made.recv(65536):
                    pass
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], seen
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for talking, made in running:  # a client that is gone may leave it waiting for room
                with contextlib.suppress(OSError):
                    made.shutdown(socket.SHUT_RDWR)
                talking.join()


def content(url: str, **words: Any) -> bytes:
    """All bytes of what a URL names, as our reader gives them."""
    run = replace(new_run(), background=True)
    try:
        options = StoreOptions({**QUICK, **words})
        return b"".join(remote.pieces(parse(url), run, options))
    finally:
        run.over()
        run.close_clients()


def got(answer: Answer, **words: Any) -> bytes | PaipaError:
    """What comes of a server, or the error."""
    with site(answer) as (port, _):
        try:
            return content(f"http://127.0.0.1:{port}/x", **words)
        except InputError as error:
            return error


# Parts of nobody knows how much


def part(asked: Asked, data: bytes, total: str = "*", most: int = RANGE, *more: str) -> bytes:
    """A range, of which at most so many bytes are given."""
    stop = min(asked.stop, len(data), asked.first + most)
    if asked.first >= len(data):
        return head("416 None", f"Content-Range: bytes */{total}", "Content-Length: 0")
    body = data[asked.first : stop]
    span = f"Content-Range: bytes {asked.first}-{stop - 1}/{total}"
    return head("206 Part", span, f"Content-Length: {len(body)}", *more) + body


def chunked(data: bytes) -> bytes:
    return (
        b"".join(
            b"%x\r\n%b\r\n" % (len(data[n : n + 50_000]), data[n : n + 50_000])
            for n in range(0, len(data), 50_000)
        )
        + b"0\r\n\r\n"
    )


def in_length(data: bytes, *more: str) -> bytes:
    return head("200 All", f"Content-Length: {len(data)}", *more) + data


def in_chunks(data: bytes, *more: str) -> bytes:
    return head("200 All", "Transfer-Encoding: chunked", *more) + chunked(data)


def to_the_end(data: bytes, *more: str) -> bytes:
    return head("200 All", *more) + data


@pytest.mark.parametrize("stamp", [ETAG.strip(), "X-None: 1"])
@pytest.mark.parametrize("most", [1_000, RANGE // 2, RANGE, len(DATA)])
@pytest.mark.parametrize("whole", [in_length, in_chunks, to_the_end])
def test_a_part_of_nobody_knows_how_much(whole: Any, most: int, stamp: str) -> None:
    """Everything is asked for at once then, whose end is told in one of the ways of HTTP."""
    for size in SIZES:
        data = DATA[:size]

        def answer(asked: Asked, data: bytes = data) -> bytes:
            if asked.ranged:
                return part(asked, data, "*", most, stamp)
            return bytes(whole(data, stamp))

        found = got(answer)
        if size == 0 and whole is to_the_end:
            assert isinstance(found, InputError)  # or it was cut before it told a length
        else:
            assert found == data, size


@pytest.mark.parametrize("most", [1_000, RANGE, len(DATA)])
def test_a_server_that_gives_nothing_but_parts(most: int) -> None:
    """Of nobody knows how much, or too little of what it says: that is an error."""
    for total in ("*", str(len(DATA))):

        def answer(asked: Asked, total: str = total) -> bytes:
            return part(asked, DATA, total, most)

        found = got(answer)
        assert isinstance(found, InputError) or found == DATA
        if total == "*":
            assert isinstance(found, InputError)
            assert found.exit_code == 3


@pytest.mark.parametrize("cut", [0, 1, 100_000, 5 << 20])
@pytest.mark.parametrize("stamp", [ETAG.strip(), "X-None: 1"])
def test_what_has_no_length_is_cut(cut: int, stamp: str) -> None:
    """It is read again from its beginning, and never in parts whose whole nobody knows."""

    def answer(asked: Asked) -> bytes:
        if asked.ranged:
            return part(asked, DATA, "*", RANGE, stamp)
        sent = in_chunks(DATA, stamp)
        return sent[: cut + 200] if cuts and cuts.pop() else sent

    cuts = [True]
    found = got(answer)
    assert (
        found == DATA
        if stamp.startswith("ETag")
        else found == DATA or isinstance(found, InputError)
    )


# Totals that change, and are left out


@pytest.mark.parametrize("later", ["*", "5", str(len(DATA) - 1), str(len(DATA) + 1), "", "x"])
def test_a_total_that_changes_between_ranges(later: str) -> None:
    def answer(asked: Asked) -> bytes:
        total = later if asked.first else str(len(DATA))
        return part(asked, DATA, total, RANGE, ETAG.strip())

    found = got(answer)
    assert found == DATA or isinstance(found, InputError)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("whole", [in_length, in_chunks, to_the_end])
def test_everything_comes_in_the_middle(whole: Any, at: int) -> None:
    def answer(asked: Asked) -> bytes:
        if asked.first >= at * RANGE:
            return bytes(whole(DATA, ETAG.strip()))
        return part(asked, DATA, str(len(DATA)), RANGE, ETAG.strip())

    found = got(answer)
    assert found == DATA or isinstance(found, InputError)


@pytest.mark.parametrize("field", ["X-None: 1", "Content-Range: bytes 0-", "Content-Range: */5"])
def test_a_part_that_does_not_say_which(field: str) -> None:
    for body in (SMALL, b""):
        length = f"Content-Length: {len(body)}"
        found = got(lambda asked, b=body, n=length: head("206 Part", field, n) + b)
        assert isinstance(found, InputError)


# Lengths that lie, and are left out


@pytest.mark.parametrize("said", [999, 1_001, 10_000])
def test_a_length_that_is_not_that_of_the_body(said: int) -> None:
    """What is more than was said belongs to no answer; what is less was cut."""
    found = got(lambda asked: head("200 All", f"Content-Length: {said}") + SMALL)
    assert found == SMALL[:said] if said < 1_000 else isinstance(found, InputError)


def test_an_empty_answer_that_does_not_say_so() -> None:
    """So a head looks that was cut before its length."""
    whole = in_length(SMALL, ETAG.strip(), "Content-Type: text/plain")
    for cut in range(0, whole.index(b"\r\n\r\n") + 4, 3):
        found = got(lambda asked, cut=cut: whole[:cut])
        assert isinstance(found, InputUnavailable), whole[:cut]


@pytest.mark.parametrize("sent", [in_length, in_chunks])
def test_an_empty_answer_that_says_so(sent: Any) -> None:
    assert got(lambda asked: bytes(sent(b""))) == b""
    assert got(lambda asked: head("204 None")) == b""


def test_a_head_without_a_length() -> None:
    """What is known of the object is less then; what is read is not."""

    def answer(asked: Asked) -> bytes:
        return head("200 All") if asked.verb == "HEAD" else in_chunks(SMALL)

    with site(answer) as (port, _):
        url = f"http://127.0.0.1:{port}/x"
        run = new_run()
        assert remote.stat(parse(url), run, StoreOptions(QUICK)).size is None
        run.over()
        run.close_clients()
        assert content(url) == SMALL


def test_an_encoding_with_a_length() -> None:
    """The length is that of what is sent; nothing is decoded on the way."""
    body = gzip.compress(SMALL)
    for sent in (in_length, in_chunks):
        assert got(lambda asked, sent=sent: bytes(sent(body, "Content-Encoding: gzip"))) == body
    short = head("200 All", f"Content-Length: {len(SMALL)}", "Content-Encoding: gzip") + body[:500]
    assert isinstance(got(lambda asked: short), InputError)


# Stores


def s3_words(port: int) -> dict[str, Any]:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    endpoint = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    return {"client_kwargs": {**keys, **endpoint}}


LATER = "Last-Modified: Tue, 01 Jul 2025 10:00:00 GMT"


@pytest.mark.parametrize("engine", ["boto3", "signed"])
@pytest.mark.parametrize("kind", ["star", "chunks", "none", "beyond", "no span"])
def test_s3_does_not_tell_a_size(engine: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)

    def answer(asked: Asked) -> bytes:
        if asked.verb == "HEAD":
            return head("200 All", f"Content-Length: {len(DATA)}", ETAG.strip(), LATER)
        if kind == "beyond":
            return head("416 None", "Content-Length: 0")
        if not asked.ranged:
            return {"chunks": in_chunks, "none": to_the_end}.get(kind, in_length)(
                DATA, ETAG.strip(), LATER
            )
        if kind == "no span":
            body = DATA[asked.first : asked.stop]
            return head("206 Part", f"Content-Length: {len(body)}", ETAG.strip(), LATER) + body
        if kind == "star":
            return part(asked, DATA, "*", RANGE, ETAG.strip(), LATER)
        return {"chunks": in_chunks, "none": to_the_end}[kind](DATA, ETAG.strip(), LATER)

    with site(answer) as (port, _):
        try:
            assert content("s3://kit/x", **s3_words(port)) == DATA
        except InputError:
            assert kind != "star"
        else:
            assert kind == "star"


@pytest.mark.parametrize("kind", ["star", "chunks", "none", "beyond"])
def test_google_does_not_tell_a_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(asked: Asked) -> bytes:
        if "alt=media" not in asked.path:
            text = b'{"name": "x", "size": "9", "generation": "1", "updated": "2025-07-01T00:00Z"}'
            return in_length(text, "Content-Type: application/json")
        if kind == "beyond":
            return head("416 None", "Content-Length: 0")
        if kind == "star":
            return part(asked, DATA, "*", RANGE, "x-goog-generation: 1")
        return {"chunks": in_chunks, "none": to_the_end}[kind](DATA, "x-goog-generation: 1")

    with site(answer) as (port, _):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        with pytest.raises(InputError):
            content("gs://kit/x")


@pytest.mark.parametrize("kind", ["star", "chunks", "none", "beyond", "middle"])
def test_azure_does_not_tell_a_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    more = (ETAG.strip(), LATER, "x-ms-blob-type: BlockBlob", "Content-Type: x/y")

    def answer(asked: Asked) -> bytes:
        span = asked.fields.get("x-ms-range", asked.fields.get("range", "bytes=0-"))
        first, _, last = span.removeprefix("bytes=").partition("-")
        asked.first, asked.stop = int(first), int(last or len(DATA) - 1) + 1
        if asked.verb == "HEAD":
            return head("200 All", f"Content-Length: {len(DATA)}", *more)
        if kind == "beyond":
            return head("416 None", "Content-Length: 0", "x-ms-error-code: InvalidRange")
        if kind == "middle" and not asked.first:
            return part(asked, DATA, str(len(DATA)), RANGE, *more)
        if kind == "star":
            return part(asked, DATA, "*", RANGE, *more)
        return {"chunks": in_chunks, "none": to_the_end}.get(kind, in_length)(DATA, *more)

    with site(answer) as (port, _):
        at = f"BlobEndpoint=http://127.0.0.1:{port}/kit"
        text = (
            f"DefaultEndpointsProtocol=http;AccountName=kit;AccountKey={servers.AZURITE_KEY};{at}"
        )
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        with contextlib.suppress(InputError):
            assert content("az://kit/x") == DATA


@pytest.mark.parametrize("size", [0, 5, RANGE, len(DATA)])
def test_a_file_system_does_not_tell_a_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read to what the file system says is its end."""
    import fsspec

    place = servers.memory()
    place.put("sized.bin", DATA[:size])
    filesystem = type(fsspec.filesystem("memory"))
    real = filesystem.info

    def info(self: Any, path: str, **words: Any) -> dict[str, Any]:
        known: dict[str, Any] = real(self, path, **words)
        return {**known, "size": None}

    monkeypatch.setattr(filesystem, "info", info)
    assert content(place.url("sized.bin")) == DATA[:size]


def test_a_file_server_does_not_tell_a_size(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncssh = pytest.importorskip("asyncssh")
    with servers.openssh(tmp_path) as place:
        place.put("sized.bin", SMALL)
        real = asyncssh.SFTPClientFile.stat

        async def stat(self: Any, *words: Any) -> Any:
            found = await real(self, *words)
            found.size = None
            return found

        monkeypatch.setattr(asyncssh.SFTPClientFile, "stat", stat)
        with pytest.raises(InputError, match="does not tell its size") as caught:
            content(place.url("sized.bin"), **place.words)
        assert caught.value.exit_code == 3
