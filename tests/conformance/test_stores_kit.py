"""The kit of stores: what each of them does, on a real server for every registered scheme."""

from __future__ import annotations

import gc
import itertools
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import open_descriptors
from servers import Place

from paipa_etl import (
    InputError,
    OutputError,
    Pipeline,
    PlanError,
    read,
    schemes,
    steps,
    write,
)
from paipa_etl.location import parse
from paipa_etl.run import new_run
from paipa_etl.run.clients import Clients
from paipa_etl.schemes import BYTES, OBJECT, STANDARD
from paipa_etl.sources.files import FileSource
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.ranged import RANGE
from paipa_etl.stores.remote import engine_of, object_of
from paipa_etl.stores.s3 import PART_SIZE

SERVERS: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "moto": servers.moto,
    "ceph": servers.ceph_gateway,
    "gcs": servers.fake_gcs,
    "azure": servers.azurite,
    "http": servers.nginx,
    "sftp": servers.openssh,
    "memory": lambda folder: nullcontext(servers.memory()),
    "file": servers.local_files,
    "dir": servers.dir_store,
}
SAMPLES = {
    "s3": ["moto", "ceph"],
    "gs": ["gcs"],
    "az": ["azure"],
    "http": ["http"],
    "sftp": ["sftp"],
    "memory": ["memory"],
    "file": ["file"],
    "dir": ["dir"],
}
"""By scheme, the servers on which the kit runs it."""
SAME_ENGINE = {"abfs": "az", "https": "http"}
"""Schemes of an engine that the kit runs under another scheme."""
NAMELESS = {STANDARD, OBJECT, BYTES}
"""What has no names, and nothing to list; test_sinks_kit.py reads and writes them."""
SCHEMES = sorted(name for row in schemes.known() for name in row.names)
KEYS = [
    "plain.bin",
    "with space.bin",
    "ünïcode-京都.bin",
    "per%20cent%.bin",
    "plus+and&=.bin",
    "a/b/c/deep.bin",
    "question?.bin",
    "hash#.bin",
    "[bracket].bin",
]
LITERAL = ("moto", "ceph", "gcs", "azure", "memory", "file")
"""Servers whose URLs hold any character as it is."""
CODECS = ["", ".gz", ".bz2", ".xz", ".zst", ".lz4"]
BIG = random.Random(4).randbytes(20 << 20)


def test_every_registered_scheme_is_run_through_the_kit() -> None:
    assert "dir" in SCHEMES, "the store of somebody else is among them"
    assert set(SCHEMES) == {*SAMPLES, *SAME_ENGINE, *NAMELESS}, (
        "no server for a scheme, or too many"
    )
    for scheme, other in SAME_ENGINE.items():
        assert engine_of(scheme) is engine_of(other)


@pytest.fixture(scope="module", params=[name for s in SCHEMES for name in SAMPLES.get(s, ())])
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Place]:
    """Each server in turn; it is stopped before the next one starts."""
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as place:
        yield place


@pytest.fixture
def place(server: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The store, and what it takes from the environment; nothing is left over in it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    before = server.leftovers()
    yield server
    assert server.leftovers() == before, "uploads or temporary files left over"


def copied(place: Place, name: str, target: Any) -> Any:
    source = read(place.url(name), from_="bytes", options=place.options)
    return (source | write(target, to="bytes")).run()


def content(place: Place, name: str) -> bytes:
    """All bytes of an object, as our reader gives them."""
    run = new_run()
    source: FileSource = read(place.url(name), options=place.options).source
    (entry,) = source.entries(run)
    try:
        pieces = source._store(entry.location).pieces(entry.location, run, source.options)
        return b"".join(pieces)
    finally:
        run.over()


@pytest.mark.parametrize("codec", CODECS)
def test_a_round_trip(place: Place, codec: str) -> None:
    name, records = f"trip.jsonl{codec}", [{"n": n, "text": "京都" * 20} for n in range(3_000)]
    report = Pipeline(records, [], write(place.url(name), options=place.options)).run()
    assert report.written == 3_000
    assert len(place.get(name) or b"") == report.bytes_out
    assert list(read(place.url(name), options=place.options)) == records


@pytest.mark.parametrize("size", [0, 1, RANGE, RANGE + 1, len(BIG)])
def test_any_size_is_read_whole_and_in_order(place: Place, size: int) -> None:
    place.put("sized.bin", BIG[:size])
    assert content(place, "sized.bin") == BIG[:size]


@pytest.mark.parametrize("size", [0, 1, PART_SIZE, 8 << 20, len(BIG)])
def test_any_size_is_written_whole(place: Place, size: int) -> None:
    pieces = [BIG[at : min(at + 700_000, size)] for at in range(0, size, 700_000)]
    sink = write(place.url("written.bin"), to="txt", options=place.options)
    run = replace(new_run(), background=True)
    target = sink.open(run)._target
    for piece in pieces:
        target.write(piece)
    target.commit()
    run.over()
    run.close_clients()
    assert place.get("written.bin") == BIG[:size]


@pytest.mark.parametrize("key", KEYS)
def test_odd_names(place: Place, key: str) -> None:
    if place.name in LITERAL:
        url = key
    else:
        from urllib.parse import quote

        url = quote(key)
    if place.name == "memory" and key[0] in "[q":
        pytest.skip("fsspec's own")
    place.put(key, b"1\n2\n")
    assert content(place, url) == b"1\n2\n"
    place.put(key, b"gone\n")
    Pipeline([3], [], write(place.url(url), to="jsonl", options=place.options)).run()
    assert place.get(key) == b"3\n"


def test_1200_keys_are_listed_sorted_and_their_sizes_told(place: Place) -> None:
    if place.name == "http":
        with pytest.raises(InputError):
            read(place.url("none-*.txt"), options=place.options).run()
        return
    count = 60 if place.name == "moto" else 1_200  # Ceph has pages of the same protocol
    with ThreadPoolExecutor(8) as pool:
        assert len([*pool.map(lambda n: place.put(f"many/{n:04}.txt", b"%d\n" % n), range(count))])
    place.put("many/deeper/no.txt", b"no\n")
    place.put("many/other.csv", b"no\n")
    run = new_run()
    source: FileSource = read(place.url("many/*.txt"), options=place.options).source
    found = [*source.entries(run)]
    assert [entry.location.name for entry in found] == [f"{n:04}.txt" for n in range(count)]
    if place.name != "file":  # whose listing tells names; sizes are asked for one by one
        assert [entry.size for entry in found] == [len(b"%d\n" % n) for n in range(count)]
        assert all(entry.stamp for entry in found)
    assert source.size(run) == sum(len(b"%d\n" % n) for n in range(count))
    deep: FileSource = read(place.url("many/**/*.txt"), options=place.options).source
    assert sum(1 for _ in deep.entries(run)) == count + 1
    run.over()
    assert list(read(place.url("many/000[0-2].txt"), options=place.options)) == ["0", "1", "2"]
    with pytest.raises(InputError, match=r"nothing matches|no file matches"):
        read(place.url("many/*.none"), options=place.options).run()


def test_a_failure_leaves_what_was_there(place: Place) -> None:
    place.put("kept.txt", b"old\n")
    line = "x" * 100_000

    def lines() -> Iterator[str]:
        yield from [line] * 150
        raise KeyError("the source fails")

    with pytest.raises(KeyError):
        Pipeline(lines(), [], write(place.url("kept.txt"), options=place.options)).run()
    assert place.get("kept.txt") == b"old\n"
    with (
        pytest.raises(ZeroDivisionError),
        write(place.url("kept.txt"), options=place.options) as sink,
    ):
        sink.write_all(line if n < 100 else 1 // 0 for n in range(101))
    assert place.get("kept.txt") == b"old\n"
    with pytest.raises(KeyError):
        Pipeline(lines(), [], write(place.url("never.txt"), options=place.options)).run()
    assert place.get("never.txt") is None


def test_what_exists_is_kept_where_that_is_asked_for(place: Place) -> None:
    place.put("exists.txt", b"old\n")
    for size in (1, 100_000):
        with pytest.raises(PlanError, match="exists already"):
            Pipeline(
                ["x" * size] * 100,
                [],
                write(place.url("exists.txt"), clobber=False, options=place.options),
            ).run()
        assert place.get("exists.txt") == b"old\n"
    name = f"new-{random.random()}.txt"
    Pipeline(["1"], [], write(place.url(name), clobber=False, options=place.options)).run()
    assert place.get(name) == b"1\n"


def test_a_race_for_a_name_has_one_winner(place: Place) -> None:
    """The other one's object appears after ours was opened."""
    if place.name == "ceph":
        pytest.skip("Ceph 16 knows no condition at the completion of an upload")
    name = f"race-{random.random()}.txt"

    def late() -> Iterator[str]:
        yield "1"
        place.put(name, b"theirs\n")

    with pytest.raises(PlanError, match="exists already"):
        Pipeline(late(), [], write(place.url(name), clobber=False, options=place.options)).run()
    assert place.get(name) == b"theirs\n"


def test_what_is_missing_is_named(place: Place, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing of that name|No such file") as caught:
        copied(place, "missing.txt", tmp_path / "out.txt")
    assert caught.value.exit_code == 3
    assert "missing.txt" in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_a_missing_bucket_or_folder_is_found_before_anything_is_read(place: Place) -> None:
    if place.name in ("memory", "http", "dir"):
        pytest.skip("it makes its folders")
    nowhere = place.root.replace("/kit/", "/no-such-kit/").replace("/data/", "/no-such-data/")
    read_one = []
    with pytest.raises(OutputError):
        Pipeline(
            iter([1]), [steps.tap(read_one.append)], write(f"{nowhere}x.txt", options=place.options)
        ).run()
    assert not read_one
    with pytest.raises(InputError):
        read(f"{nowhere}x.txt", options=place.options).run()


def test_a_run_closes_its_connections_itself(place: Place) -> None:
    """The cyclic collector comes when it likes; what a failure refers to may be in a cycle."""
    place.put("there.txt", b"line\n" * 3)
    read(place.url("there.txt"), options=place.options).run()  # what is opened once is open now
    gc.collect()
    before = open_descriptors()
    gc.disable()
    try:
        assert read(place.url("there.txt"), options=place.options).run().read == 3
        with pytest.raises(InputError):
            read(place.url("missing.txt"), options=place.options).run()
        deadline = time.monotonic() + 5  # the other end may be slow to hear of it
        while open_descriptors() - before and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not open_descriptors() - before
    finally:
        gc.enable()


def test_an_early_end_of_the_reading_leaves_nothing_open(place: Place) -> None:
    place.put("long.txt", b"line\n" * 3_000_000)
    source = read(place.url("long.txt"), options=place.options)
    assert (source | steps.limit(3)).run().read >= 3
    flow = iter(source)
    assert [next(flow) for _ in range(3)] == ["line"] * 3
    flow.close()


def test_an_answer_is_closed_whatever_was_taken_of_it(place: Place) -> None:
    """Nothing, one chunk, and all of it; the collector is off, and connections stay in a pool."""
    if place.name == "file":
        pytest.skip("a file is not read through answers")
    place.put("answer.txt", bytes(3 << 20))
    options = read(place.url("answer.txt"), options=place.options).source.options
    gc.collect()
    before = open_descriptors()
    gc.disable()
    try:
        for taken in (0, 1, 1 << 20):
            clients = Clients()
            reader = object_of(parse(place.url("answer.txt")), options, clients)
            body = reader.read_range(0, 2 << 20, None)
            kept = None if taken else body.release  # else the answer goes with its last reference
            for _ in itertools.islice(body.chunks, taken):
                pass
            body.close()
            body.close()
            clients.close()
            deadline = time.monotonic() + 5  # the other end may be slow to hear of it
            while open_descriptors() - before and time.monotonic() < deadline:
                time.sleep(0.005)
            assert not open_descriptors() - before, taken
            del kept
    finally:
        gc.enable()


def test_words_that_nobody_knows_are_an_error(place: Place) -> None:
    if place.name == "file":
        pytest.skip("a path is not asked for with words")
    options = StoreOptions({**place.options.transport_params, "clinet": 1})
    with pytest.raises(PlanError, match="clinet"):
        read(place.url("x.txt"), options=options).run()
    with pytest.raises(PlanError, match="clinet"):
        Pipeline([1], [], write(place.url("x.txt"), options=options)).run()


def test_bad_credentials_are_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = {**place.options.transport_params}
    if place.name == "ceph":
        words["client_kwargs"] = {**words["client_kwargs"], "aws_secret_access_key": "wrong"}
    elif place.name == "azure":
        told = place.environment["AZURE_STORAGE_CONNECTION_STRING"]
        wrong = told.replace("AccountKey=Eby8", "AccountKey=Eby9")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
    elif place.name == "sftp":
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
        subprocess.run(command, check=True)
        login = {**words["connect_kwargs"], "key_filename": str(tmp_path / "key")}
        words["connect_kwargs"] = login
    else:
        pytest.skip("the server takes any, or none")
    place.put("there.txt", b"old\n")
    with pytest.raises(InputError, match=r"denied|refused the login") as caught:
        read(place.url("there.txt"), options=StoreOptions(words)).run()
    assert caught.value.exit_code == 3
    with pytest.raises(OutputError, match=r"denied|refused the login") as failed:
        Pipeline(["new"], [], write(place.url("there.txt"), options=StoreOptions(words))).run()
    assert failed.value.exit_code == 6
    assert place.get("there.txt") == b"old\n"
