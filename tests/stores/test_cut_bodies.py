"""HTTP bodies that the caller opened: one that ends before its last byte is no short success."""

from __future__ import annotations

import gzip
import http.client
import io
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.config
import pytest
import requests
import urllib3
from test_http_store import Asked, site

from paipa_etl import InputError, Pipeline, read, steps, write

COUNT = 1_000
LINES = [b'{"n":%d,"text":"%s"}\n' % (n, b"x" * 90) for n in range(COUNT)]
DATA = b"".join(LINES)
HALF = len(b"".join(LINES[:500]))
PACKED = gzip.compress(b"".join(LINES[:500])) + gzip.compress(b"".join(LINES[500:]))
MEMBER = len(gzip.compress(b"".join(LINES[:500])))


def by_urlopen(url: str) -> Any:
    return urllib.request.urlopen(url, timeout=30)


def by_http_client(url: str) -> Any:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", f"/{path}")
    return connection.getresponse()


def by_error(url: str) -> Any:
    """What is raised for a 404 is a file object, too."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url + "missing", timeout=30)
    return caught.value


def by_buffered(url: str) -> Any:
    return io.BufferedReader(by_urlopen(url))


def by_twice_buffered(url: str) -> Any:
    return io.BufferedReader(io.BufferedReader(by_urlopen(url)))  # type: ignore[arg-type]


def by_urllib3(url: str) -> Any:
    return urllib3.PoolManager(retries=False).request("GET", url, preload_content=False)


def by_lenient_urllib3(url: str) -> Any:
    pool = urllib3.PoolManager(retries=False)
    return pool.request("GET", url, preload_content=False, enforce_content_length=False)


def by_requests(url: str) -> Any:
    return requests.get(url, stream=True, timeout=30).raw


def by_botocore(url: str) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )
    return client.get_object(Bucket="bucket", Key="missing")["Body"]


OPENERS = [
    by_urlopen,
    by_http_client,
    by_error,
    by_buffered,
    by_twice_buffered,
    by_urllib3,
    by_lenient_urllib3,
    by_requests,
    by_botocore,
]


@contextmanager
def body(
    data: bytes, sent: int | None = None, opened: Callable[[str], Any] = by_urlopen, **headers: Any
) -> Iterator[Any]:
    """A body of which so many bytes come, as the caller has it."""

    def answer(asked: Asked) -> None:
        code = 404 if asked.path.endswith("missing") and opened is by_error else 200
        asked.say(code, data, sent, **headers)

    with site(answer) as server:
        file = opened(server.root)
        try:
            yield file
        finally:
            file.close()


@pytest.mark.parametrize("opened", OPENERS)
@pytest.mark.parametrize("sent", [HALF, HALF + 7, len(DATA) - 1, 0])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_body_that_is_cut_is_a_failed_input(opened: Any, sent: int, ahead: bool) -> None:
    records = []
    with body(DATA, sent, opened) as file, pytest.raises(InputError) as caught:
        records.extend(iter(read(file, read_ahead=ahead)))
    assert caught.value.exit_code == 3
    assert records == list(read(DATA))[: len(records)]


@pytest.mark.parametrize("opened", OPENERS)
def test_nothing_is_published_of_a_body_that_is_cut(opened: Any, tmp_path: Any) -> None:
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"old")
    with body(DATA, HALF, opened) as file, pytest.raises(InputError):
        Pipeline(file, [], target).run()
    assert target.read_bytes() == b"old"


def test_the_message_says_how_much_is_missing() -> None:
    with body(DATA, HALF) as file, pytest.raises(InputError) as caught:
        read(file).run()
    assert f"was cut {len(DATA) - HALF:,} bytes before its end" in str(caught.value)


UNBUFFERED = [opened for opened in OPENERS if "buffered" not in opened.__name__]


@pytest.mark.parametrize("opened", OPENERS)
def test_a_whole_body_is_read_whole(opened: Any) -> None:
    with body(DATA, None, opened) as file:
        assert read(file).run().read == COUNT


@pytest.mark.parametrize("opened", UNBUFFERED)
@pytest.mark.parametrize("sent", [None, HALF])
def test_a_body_of_which_a_part_was_read_before(opened: Any, sent: int | None) -> None:
    with body(DATA, sent, opened) as file:
        assert file.read(len(LINES[0])) == LINES[0]
        if sent is None:
            assert read(file).run().read == COUNT - 1
        else:
            with pytest.raises(InputError):
                read(file).run()


@pytest.mark.parametrize("sent", [None, HALF])
def test_a_body_of_which_a_line_was_read_through_a_buffer(sent: int | None) -> None:
    with body(DATA, sent, by_buffered) as file:
        assert file.readline() == LINES[0]
        if sent is None:
            assert read(file).run().read == COUNT - 1
        else:
            with pytest.raises(InputError, match="cut"):
                read(file).run()


def test_a_body_that_was_closed_before_its_end() -> None:
    with body(DATA) as file:
        file.read(len(LINES[0]))
        file.close()
        with pytest.raises(InputError):
            read(file).run()


@pytest.mark.parametrize("opened", UNBUFFERED)
@pytest.mark.parametrize("sent", [MEMBER, MEMBER + 5, MEMBER - 5])
def test_a_compressed_body_that_is_cut(opened: Any, sent: int) -> None:
    """One that is cut between two members looks whole to the codec."""
    with body(PACKED, sent, opened) as file, pytest.raises(InputError):
        read(file).run()
    with body(PACKED, None, opened) as file:
        assert read(file).run().read == COUNT


@pytest.mark.parametrize("sent", [MEMBER, MEMBER + 5, MEMBER - 5, None])
def test_a_body_that_the_caller_decompresses(sent: int | None) -> None:
    with body(PACKED, sent) as inner, gzip.GzipFile(fileobj=inner) as file:
        if sent is None:
            assert read(file).run().read == COUNT
        else:
            with pytest.raises(InputError):
                read(file).run()


@pytest.mark.parametrize("opened", [by_urllib3, by_lenient_urllib3, by_requests])
@pytest.mark.parametrize("sent", [None, MEMBER, MEMBER - 5])
def test_a_body_that_its_client_decodes(opened: Any, sent: int | None) -> None:
    """Its Content-Length counts other bytes than those that are read."""
    with body(PACKED, sent, opened, Content_Encoding="gzip") as file:
        file.decode_content = True
        if sent is None:
            assert read(file).run().read == COUNT
        else:
            with pytest.raises(InputError):
                read(file).run()


def chunked(pieces: list[bytes], end: bytes) -> Callable[[Asked], None]:
    def answer(asked: Asked) -> None:
        asked.send_response(200)
        asked.send_header("Transfer-Encoding", "chunked")
        asked.send_header("Connection", "close")
        asked.end_headers()
        for piece in pieces:
            asked.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        asked.wfile.write(end)
        asked.close_connection = True

    return answer


@pytest.mark.parametrize("opened", [*OPENERS[:2], *OPENERS[3:-1]])
@pytest.mark.parametrize("end", [b"", b"20", b"20\r\n", b'20\r\n{"n":1}\n', b"0\r\n\r\n"])
def test_a_body_in_chunks(opened: Any, end: bytes) -> None:
    whole = end.startswith(b"0\r")
    with site(chunked(LINES, end)) as server:
        file = opened(server.root)
        try:
            if whole:
                assert read(file).run().read == COUNT
            else:
                with pytest.raises(InputError):
                    read(file).run()
        finally:
            file.close()


@pytest.mark.parametrize("opened", [by_urlopen, by_urllib3, by_requests])
def test_the_answer_to_head_has_no_body_and_is_not_cut(opened: Any) -> None:
    with site(lambda asked: asked.say(200, DATA, 0)) as server:
        if opened is by_urlopen:
            file: Any = urllib.request.urlopen(
                urllib.request.Request(server.root, method="HEAD"), timeout=30
            )
        elif opened is by_urllib3:
            file = urllib3.PoolManager().request("HEAD", server.root, preload_content=False)
        else:
            file = requests.head(server.root, stream=True, timeout=30).raw
        assert read(file).run().read == 0
        file.close()


def keeping(asked: Asked) -> None:
    """An answer on a connection that stays."""
    asked.send_response(200)
    asked.send_header("Content-Length", str(len(DATA)))
    asked.end_headers()
    asked.wfile.write(DATA)


@pytest.mark.parametrize("client", [http.client, urllib3, requests])
def test_a_connection_that_is_kept_is_read_as_often_as_is_asked(client: Any) -> None:
    with site(keeping) as server:
        host = server.root.removeprefix("http://").rstrip("/")
        connection = http.client.HTTPConnection(host, timeout=30)
        pool, session = urllib3.PoolManager(), requests.Session()
        for _ in range(2):
            if client is http.client:
                connection.request("GET", "/")
                file: Any = connection.getresponse()
            elif client is urllib3:
                file = pool.request("GET", server.root, preload_content=False)
            else:
                file = session.get(server.root, stream=True, timeout=30).raw
            assert read(file).run().read == COUNT
        connection.close()
        pool.clear()
        session.close()


def test_a_body_without_a_length_ends_where_it_ends() -> None:
    with body(DATA, HALF, Content_Length=None) as file:
        assert read(file).run().read == 500


def test_an_early_end_asks_for_nothing() -> None:
    with body(DATA, HALF) as file:
        found: list[Any] = []
        (read(file) | steps.limit(3) | write(found)).run()
        assert len(found) == 3


class Misleading(io.BytesIO):
    """What is called ``length`` elsewhere says nothing of what is left."""

    length = length_remaining = content_length = 1 << 20

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Length": str(self.length)}

    def isclosed(self) -> bool:
        return True


def test_attributes_of_other_objects_are_not_asked() -> None:
    assert read(Misleading(DATA)).run().read == COUNT


@pytest.mark.parametrize(
    "error", [EOFError("cut"), zlib.error("bad"), http.client.IncompleteRead(b"x"), OSError("gone")]
)
def test_what_a_known_object_raises_is_a_failed_input(error: Exception) -> None:
    class Fails:
        def read(self, size: int) -> bytes:
            raise error

    with pytest.raises(InputError, match="<Fails>") as caught:
        read(Fails()).run()
    assert caught.value.__cause__ is error


def test_what_an_object_of_the_users_own_raises_is_raised_as_itself() -> None:
    class Fails:
        def read(self, size: int) -> bytes:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        read(Fails()).run()


def test_no_client_library_is_imported_to_ask() -> None:
    code = (
        "import io, sys; from paipa_etl import read; list(read(io.BytesIO(b'1\\n')));"
        "print({'urllib3', 'botocore', 'http.client', 'requests', 'ssl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "set()\n"
