"""What networks and stores do to requests, at every place where it can happen: nothing is lost."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import COMMAND, Command, open_descriptors
from fault_proxy import Fault, FaultProxy, Plan, status
from servers import Place

from paipa_etl import (
    InputError,
    InputUnavailable,
    OutputError,
    OutputUnavailable,
    Pipeline,
    read,
    write,
)
from paipa_etl.location import parse
from paipa_etl.run import new_run
from paipa_etl.run.clients import Clients
from paipa_etl.sources import remote
from paipa_etl.sources.files import FileSource
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.cleaning import Leftovers

DATA = random.Random(7).randbytes(9 << 20)
LINES = [hashlib.sha256(b"%d" % n).hexdigest() * 8 for n in range(20_000)]  # 10 MB: two parts


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        yield place


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: Any) -> Iterator[Place]:
    with servers.openssh(tmp_path_factory.mktemp("ssh")) as place:
        yield place


@pytest.fixture(scope="module")
def s3_proxy(moto: Place) -> Iterator[FaultProxy]:
    with FaultProxy(moto.port) as proxy:
        yield proxy


@pytest.fixture
def s3(moto: Place, s3_proxy: FaultProxy) -> Iterator[Place]:
    """The store through the proxy; nothing is left over in it."""
    s3_proxy.reset()
    assert moto.through is not None
    yield moto.through(s3_proxy.port)
    s3_proxy.reset()
    assert moto.leftovers() == []


def drop_uploads(place: Place) -> list[str]:
    """Remove what is left over, as ``paipa-etl cleanup`` does."""
    clients = Clients()
    found = Leftovers(parse(place.url("")), place.options, clients)
    uploads = [*found]
    for upload in uploads:
        found.drop(upload)
    clients.close()
    return [upload.location.name for upload in uploads]


@pytest.fixture
def clients() -> Iterator[Clients]:
    """Connections that many reads share."""
    clients = Clients()
    yield clients
    clients.close()


@pytest.fixture(params=["boto3", "signed"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine of S3 in turn."""
    if request.param == "boto3":
        monkeypatch.setattr("paipa_etl.stores.s3_fast.FastS3Object._made", lambda self: None)
    return str(request.param)


def content(place: Place, name: str, clients: Clients | None = None, **words: Any) -> bytes:
    """All bytes of an object, with ranges side by side."""
    options = StoreOptions({**place.options.transport_params, **words})
    run = replace(new_run(clients=clients), background=True)
    source: FileSource = read(place.url(name), options=options).source
    (entry,) = source.entries(run)
    try:
        pieces = source._store(entry.location).pieces(entry.location, run, source.options)
        return b"".join(pieces)
    finally:
        run.over()
        run.close_clients()


def once(number: int, fault: Fault) -> Plan:
    """A plan: one fault, at the n-th request."""
    return lambda n, head: fault if n == number else None


# Reading (scenarios 35 to 39)


def test_an_answer_that_stalls_for_good_leaves_no_connection_open(
    s3: Place, s3_proxy: FaultProxy, engine: str
) -> None:
    """What is raised refers to frames, and is in a cycle with them: they must let go of it."""
    s3.put("long.bin", DATA)
    content(s3, "long.bin")
    gc.collect()
    before = open_descriptors()
    s3_proxy.reset(lambda number, head: Fault("stall", 10) if b"GET" in head else None)
    gc.disable()
    try:
        with pytest.raises(InputUnavailable):
            content(s3, "long.bin", retries=1, timeout=0.3)
        deadline = time.monotonic() + 5
        while open_descriptors() - before and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not open_descriptors() - before
    finally:
        gc.enable()


def test_a_reset_at_each_of_the_first_and_last_bytes(
    s3: Place, s3_proxy: FaultProxy, engine: str, clients: Clients
) -> None:
    body = DATA[:5_000]
    s3.put("short.bin", body)
    s3_proxy.reset()
    assert content(s3, "short.bin", clients) == body
    whole = s3_proxy.bytes_down  # of the answer, its head too
    head = whole - len(body)
    places = [*range(32), *range(head, head + 32), *range(whole - 32, whole)]
    for action in ("reset", "cut"):
        for after in places:
            s3_proxy.reset(once(0, Fault(action, after)))
            assert content(s3, "short.bin", clients) == body, (action, after)
            assert len(s3_proxy.requests) <= 3
            assert s3_proxy.bytes_down <= 2 * whole + 1_000


def test_a_look_and_a_listing_are_cut_in_their_heads(s3: Place, s3_proxy: FaultProxy) -> None:
    """What is left of a head must not pass for an answer: nothing matches, or it has no time."""
    for n in range(3):
        s3.put(f"cut/{n}.txt", b"%d\n" % n)
    for number in (0, 1):  # whether there is an object of that name; the listing
        for after in range(0, 240, 24):
            s3_proxy.reset(once(number, Fault("cut", after)))
            assert list(read(s3.url("cut/*.txt"), options=s3.options)) == ["0", "1", "2"], after


def test_the_heads_of_google_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of one is not taken for the head of an empty object."""
    with servers.fake_gcs(tmp_path) as gcs, FaultProxy(gcs.port) as proxy:
        assert gcs.through is not None
        place = gcs.through(proxy.port)
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        place.put("cut.bin", b"data")
        for after in range(0, 400, 24):
            proxy.reset(once(0, Fault("cut", after)))
            assert content(place, "cut.bin") == b"data", after


def test_two_hundred_resets_at_random(
    s3: Place, s3_proxy: FaultProxy, engine: str, clients: Clients
) -> None:
    """Each connection is lost somewhere: what came is kept, and the rest asked for again."""
    s3.put("long.bin", DATA)
    chance = random.Random(36)
    faults = 0

    def plan(number: int, head: bytes) -> Fault | None:
        nonlocal faults
        if faults >= 200 or chance.random() < 0.1:
            return None
        faults += 1
        return Fault("reset", chance.randrange(600_000))

    while faults < 200:
        s3_proxy.reset(plan)
        assert content(s3, "long.bin", clients, backoff=0.001, retries=30) == DATA


@pytest.mark.usefixtures("moto")  # what is opened once for the process is open then
def test_a_store_that_has_answered_may_start_again(tmp_path: Path, engine: str) -> None:
    """Nobody listens: that is tried as often as what else may pass, when somebody did before."""
    run = new_run()
    with servers.moto(tmp_path) as place:
        place.put("long.bin", DATA)
        options = place.options
        pieces = remote.pieces(parse(place.url("long.bin")), run, options)
        next(pieces)
    with pytest.raises(InputUnavailable, match=r"refused \(given up after 6 attempts\)"):
        list(pieces)
    run.over()
    run.close_clients()


@pytest.mark.parametrize("code", [500, 502, 503, 429])
@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_what_passes_is_tried_again_so_often(
    s3: Place, s3_proxy: FaultProxy, engine: str, code: int, times: int
) -> None:
    s3.put("small.bin", b"data")
    s3_proxy.reset(lambda n, head: status(code) if n < times else None)
    if times <= 2:
        assert content(s3, "small.bin", retries=2) == b"data"
        assert len(s3_proxy.requests) == times + 1
        return
    with pytest.raises(InputUnavailable, match="given up after 3 attempts") as caught:
        content(s3, "small.bin", retries=2)
    assert caught.value.exit_code == 75
    assert len(s3_proxy.requests) == 3


@pytest.mark.parametrize("code", [400, 403, 404])
def test_what_does_not_pass_is_not_tried_again(
    s3: Place, s3_proxy: FaultProxy, engine: str, code: int
) -> None:
    s3_proxy.reset(lambda n, head: status(code))
    with pytest.raises(InputError) as caught:
        content(s3, "small.bin")
    assert caught.value.exit_code == 3
    assert len(s3_proxy.requests) == 1


def test_the_store_says_after_how_long(s3: Place, s3_proxy: FaultProxy) -> None:
    s3.put("small.bin", b"data")
    s3_proxy.reset(once(0, status(503, "Retry-After: 1\r\n")))
    began = time.monotonic()
    plain = {"client_kwargs": {**s3.words["client_kwargs"], "config": None}}
    assert content(s3, "small.bin", **plain) == b"data"
    assert time.monotonic() - began >= 1


def test_silence_ends_in_time(s3: Place, s3_proxy: FaultProxy, engine: str) -> None:
    s3.put("small.bin", DATA[:100_000])
    for after in (0, 50_000):
        s3_proxy.reset(lambda n, head, after=after: Fault("stall", after))  # type: ignore[misc]
        began = time.monotonic()
        with pytest.raises(InputUnavailable, match="silent for"):
            content(s3, "small.bin", timeout=0.3, retries=1)
        assert time.monotonic() - began < 0.3 * 2 + 2


def test_an_interrupt_ends_a_silence(s3: Place, s3_proxy: FaultProxy, tmp_path: Path) -> None:
    s3.put("small.jsonl", b'{"n": 1}\n' * 100_000)
    s3_proxy.reset(lambda n, head: Fault("stall", 100_000) if b"GET /kit/small" in head else None)
    environment = {**os.environ, **s3.environment}
    words = [*COMMAND, s3.url("small.jsonl"), str(tmp_path / "out.jsonl")]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 10
        while not any(b"GET /kit/small" in line for line in s3_proxy.requests):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - began < 2
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("at", [1, 2])
def test_an_object_that_changes_is_never_mixed(
    s3: Place, s3_proxy: FaultProxy, engine: str, at: int
) -> None:
    """Replaced before a later range, or before what a cut left is asked for."""
    other = DATA[::-1]
    for fault in (None, Fault("reset", 1_500_000)):
        name = "cut.bin" if fault else "whole.bin"
        s3.put(name, DATA)
        asked: list[bytes] = []

        def plan(
            number: int,
            head: bytes,
            fault: Fault | None = fault,
            name: str = name,
            asked: list[bytes] = asked,
        ) -> Fault | None:
            if name.encode() not in head:
                return None  # what was given up, of the other object, may arrive late
            asked.append(head)
            if len(asked) == at + 1:
                s3.put(name, other)
            return fault if len(asked) == 1 else None

        s3_proxy.reset(plan)
        with pytest.raises(InputError, match="changed while it was read") as caught:
            content(s3, name)
        assert caught.value.exit_code == 3


# Writing (scenario 10)


def written(place: Place, name: str, lines: list[str], **words: Any) -> None:
    options = StoreOptions({**place.options.transport_params, **words})
    Pipeline(lines, [], write(place.url(name), options=options)).run()


@pytest.mark.parametrize("size", ["small", "parts"])
@pytest.mark.parametrize("kind", ["503", "reset", "lose"])
def test_each_request_of_an_upload_fails_once(
    s3: Place, s3_proxy: FaultProxy, engine: str, size: str, kind: str
) -> None:
    """Before it is carried out, or behind: then its answer is lost."""
    lines = LINES if size == "parts" else LINES[:10]
    expected = "".join(f"{line}\n" for line in lines).encode()
    s3_proxy.reset()
    written(s3, "target.txt", lines)
    requests = len(s3_proxy.requests)
    assert s3.get("target.txt") == expected
    fault = status(503) if kind == "503" else Fault(kind)
    for number in range(requests):
        s3.put("target.txt", b"old\n")
        s3_proxy.reset(once(number, fault))
        written(s3, "target.txt", lines)
        assert len(s3_proxy.requests) > requests or number == 0
        assert s3.get("target.txt") == expected, number
        # Of an upload whose beginning was not answered, nobody knows the name.
        begun = b"?uploads" in s3_proxy.requests[number] and kind != "503"
        assert drop_uploads(s3) == ["target.txt"] * begun


@pytest.mark.parametrize("kind", ["503", "403"])
def test_each_request_of_an_upload_fails_for_good(
    s3: Place, s3_proxy: FaultProxy, engine: str, kind: str
) -> None:
    s3_proxy.reset()
    written(s3, "kept.txt", LINES)
    requests = [line.split()[0] + line.split()[1][:60] for line in s3_proxy.requests]
    for number in range(1, len(requests)):  # the first asks for the bucket, which 403 leaves open
        s3.put("kept.txt", b"old\n")

        def plan(n: int, head: bytes, number: int = number) -> Fault | None:
            if b"DELETE" in head.partition(b" ")[0]:
                return None
            return status(int(kind)) if n >= number else None

        s3_proxy.reset(plan)
        with pytest.raises(OutputError) as caught:
            written(s3, "kept.txt", LINES, retries=1)
        assert caught.value.exit_code == (75 if kind == "503" else 6)
        assert isinstance(caught.value, OutputUnavailable) == (kind == "503")
        assert s3.get("kept.txt") == b"old\n"
        assert s3.leftovers() == []


def test_a_lost_answer_to_a_put_that_must_be_the_first(s3: Place, s3_proxy: FaultProxy) -> None:
    """It is told from somebody else's object by what is in it."""
    name = f"first-{random.random()}.txt"
    s3_proxy.reset(lambda n, head: Fault("lose") if head.startswith(b"PUT") and n < 4 else None)
    sink = write(s3.url(name), clobber=False, options=s3.options)
    Pipeline(["mine"], [], sink).run()
    assert s3.get(name) == b"mine\n"


def test_killed_in_mid_upload(s3: Place, s3_proxy: FaultProxy, moto: Place, paipa: Command,
                              tmp_path: Path) -> None:  # fmt: skip
    """The old object stays, and the upload is found and removed."""
    s3.put("kept.txt", b"old\n")
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
    environment = {**os.environ, **s3.environment}
    stalled = lambda n, head: Fault("stall") if b"partNumber=2" in head else None  # noqa: E731
    s3_proxy.reset(stalled)
    with subprocess.Popen(
        [*COMMAND, "in.txt", s3.url("kept.txt")], cwd=tmp_path, env=environment
    ) as process:
        deadline = time.monotonic() + 20
        while not any(b"partNumber=2" in line for line in s3_proxy.requests):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert s3.get("kept.txt") == b"old\n"
    assert moto.leftovers() == ["kept.txt"]
    s3_proxy.reset()
    url = s3.url("")
    young = paipa("cleanup", "-n", "--min-age", "100000d", url, env=environment)
    assert b"0 found" in young.stderr
    assert b"kept.txt" in paipa("cleanup", "-n", "--min-age", "0", url, env=environment).stdout
    assert moto.leftovers() == ["kept.txt"]
    other = paipa("cleanup", "--min-age", "0", s3.url("other"), env=environment)
    assert b"0 removed" in other.stderr
    assert b"1 removed" in paipa("cleanup", "--min-age", "0", url, env=environment).stderr
    assert moto.leftovers() == []


# SFTP


@pytest.fixture
def sftp(openssh: Place) -> Iterator[tuple[Place, FaultProxy]]:
    with FaultProxy(openssh.port, raw=True) as proxy:
        assert openssh.through is not None
        yield openssh.through(proxy.port), proxy
    assert openssh.leftovers() == []


def test_connections_to_a_file_server_are_lost_while_reading(
    sftp: tuple[Place, FaultProxy],
) -> None:
    place, proxy = sftp
    place.put("long.bin", DATA)
    chance = random.Random(1)
    for action in ("reset", "cut"):
        for _ in range(6):
            after = chance.randrange(len(DATA))
            proxy.reset(once(0, Fault(action, after)))
            assert content(place, "long.bin") == DATA, (action, after)
            assert len(proxy.requests) <= 3


def test_connections_to_a_file_server_are_lost_while_writing(
    sftp: tuple[Place, FaultProxy],
) -> None:
    place, proxy = sftp
    expected = "".join(f"{line}\n" for line in LINES).encode()
    chance = random.Random(2)
    place.put("target.txt", b"old\n")
    proxy.reset()
    written(place, "target.txt", LINES)
    assert place.get("target.txt") == expected
    for _ in range(8):
        place.put("target.txt", b"old\n")
        after = chance.randrange(20_000)  # of what the server answers, which is little
        proxy.reset(once(0, Fault("reset", after)))
        written(place, "target.txt", LINES)
        assert place.get("target.txt") == expected, after


def test_a_file_server_that_is_silent_or_gone(sftp: tuple[Place, FaultProxy]) -> None:
    place, proxy = sftp
    place.put("long.bin", DATA)
    proxy.reset(lambda n, head: Fault("stall", 100_000))
    with pytest.raises(InputUnavailable):
        content(place, "long.bin", timeout=0.5, retries=1)
    proxy.reset(lambda n, head: Fault("reset", 10))
    with pytest.raises(InputUnavailable):
        content(place, "long.bin", retries=1)
