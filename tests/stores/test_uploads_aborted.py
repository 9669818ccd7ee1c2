"""Uploads that fail: whatever was begun is aborted, also when the failure overtakes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import COMMAND
from fault_proxy import Fault, FaultProxy, Plan, status
from servers import Place

from paipa_etl import OutputError, Pipeline, steps, write
from paipa_etl.errors import PaipaWarning
from paipa_etl.location import parse
from paipa_etl.run.clients import Clients
from paipa_etl.sinks import remote
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.cleaning import Leftovers

PART = 5 << 20
LINE = random.Random(1).randbytes(32_000).hex()[: 64_000 - 1]
FEW = [LINE] * 90  # 5.8 MB: a part of S3, and the beginning of another
MORE = [LINE] * 140  # 9 MB: a part of every store
FAST = {"backoff": 0.02, "timeout": 20}


class Failed(Exception):
    """What a test fails with."""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        yield place


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.fake_gcs(tmp_path_factory.mktemp("gcs")) as place:
        yield place


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.openssh(tmp_path_factory.mktemp("ssh")) as place:
        yield place


@pytest.fixture
def proxy(moto: Place) -> Iterator[FaultProxy]:
    with FaultProxy(moto.port) as proxy:
        yield proxy


@pytest.fixture
def s3(moto: Place, proxy: FaultProxy) -> Iterator[Place]:
    """The store through the proxy; nothing is left over in it."""
    assert moto.through is not None
    place = moto.through(proxy.port)
    place.put("kept.txt", b"old\n")
    yield place
    assert place.get("kept.txt") == b"old\n"
    assert moto.leftovers() == []


def is_begin(head: bytes) -> bool:
    """Whether a request begins an upload, of S3 or of GCS."""
    first = head.partition(b"\r\n")[0]
    return first.startswith(b"POST") and (b"?uploads" in first or b"=resumable" in first)


def sink(place: Place, **words: Any) -> Any:
    given = {**place.options.transport_params, **FAST, **words}
    return write(place.url("kept.txt"), options=StoreOptions(given))


class Slow:
    """A plan: the answer to a beginning comes late, and a test may wait for the question."""

    def __init__(self, seconds: float = 0.3) -> None:
        self.asked, self._seconds = threading.Event(), seconds

    def __call__(self, number: int, head: bytes) -> Fault | None:
        if is_begin(head):
            self.asked.set()
            time.sleep(self._seconds)  # nothing passes meanwhile
        return None


def failing(lines: list[str], after: Callable[[], Any] = bool, kind: Any = Failed) -> Iterator[str]:
    """Some lines; then, when something has happened, a failure."""
    yield from lines
    after()
    raise kind


def drop_uploads(place: Place) -> list[str]:
    """Remove what is left over, as ``paipa-etl cleanup`` does."""
    clients = Clients()
    options = place.options
    found = Leftovers(parse(place.url("")), options, clients)
    uploads = [*found]
    for upload in uploads:
        found.drop(upload)
    clients.close()
    return [upload.location.name for upload in uploads]


# Where the failure comes


@pytest.mark.parametrize("part", [1, 2, 3])
@pytest.mark.parametrize("near", [-70_000, -1, 0, 1, 70_000, 500_000])
def test_a_failure_around_the_end_of_a_part(
    s3: Place, proxy: FaultProxy, moto: Place, part: int, near: int
) -> None:
    size = part * PART + near
    lines = [LINE] * (size // 64_000) + ["x" * (size % 64_000 - 1)]
    for time_of_it in range(3):
        with pytest.raises(Failed):
            Pipeline(failing(lines), [], sink(s3)).run()
        assert moto.leftovers() == [], time_of_it


@pytest.mark.parametrize("latency", [0.01, 0.1])
def test_a_failure_while_the_store_is_far_away(moto: Place, latency: float) -> None:
    assert moto.through is not None
    with FaultProxy(moto.port, latency=latency) as proxy:
        place = moto.through(proxy.port)
        for count in range(80, 180, 16):  # of lines: 5.1 to 11.5 MB
            with pytest.raises(Failed):
                Pipeline(failing([LINE] * count), [], sink(place)).run()
            assert moto.leftovers() == [], count


# What overtakes the beginning


def by_source(place: Place, slow: Slow) -> None:
    Pipeline(failing(FEW, slow.asked.wait), [], sink(place)).run()


def by_interrupt(place: Place, slow: Slow) -> None:
    Pipeline(failing(FEW, slow.asked.wait, KeyboardInterrupt), [], sink(place)).run()


def by_step(place: Place, slow: Slow) -> None:
    def step(line: str) -> str:
        if line == "last":
            slow.asked.wait()
            raise Failed
        return line

    Pipeline([*FEW, "last"], [steps.map(step)], sink(place)).run()


def by_worker(place: Place, slow: Slow) -> None:
    def step(line: str) -> str:
        if line == "last":
            slow.asked.wait()
            raise Failed
        return line

    Pipeline([*FEW, "last"], [steps.map(step, workers=2)], sink(place)).run()


def by_record(place: Place, slow: Slow) -> None:
    def lines() -> Iterator[Any]:
        yield from FEW
        slow.asked.wait()
        yield 1  # there are no lines but texts

    Pipeline(lines(), [], sink(place)).run()


def by_iterating(place: Place, slow: Slow) -> None:
    """A sink that is used alone writes in the thread that fails."""
    with sink(place) as file:
        for line in FEW[:80]:
            file.write(line)

        def fail() -> None:
            slow.asked.wait()
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = threading.Thread(target=fail)
        thread.start()
        try:
            for line in FEW:
                file.write(line)
        finally:
            thread.join()
    raise AssertionError("it was not interrupted")


WAYS = [by_source, by_interrupt, by_step, by_worker, by_record, by_iterating]


@pytest.fixture
def signalled() -> Iterator[None]:
    """A signal that raises, in the main thread."""

    def fail(number: int, frame: Any) -> None:
        raise Failed

    before = signal.signal(signal.SIGUSR1, fail)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("signalled")
@pytest.mark.parametrize("way", WAYS)
def test_what_fails_before_the_beginning_is_answered(
    s3: Place, proxy: FaultProxy, moto: Place, way: Callable[[Place, Slow], None]
) -> None:
    for _ in range(3):
        slow = Slow()
        proxy.reset(slow)
        began = time.monotonic()
        with pytest.raises((Failed, KeyboardInterrupt, Exception)) as caught:
            way(s3, slow)
        assert not isinstance(caught.value, AssertionError)
        assert slow.asked.is_set()
        assert time.monotonic() - began < 2 * remote.DROP_WITHIN
        assert [line.split()[0] for line in proxy.requests][-1] == b"DELETE"
        assert moto.leftovers() == []


@pytest.mark.parametrize(
    "fault", [status(503), Fault("reset"), Fault("cut")], ids=lambda f: f.action
)
def test_a_failure_between_two_attempts_to_begin(
    s3: Place, proxy: FaultProxy, moto: Place, fault: Fault
) -> None:
    """There is no further attempt; what was lost on the way may have begun, and that is said."""
    asked = threading.Event()

    def plan(number: int, head: bytes) -> Fault | None:
        if not is_begin(head):
            return None
        asked.set()
        return fault

    proxy.reset(plan)
    source = failing(FEW, lambda: (asked.wait(), time.sleep(0.3)))
    pipeline = Pipeline(source, [], sink(s3, backoff=30))
    if fault.action == "answer":
        with pytest.raises(Failed):
            pipeline.run()
    else:
        with pytest.raises(Failed), pytest.warns(PaipaWarning, match="may be left over"):
            pipeline.run()
    assert sum(map(is_begin, proxy.requests)) == 1
    drop_uploads(moto)


def test_a_beginning_that_is_never_answered(
    s3: Place, proxy: FaultProxy, moto: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for within a bound; then it is said how the upload is found."""
    monkeypatch.setattr(remote, "DROP_WITHIN", 0.5)
    asked = threading.Event()

    def plan(number: int, head: bytes) -> Fault | None:
        if not is_begin(head):
            return None
        asked.set()
        return Fault("stall")

    proxy.reset(plan)
    began = time.monotonic()
    with pytest.raises(Failed), pytest.warns(PaipaWarning, match="paipa-etl cleanup") as said:
        Pipeline(failing(FEW, asked.wait), [], sink(s3)).run()
    assert time.monotonic() - began < 10
    assert len(said) == 1
    assert moto.leftovers() == drop_uploads(moto) == ["kept.txt"]


# What fails when it is aborted


@pytest.mark.parametrize("kind", ["503", "reset", "lose"])
def test_an_abort_that_fails_once_is_made_again(
    s3: Place, proxy: FaultProxy, moto: Place, kind: str
) -> None:
    fault = status(503) if kind == "503" else Fault(kind)
    dropped: list[int] = []

    def plan(number: int, head: bytes) -> Fault | None:
        if head.startswith(b"DELETE"):
            dropped.append(number)
        return fault if dropped == [number] else None

    proxy.reset(plan)
    with pytest.raises(Failed):
        Pipeline(failing(MORE), [], sink(s3)).run()
    assert len(dropped) == 2
    assert moto.leftovers() == []


@pytest.mark.parametrize("fault", [status(503), status(403), Fault("answer")])
def test_an_abort_that_fails_for_good_says_so(
    s3: Place, proxy: FaultProxy, moto: Place, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "DROP_WITHIN", 0.5)
    deleting = lambda number, head: fault if head.startswith(b"DELETE") else None  # noqa: E731
    proxy.reset(deleting)
    with pytest.raises(Failed), pytest.warns(PaipaWarning, match="paipa-etl cleanup") as said:
        Pipeline(failing(MORE), [], sink(s3)).run()
    assert len(said) == 1
    assert drop_uploads(moto) == ["kept.txt"]


@pytest.mark.parametrize("request_of", [b"partNumber=1", b"partNumber=2", b"?uploadId"])
def test_a_request_behind_the_beginning_fails(
    s3: Place, proxy: FaultProxy, moto: Place, request_of: bytes
) -> None:
    """A part, and the completion."""
    plan: Plan = lambda number, head: (  # noqa: E731
        status(403) if request_of in head and not head.startswith(b"DELETE") else None
    )
    proxy.reset(plan)
    with pytest.raises(OutputError):
        Pipeline(MORE, [], sink(s3)).run()
    assert moto.leftovers() == []


def test_an_interrupt_of_the_command(
    s3: Place, proxy: FaultProxy, moto: Place, tmp_path: Path
) -> None:
    """Ctrl-C, while the store has not answered that the upload has begun."""
    fifo = tmp_path / "in.txt"
    os.mkfifo(fifo)
    slow = Slow()
    proxy.reset(slow)
    environment = {**os.environ, **s3.environment}
    words = [*COMMAND, str(fifo), s3.url("kept.txt")]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        with fifo.open("w") as out:
            out.writelines(f"{line}\n" for line in FEW)
            out.flush()
            assert slow.asked.wait(30)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        assert process.stderr is not None
        assert b"left over" not in process.stderr.read()
    assert moto.leftovers() == []


# A real S3


def test_a_real_store_has_nothing_left(tmp_path_factory: Any) -> None:
    with servers.ceph_gateway(tmp_path_factory.mktemp("ceph")) as ceph:
        ceph.put("kept.txt", b"old\n")
        for count in (80, 82, 84, 90, 163, 165, 170):
            for _ in range(6):
                with pytest.raises(Failed):
                    Pipeline(failing([LINE] * count), [], sink(ceph)).run()
                assert ceph.leftovers() == []
        assert ceph.get("kept.txt") == b"old\n"


# The other stores


def test_a_session_of_google_is_cancelled(gcs: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the failure overtakes its beginning; one attempt more where that fails."""
    assert gcs.through is not None
    gcs.put("kept.txt", b"old\n")
    with FaultProxy(gcs.port) as proxy:
        place = gcs.through(proxy.port)
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        for fault in (None, status(503)):
            slow, failed = Slow(), list[bytes]()

            def plan(number: int, head: bytes, slow: Slow = slow, failed: list[bytes] = failed,
                     fault: Fault | None = fault) -> Fault | None:  # fmt: skip
                if head.startswith(b"DELETE"):
                    failed.append(head)
                    return fault if len(failed) == 1 else None
                return slow(number, head)

            proxy.reset(plan)
            with pytest.raises(Failed):
                Pipeline(failing(MORE, slow.asked.wait), [], sink(place)).run()
            assert len(failed) == (1 if fault is None else 2)
            assert all(b"upload_id" in head for head in failed)
    assert gcs.get("kept.txt") == b"old\n"


@pytest.mark.parametrize("ranges", [[None], [None, None, 1000], [0, 0], ["all"]])
def test_what_google_says_it_has_kept(gcs: Place, monkeypatch: pytest.MonkeyPatch,
                                      ranges: list[Any]) -> None:  # fmt: skip
    """Nothing, some bytes, or everything; the object is whole, and no answer is asked for ever."""
    assert gcs.through is not None
    with FaultProxy(gcs.port) as proxy:
        place = gcs.through(proxy.port)
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        said = [*ranges]

        def plan(number: int, head: bytes) -> Fault | None:
            if not head.startswith(b"PUT") or not said or said == ["all"]:
                return None
            kept = said.pop(0)
            span = f"Range: bytes=0-{kept - 1}\r\n" if kept else ""
            return status(308, span)

        proxy.reset(plan)
        if 1000 in ranges:  # which the store has not: what follows does not fit
            with pytest.raises(OutputError):
                Pipeline(MORE, [], sink(place, retries=2)).run()
            return
        Pipeline(MORE, [], sink(place)).run()
        assert gcs.get("kept.txt") == "".join(f"{line}\n" for line in MORE).encode()
        said = [None] * 100
        with pytest.raises(OutputError, match="kept nothing"):
            Pipeline(MORE, [], sink(place, retries=2)).run()
        assert len(said) == 97


def test_a_file_server_has_nothing_left(openssh: Place) -> None:
    openssh.put("kept.txt", b"old\n")
    for count in (120, 130, 131, 132, 140):
        for _ in range(4):
            with pytest.raises(Failed):
                Pipeline(failing([LINE] * count), [], sink(openssh)).run()
            assert openssh.leftovers() == []
    assert openssh.get("kept.txt") == b"old\n"


@pytest.mark.parametrize("after", [0, 100, 5_000, 10_000])
def test_a_file_server_that_is_lost_when_it_is_to_remove(openssh: Place, after: int) -> None:
    """The file is removed over another connection."""
    assert openssh.through is not None
    with FaultProxy(openssh.port, raw=True) as proxy:
        place = openssh.through(proxy.port)
        openssh.put("kept.txt", b"old\n")
        proxy.reset(lambda n, head: Fault("reset", after) if n == 0 else None)
        with pytest.raises((Failed, OutputError)):
            Pipeline(failing(MORE), [], sink(place)).run()
        assert openssh.leftovers() == []
        assert openssh.get("kept.txt") == b"old\n"


@pytest.mark.parametrize("broken", ["close", "rm", "open", "mv"])
def test_a_file_system_that_fails(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fsspec's: whatever fails, the temporary file is removed, or it is said that it is not."""
    place = servers.memory()
    place.put("kept.txt", b"old\n")
    import fsspec

    filesystem = fsspec.filesystem("memory")
    real = filesystem.open

    def opened(path: str, mode: str, **words: Any) -> Any:
        file = real(path, mode, **words)
        if broken == "open":
            raise OSError("open")
        if broken == "close":

            def close() -> None:
                filesystem.store[path] = file
                raise OSError("close")

            monkeypatch.setattr(file, "close", close, raising=False)
        return file

    def fails(*words: Any, **more: Any) -> None:
        raise OSError(broken)

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "open", opened)
        if broken in ("rm", "mv"):
            patch.setattr(filesystem, broken, fails)
        lines = iter(FEW) if broken in ("mv", "open") else failing(FEW)
        pipeline = Pipeline(
            lines, [], write(place.url("kept.txt"), options=StoreOptions({"backoff": 0.01}))
        )
        if broken == "rm":
            with pytest.raises(Failed), pytest.warns(PaipaWarning, match="left over"):
                pipeline.run()
        else:
            with pytest.raises((Failed, OutputError)):
                pipeline.run()
    assert place.get("kept.txt") == b"old\n"
    if broken == "rm":
        for name in place.leftovers():
            filesystem.rm(name)
    assert place.leftovers() == []
