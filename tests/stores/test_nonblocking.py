"""File objects and standard streams that are not ready: nothing is lost, doubled or cut short."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import io
import lzma
import os
import signal
import socket
import ssl
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND
from test_http_store import certified, secured

from paipa_etl import BadRecord, InputError, OutputError, Pipeline, PlanError, read, steps, write
from paipa_etl.threads.stop import Stopped

COUNT = 5_000
LINES = [b'{"n":%d,"text":"%s"}\n' % (n, b"x" * (n % 300)) for n in range(COUNT)]
DATA = b"".join(LINES)
RECORDS = [{"n": n, "text": "x" * (n % 300)} for n in range(COUNT)]


def small(descriptor: int) -> None:
    """Give a pipe the least room there is, so that it is full soon."""
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)


@contextmanager
def in_thread(function: Callable[..., object], *words: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=function, args=words)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
        assert not thread.is_alive()


# Sources


def feed(descriptor: int, close: Callable[[], object]) -> None:
    """Write all lines in pieces, with a pause now and then, and end."""
    for start in range(0, COUNT, 500):
        data = b"".join(LINES[start : start + 500])
        half = len(data) // 2 + 3
        for piece in (data[:half], data[half:]):
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
        time.sleep(0.02)  # so that there are moments with nothing
    close()


def raw_pipe(descriptor: int) -> Any:
    return io.FileIO(descriptor, "rb")


def open_raw_pipe(descriptor: int) -> Any:
    return open(descriptor, "rb", buffering=0)


def buffered_pipe(descriptor: int) -> Any:
    return open(descriptor, "rb")


def tiny_buffered_pipe(descriptor: int) -> Any:
    return open(descriptor, "rb", buffering=16)


class OnlyRead:
    """What a library may have: ``read`` and ``fileno``, and no base class."""

    def __init__(self, descriptor: int) -> None:
        self._raw = io.FileIO(descriptor, "rb")
        self.fileno, self.close = self._raw.fileno, self._raw.close

    def read(self, size: int) -> bytes | None:
        return self._raw.read(min(size, 1000))


class GivesArrays(OnlyRead):
    def read(self, size: int) -> Any:
        piece = super().read(size)
        return None if piece is None else bytearray(piece)


class GivesViews(OnlyRead):
    def read(self, size: int) -> Any:
        piece = super().read(size)
        return None if piece is None else memoryview(piece)


class OnlyReadInto(io.RawIOBase):
    def __init__(self, descriptor: int) -> None:
        self._raw = io.FileIO(descriptor, "rb")

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:
        return self._raw.readinto(memoryview(buffer)[:777])

    def close(self) -> None:
        super().close()
        self._raw.close()


PIPES: list[Callable[[int], Any]] = [
    raw_pipe,
    open_raw_pipe,
    buffered_pipe,
    tiny_buffered_pipe,
    OnlyRead,
    GivesArrays,
    GivesViews,
    OnlyReadInto,
    lambda descriptor: io.BufferedReader(OnlyReadInto(descriptor)),
]
NAMES = ["FileIO", "open", "buffered", "tiny buffer", "read", "arrays", "views", "readinto", "own"]
PIPE = pytest.mark.parametrize("make", PIPES, ids=NAMES)


@PIPE
@pytest.mark.parametrize("ahead", [False, True])
def test_a_pipe_that_has_nothing_yet_is_waited_for(make: Any, ahead: bool) -> None:
    out, into = os.pipe()
    os.set_blocking(out, False)
    file = make(out)
    try:
        with in_thread(feed, into, lambda: os.close(into)):
            assert list(read(file, read_ahead=ahead)) == RECORDS
    finally:
        file.close()


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("timeout", [0, 30], ids=["non-blocking", "with a time-out"])
def test_a_socket_that_has_nothing_yet_is_waited_for(buffering: int, timeout: float) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(timeout)
        with (
            ours.makefile("rb", buffering=buffering) as file,
            in_thread(feed, theirs.fileno(), lambda: theirs.shutdown(socket.SHUT_WR)),
        ):
            assert list(read(file)) == RECORDS


def test_a_socket_that_times_out_is_a_failed_input_and_no_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        theirs.sendall(LINES[0])
        with ours.makefile("rb") as file, pytest.raises(InputError, match="timed out"):
            read(file).run()


class Restoring(io.FileIO):
    """As where another process has the pipe non-blocking for moments only."""

    def readinto(self, buffer: Any) -> Any:
        os.set_blocking(self.fileno(), False)
        try:
            return super().readinto(buffer)
        finally:
            os.set_blocking(self.fileno(), True)


def test_a_pipe_that_was_nonblocking_for_a_moment_is_read_to_its_end() -> None:
    out, into = os.pipe()
    with io.BufferedReader(Restoring(out)) as file, in_thread(feed, into, lambda: os.close(into)):
        assert list(read(file)) == RECORDS


class Filling(io.FileIO):
    """A pipe that was non-blocking and empty for a moment, and has bytes when it is looked at."""

    def __init__(self, descriptor: int, into: int) -> None:
        super().__init__(descriptor)
        self._into: int | None = into

    def readinto(self, buffer: Any) -> Any:
        if self._into is None:
            return super().readinto(buffer)
        into, self._into = self._into, None
        os.write(into, b"1\n2\n")
        os.close(into)
        return None


def test_bytes_that_come_behind_a_look_are_no_end() -> None:
    with io.BufferedReader(Filling(*os.pipe())) as file:
        assert list(read(file)) == [1, 2]


class Nothing(io.RawIOBase):
    """A raw file that has nothing, and no descriptor."""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> None:
        return None

    def write(self, data: Any) -> None:
        return None


class NothingAtAll:
    def read(self, size: int) -> None:
        return None


@pytest.mark.parametrize(
    "make",
    [Nothing, NothingAtAll, lambda: io.BufferedReader(Nothing())],
    ids=["raw", "object", "buffered"],
)
def test_nothing_yet_without_a_descriptor_is_an_error_that_says_so(make: Any) -> None:
    with pytest.raises(InputError, match=r"nothing yet.*no descriptor"):
        read(make()).run()


class Never(NothingAtAll):
    """One that has nothing though its descriptor is ready."""

    def __init__(self, descriptor: int) -> None:
        self.fileno = lambda: descriptor


def test_an_object_that_is_held_up_above_its_descriptor_keeps_no_core_busy() -> None:
    out, into = os.pipe()
    os.write(into, b"x")
    run = Pipeline(Never(out)).start()
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25
    run.abort()
    with pytest.raises(Stopped):
        run.wait()
    os.close(out)
    os.close(into)


@PIPE
def test_a_stop_wakes_the_wait_for_bytes(make: Any) -> None:
    out, into = os.pipe()
    os.set_blocking(out, False)
    file = make(out)
    got: list[int] = []
    seen = [threading.Event() for _ in range(3)]

    def take(record: int) -> int:
        seen[record].set()
        return record

    try:
        with Pipeline(file, [steps.map(take)], got).start() as run:
            for number in range(3):
                os.write(into, b"%d\n" % number)
                assert seen[number].wait(30)
            assert run.alive
            run.stop()
            assert run.wait(30).read == 3
        assert got == [0, 1, 2]
    finally:
        file.close()
        os.close(into)


def test_what_was_read_is_shown_before_the_wait() -> None:
    out, into = os.pipe()
    os.set_blocking(out, False)
    shown: list[bytes] = []

    class Shows:
        def write(self, data: Any) -> int:
            shown.append(bytes(data))
            return len(data)

    with open(out, "rb", buffering=0) as file, Pipeline(file, [], Shows()).start() as run:
        for number in range(3):
            os.write(into, b"%d\n" % number)
            deadline = time.monotonic() + 30
            while len(shown) <= number and time.monotonic() < deadline:
                time.sleep(0.005)
            assert shown[number] == b"%d\n" % number
        os.close(into)
        assert run.wait(30).read == 3


@pytest.mark.parametrize("codec", [gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile])
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_decompressor_over_a_nonblocking_file_is_refused(codec: Any, buffering: int) -> None:
    out, into = os.pipe()
    os.set_blocking(out, False)
    os.close(into)
    with open(out, "rb", buffering=buffering) as inner:
        file = codec(fileobj=inner) if codec is gzip.GzipFile else codec(inner)
        with file, pytest.raises(PlanError, match="non-blocking"):
            read(file).run()


@pytest.mark.parametrize("piece", [7, [1, 2], {"a"}, 1.5])
def test_what_is_no_bytes_is_refused(piece: Any) -> None:
    class Gives:
        def read(self, size: int) -> Any:
            return piece

    with pytest.raises(PlanError, match="not bytes"):
        read(Gives()).run()


# TLS


@contextmanager
def tls(folder: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Both ends of a connection after the handshake; the first one is non-blocking."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    one, other = socket.socketpair()
    with one, other, ThreadPoolExecutor(1) as threads:
        # The first end sends few bytes at a time, so that it finds no room soon.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server = secured(certified(folder, "127.0.0.1", 1))
        wrapped = threads.submit(server.wrap_socket, other, server_side=True)
        with trusting.wrap_socket(one) as ours, wrapped.result(30) as theirs:
            ours.setblocking(False)
            yield ours, theirs


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_tls_connection_that_has_nothing_yet_is_waited_for(
    tmp_path: Path, buffering: int
) -> None:
    with tls(tmp_path) as (ours, theirs):

        def send() -> None:
            for start in range(0, COUNT, 500):
                theirs.sendall(b"".join(LINES[start : start + 500]))
                time.sleep(0.02)
            if buffering:
                theirs.setblocking(False)  # so as to say the end, and not to wait for the answer
                with suppress(ssl.SSLWantReadError):
                    theirs.unwrap()
            else:
                theirs.shutdown(socket.SHUT_WR)

        with ours.makefile("rb", buffering=buffering) as file, in_thread(send):
            assert list(read(file)) == RECORDS


def test_a_tls_connection_without_room_is_waited_for(tmp_path: Path) -> None:
    got: list[bytes] = []

    def take(theirs: ssl.SSLSocket) -> None:
        while piece := theirs.recv(3000):
            got.append(piece)
            if len(got) % 50 == 0:
                time.sleep(0.005)

    with tls(tmp_path) as (ours, theirs), in_thread(take, theirs):
        with ours.makefile("wb", buffering=0) as file:
            Pipeline(DATA, [], file).run()
        ours.shutdown(socket.SHUT_WR)
    assert b"".join(got) == DATA


# Sinks


def drain(descriptor: int, into: list[bytes]) -> None:
    """Read to the end, with a pause now and then."""
    count = 0
    while piece := os.read(descriptor, 3000):
        into.append(piece)
        count += 1
        if count % 50 == 0:
            time.sleep(0.005)


class HasNoCount:
    """Like many objects: writes all, returns nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        os.set_blocking(descriptor, True)

    def write(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def close(self) -> None:
        os.close(self._descriptor)


class SaysTrue(HasNoCount):
    def write(self, data: Any) -> Any:
        super().write(data)
        return True


class OwnRaw(io.RawIOBase):
    def __init__(self, descriptor: int) -> None:
        self._raw = io.FileIO(descriptor, "wb", closefd=False)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def write(self, data: Any) -> int | None:
        return self._raw.write(memoryview(data)[:5000])


def raw(descriptor: int) -> Any:
    return io.FileIO(descriptor, "wb", closefd=False)


def buffered(descriptor: int) -> Any:
    return open(descriptor, "wb", closefd=False)


def tiny_buffered(descriptor: int) -> Any:
    return open(descriptor, "wb", buffering=10, closefd=False)


def large_buffered(descriptor: int) -> Any:
    return open(descriptor, "wb", buffering=1 << 22, closefd=False)


SINKS: list[Callable[[int], Any]] = [
    raw,
    buffered,
    tiny_buffered,
    large_buffered,
    OwnRaw,
    lambda descriptor: io.BufferedWriter(OwnRaw(descriptor)),
    HasNoCount,
    SaysTrue,
]


@pytest.mark.parametrize("make", SINKS)
@pytest.mark.parametrize("made", [[], [steps.map(lambda r: r)]], ids=["raw lines", "map"])
def test_a_full_pipe_is_waited_for_and_gets_each_byte_once(make: Any, made: list[Any]) -> None:
    out, into = os.pipe()
    small(into)
    os.set_blocking(into, False)
    got: list[bytes] = []
    with in_thread(drain, out, got):
        file = make(into)
        try:
            report = Pipeline(DATA, made, file).run()
        finally:
            file.close()
            os.close(into)
    os.close(out)
    assert b"".join(got) == DATA
    assert (report.written, report.bytes_out) == (COUNT, len(DATA))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_full_pipe_gets_each_byte_of_a_codec_once(suffix: str) -> None:
    out, into = os.pipe()
    small(into)
    os.set_blocking(into, False)
    got: list[bytes] = []
    noise = [os.urandom(100).hex() for _ in range(COUNT)]
    with in_thread(drain, out, got), open(into, "wb", buffering=0) as file:
        Pipeline(noise, [], write(file, to=suffix)).run()
    os.close(out)
    assert list(read(b"".join(got))) == noise


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_full_socket_is_waited_for(buffering: int) -> None:
    ours, theirs = socket.socketpair()
    got: list[bytes] = []
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        with in_thread(drain, theirs.fileno(), got):
            with ours.makefile("wb", buffering=buffering) as file:
                Pipeline(DATA, [], file).run()
            ours.shutdown(socket.SHUT_WR)
    assert b"".join(got) == DATA


@pytest.mark.parametrize(
    "make", [Nothing, lambda: io.BufferedWriter(Nothing())], ids=["raw", "buffered"]
)
def test_no_room_without_a_descriptor_is_an_error_that_says_so(make: Any) -> None:
    file = make()
    with pytest.raises(OutputError, match=r"takes nothing now.*no descriptor"):
        Pipeline(DATA, [], file).run()
    with suppress(BlockingIOError):
        file.close()


def test_a_raw_file_that_returns_no_count_gets_nothing_twice(tmp_path: Path) -> None:
    """By its protocol it took nothing; and yet it wrote."""

    class NoCount(io.RawIOBase):
        def __init__(self, file: Any) -> None:
            self._file = file

        def writable(self) -> bool:
            return True

        def fileno(self) -> int:
            return int(self._file.fileno())

        def write(self, data: Any) -> None:
            self._file.write(data)

    with (
        (tmp_path / "out").open("wb", buffering=0) as file,
        pytest.raises(OutputError, match="None"),
    ):
        Pipeline([1, 2], [], NoCount(file)).run()
    assert (tmp_path / "out").read_bytes() == b"1\n2\n"


@pytest.mark.parametrize("error", [BlockingIOError(11, "full"), BlockingIOError(11, "full", 3)])
def test_a_full_object_of_another_kind_is_an_error(error: BlockingIOError) -> None:
    class Full:
        def write(self, data: Any) -> int:
            raise error

    with pytest.raises(OutputError, match="full"):
        Pipeline([1], [], Full()).run()


@pytest.mark.parametrize("count", [-1, 100])
def test_a_count_that_cannot_be_is_an_error(count: int) -> None:
    class Wrong:
        def write(self, data: Any) -> int:
            return count

    with pytest.raises(OutputError, match="says that it wrote"):
        Pipeline([1], [], Wrong()).run()


@pytest.mark.parametrize("codec", [gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile])
def test_a_compressor_over_a_nonblocking_file_is_refused(codec: Any) -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    with open(out, "rb") as _, open(into, "wb", buffering=0) as inner:
        file = codec(fileobj=inner, mode="wb") if codec is gzip.GzipFile else codec(inner, "wb")
        with file, pytest.raises(PlanError, match="non-blocking"):
            Pipeline([1], [], file).run()


@contextmanager
def full_after(count: int) -> Iterator[tuple[int, int, Callable[[], None]]]:
    """Both ends of a non-blocking pipe that nobody reads, and what waits until so much is in it."""
    out, into = os.pipe()
    small(into)
    os.set_blocking(into, False)

    def wait_until_full() -> None:
        deadline = time.monotonic() + 30
        while bytes_in(out) < count and time.monotonic() < deadline:
            time.sleep(0.005)

    try:
        yield out, into, wait_until_full
    finally:
        os.close(out)
        os.close(into)


def bytes_in(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), "little")


@pytest.mark.parametrize("kind", ["raw", "buffered", "name"])
def test_an_abort_ends_the_wait_for_room(kind: str) -> None:
    with full_after(4096) as (_, into, wait):
        target: Any = {"raw": raw, "buffered": buffered, "name": "/dev/fd/{}".format}[kind](into)
        run = Pipeline(DATA, [], target).start()
        wait()
        run.abort()
        assert not run.alive
        with pytest.raises(Stopped):
            run.wait()
        with suppress(BlockingIOError):
            if kind != "name":
                target.close()


@pytest.mark.parametrize("kind", ["raw", "buffered", "name"])
@pytest.mark.parametrize("made", [[], [steps.map(lambda r: r)]], ids=["raw lines", "map"])
def test_the_good_records_before_a_bad_one_wait_for_room(kind: str, made: list[Any]) -> None:
    with full_after(4096) as (out, into, wait):
        got: list[bytes] = []
        target: Any = {"raw": raw, "buffered": large_buffered, "name": "/dev/fd/{}".format}[kind]
        target = target(into)

        def run() -> None:
            with pytest.raises(BadRecord):
                Pipeline(DATA + b"{no\n", made, target).run()
            if kind != "name":
                os.set_blocking(into, True)
                target.close()

        with in_thread(run):
            wait() if kind != "buffered" else None
            with in_thread(drain_until, out, got, len(DATA)):
                pass
    assert b"".join(got) == DATA


def drain_until(descriptor: int, into: list[bytes], size: int) -> None:
    while sum(map(len, into)) < size:
        into.append(os.read(descriptor, 3000))


# The command


@contextmanager
def command(*words: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*COMMAND, *map(str, words)], **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("made", [(), ("--map", "lambda r: r"), ("--map", "lambda r: r@2")])
def test_standard_streams_that_are_nonblocking(tmp_path: Path, made: tuple[str, ...]) -> None:
    out, into = os.pipe()
    back, ahead = os.pipe()
    small(ahead)
    os.set_blocking(out, False)
    os.set_blocking(ahead, False)
    got: list[bytes] = []
    with command("-", "-", *made, stdin=out, stdout=ahead) as process:
        os.close(out)
        os.close(ahead)
        with in_thread(feed, into, lambda: os.close(into)), in_thread(drain, back, got):
            assert process.wait(60) == 0
    os.close(back)
    assert b"".join(got) == DATA


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("waits_for", ["bytes", "room"])
def test_an_interrupt_ends_the_wait_on_a_nonblocking_stream(waits_for: str, number: int) -> None:
    with full_after(4096) as (_, into, wait):
        source, sink = os.pipe()
        os.set_blocking(source, False)
        if waits_for == "room":
            source_words, words = {"stdin": source, "stdout": into}, ("-", "-")
        else:
            source_words, words = {"stdin": source, "stdout": subprocess.PIPE}, ("-", "-")
        with command(*words, stderr=subprocess.PIPE, **source_words) as process:
            if waits_for == "room":
                os.write(sink, DATA[:50_000])
                wait()
            else:
                os.write(sink, b"1\n")
                assert process.stdout
                assert process.stdout.readline() == b"1\n"
            process.send_signal(number)
            assert process.wait(30) == 128 + number
            assert process.stderr
            assert process.stderr.read().count(b"\n") == 1
        os.close(source)
        os.close(sink)


def test_a_list_of_inputs_that_comes_slowly_is_read_to_its_end(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f'"{name}"\n')
    out, into = os.pipe()
    os.set_blocking(out, False)
    with command(
        "--files-from", "-", "-", stdin=out, stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        os.close(out)
        os.write(into, b"a\n")
        deadline = time.monotonic() + 30
        while bytes_in(into) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1)  # time to take what is there for all
        os.write(into, b"b\n")
        os.close(into)
        assert process.communicate(timeout=30)[0] == b'"a"\n"b"\n'
        assert process.returncode == 0


@pytest.mark.parametrize("option", ["--explain", "-n"])
def test_a_plan_is_shown_on_a_full_pipe_when_there_is_room(tmp_path: Path, option: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    with full_after(4096) as (out, into, _):
        os.write(into, b"x" * 4096)
        with command("in.jsonl", option, stdout=into, cwd=tmp_path) as process:
            with pytest.raises(subprocess.TimeoutExpired):  # time to fail
                process.wait(1.5)
            assert os.read(out, 4096) == b"x" * 4096
            assert process.wait(30) == 0
        assert os.read(out, 4096).startswith(b"read   in.jsonl")
