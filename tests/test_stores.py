"""Stores: local targets of every kind, the caller's own objects, memory, a real S3 server."""

from __future__ import annotations

import errno
import fcntl
import gc
import io
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLE

from paipa_etl import InputError, OutputError, Pipeline, PlanError, read, steps, write

CALLS = ["open", "write", "fchmod", "fsync", "replace"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_call_that_fails_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, index: int, suffix: str
) -> None:
    target = tmp_path / f"out.jsonl{suffix}"
    with write(target) as sink:
        sink.write("old")
    old, real, seen = target.read_bytes(), getattr(os, call), 0

    def failing(*words: Any, **more: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == index + 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(*words, **more)

    failed = ""
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        try:
            with write(target) as sink:
                sink.write_all({"n": n} for n in range(30_000))
        except OutputError as error:
            failed = str(error)
    assert ("Input/output error" in failed) == (seen > index)
    whole = [{"n": n} for n in range(30_000)]
    assert target.read_bytes() == old or list(read(target)) == whole
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o751])
def test_the_old_mode_is_kept(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old\n")
    target.chmod(mode)
    Pipeline([1], [], target).run()
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert target.read_text() == "1\n"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Pipeline([1], [], tmp_path / "out").run()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


def test_the_temporary_file_is_private_locked_and_beside_its_target(tmp_path: Path) -> None:
    name = "n" * 250 + ".gz"
    with write(tmp_path / name) as sink:
        sink.write(1)
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.startswith(".nnn")
        assert temporary.name.endswith(".paipa-tmp")
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        with temporary.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_links_are_followed_or_left(tmp_path: Path) -> None:
    real, hard = tmp_path / "real", tmp_path / "hard"
    real.write_text("old\n")
    os.link(real, hard)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("new")
    Pipeline([1], [], tmp_path / "link").run()
    Pipeline([2], [], tmp_path / "dangling").run()
    assert (tmp_path / "link").is_symlink()
    assert [real.read_text(), hard.read_text()] == ["1\n", "old\n"]
    assert (tmp_path / "new").read_text() == "2\n"


def test_devices_are_written_and_directories_are_not(tmp_path: Path) -> None:
    assert Pipeline([1], [], "/dev/null").run().written == 1
    for bad in (tmp_path, tmp_path / "missing" / "out"):
        with pytest.raises(OutputError):
            Pipeline([1], [], bad).run()


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl"))
    Pipeline([1], [], path).run()
    assert list(read(path)) == [1]


@pytest.mark.parametrize("end", ["raise", "close", "drop"])
def test_a_sink_that_is_not_left_well_publishes_nothing(tmp_path: Path, end: str) -> None:
    target = tmp_path / "out.jsonl.gz"
    target.write_bytes(b"old")

    def writing() -> Iterator[None]:
        with write(target) as sink:
            sink.write_all(range(100_000))
            yield
            raise ValueError("no")

    generator = writing()
    next(generator)
    if end == "raise":
        with pytest.raises(ValueError, match="no"):
            next(generator)
    elif end == "close":
        generator.close()
    del generator
    gc.collect()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


class Trickle:
    """A file object that reads and writes a few bytes at a time, and has nothing else."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.written = data, b""

    def read(self, n: int) -> bytes:
        piece, self.data = self.data[:7], self.data[7:]
        return piece

    def write(self, data: bytes) -> int:
        self.written += bytes(data[:7])
        return min(7, len(data))


def test_a_file_object_needs_only_read_or_write() -> None:
    sink = Trickle()
    Pipeline(Trickle(SAMPLE.read_bytes()[:0] + b"1\n2\n3"), [], sink).run()
    assert sink.written == b"1\n2\n3\n"


def test_a_file_object_is_flushed_never_closed_and_gets_no_trailer_after_a_failure() -> None:
    whole, cut = io.BytesIO(), io.BytesIO()
    Pipeline(range(3), [], write(whole, to="gz")).run()
    assert list(read(io.BytesIO(whole.getvalue()))) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        Pipeline(range(3), [steps.map(lambda n: 1 // (n - 2))], write(cut, to="gz")).run()
    with pytest.raises(InputError, match="cut"):
        list(read(io.BytesIO(cut.getvalue())))
    assert not whole.closed
    assert not cut.closed


def test_a_member_of_a_zip_file_is_a_source(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jsonl", "1\n2\n")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("x.jsonl") as member:
        assert list(read(member)) == [1, 2]


def test_text_objects_are_refused() -> None:
    with pytest.raises(PlanError, match="binary"):
        list(read(io.StringIO("1\n")))


def test_globs_are_sorted_and_never_empty(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "[x].jsonl"):
        (tmp_path / name).write_text(f'"{name}"')
    assert list(read(f"{tmp_path}/?.jsonl")) == ["a.jsonl", "b.jsonl"]
    assert list(read(f"{tmp_path}/[x].jsonl")) == ["[x].jsonl"]
    with pytest.raises(InputError, match="no file matches"):
        list(read(f"{tmp_path}/*.nope"))


@pytest.mark.parametrize(
    "url", ["nope://x", "simplecache::s3://a/b", "hdfs://a/b", "reference://x"]
)
def test_schemes_that_are_not_allowed(url: str) -> None:
    with pytest.raises((PlanError, InputError)):
        list(read(url))


def test_fsspec_memory_is_published_whole() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    Pipeline([1, 2], [], "memory://t/out.jsonl.gz").run()
    assert list(read("memory://t/out.jsonl.gz")) == [1, 2]
    before = memory.cat("/t/out.jsonl.gz")
    with pytest.raises(ZeroDivisionError):
        Pipeline([0], [steps.map(lambda n: 1 // n)], "memory://t/out.jsonl.gz").run()
    assert memory.cat("/t/out.jsonl.gz") == before
    memory.rm("/t", recursive=True)


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A client of a moto server that runs for the session."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()
    server.stop()


@pytest.mark.keeps_descriptors
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_s3_is_transformed_in_stream_and_published_whole(s3: Any) -> None:
    words = {"transport_params": {"client": s3}}
    s3.upload_file(str(SAMPLE), "bucket", "in.jsonl.gz")
    source, target = (
        read("s3://bucket/in.jsonl.gz", **words),
        write("s3://bucket/out.jsonl.zst", **words),
    )
    report = (source | steps.map(lambda r: r["id"]) | target).run()
    expected = [record["id"] for record in read(SAMPLE)]
    assert list(read("s3://bucket/out.jsonl.zst", **words)) == expected
    assert report.balanced
    before = s3.get_object(Bucket="bucket", Key="out.jsonl.zst")["ETag"]
    for at in (0, 14_000):
        bad = steps.map(lambda r, at=at: r["id"] if r["id"] != expected[at] else 1 // 0)
        with pytest.raises(ZeroDivisionError):
            (source | bad | target).run()
    assert s3.get_object(Bucket="bucket", Key="out.jsonl.zst")["ETag"] == before
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="bucket")
    with pytest.raises(InputError, match="missing"):
        read("s3://bucket/missing", **words).run()
