"""Sources: file objects, bytes, iterables, several inputs; each read once or anew, never empty."""

from __future__ import annotations

import io
import itertools
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import live_threads

from paipa_etl import BadRecord, InputError, Pipeline, PlanError, read, steps, write

LINES = b"".join(b'{"n":%d}\n' % n for n in range(300))
RECORDS = [{"n": n} for n in range(300)]


def packed(suffix: str) -> bytes:
    with write(out := bytearray(), to=f"jsonl.{suffix}") as sink:
        sink.write_all(RECORDS)
    return bytes(out)


class Short(io.RawIOBase):
    """A raw file that gives a few bytes a read."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file, self._size = io.BytesIO(data), size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(min(self._size, len(buffer)))
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("data", [LINES, packed("gz"), packed("zst")], ids=["", "gz", "zst"])
def test_reads_of_any_size_give_the_same_records(data: bytes, size: int) -> None:
    assert list(read(Short(data, size))) == RECORDS


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
@pytest.mark.parametrize("data", [LINES, packed("gz")], ids=["", "gz"])
def test_bytes_in_memory_are_a_source(wrap: Any, data: bytes) -> None:
    assert list(read(wrap(data))) == RECORDS


def test_a_file_object_stays_open_and_is_read_from_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINES)
    with path.open("rb") as file:
        file.readline()
        assert list(read(file)) == RECORDS[1:]
        assert not file.closed


@pytest.mark.parametrize("make", [str, Path, lambda path: f"file://{path}"])
def test_a_path_is_a_location(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINES)
    assert list(read(make(path))) == list(Pipeline(make(path))) == RECORDS


def test_records_are_numbered_anew_in_each_input(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(b"1\n2")
    second.write_bytes(b"3\n4\nbad\n")
    flow = iter(read(first, second))
    assert [next(flow) for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(BadRecord, match=f"record 3 of {second}"):
        next(flow)
    countdown = itertools.count(-3)
    failing = steps.map(lambda _: 1 // next(countdown))
    with pytest.raises(ZeroDivisionError) as caught:
        (read(first, first) | failing).run()
    assert "record 2 of" in caught.value.__notes__[0]


def test_inputs_of_several_codecs_and_formats_are_one_stream(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.jsonl.gz").write_bytes(packed("gz"))
    report = (read(tmp_path / "a.txt", tmp_path / "b.jsonl.gz", b"7") | write(out := [])).run()
    assert out == ["x", *RECORDS, 7]
    assert report.balanced


@pytest.mark.parametrize(
    "make", [lambda: iter([1]), lambda: (n for n in [1]), lambda: map(int, "1")]
)
def test_an_iterator_is_read_once(make: Any) -> None:
    pipeline = Pipeline(make())
    assert list(pipeline) == [1]
    with pytest.raises(PlanError, match="only once"):
        list(pipeline)
    with pytest.raises(PlanError, match="only once"):
        (pipeline | steps.limit(1)).run()


@pytest.mark.parametrize("source", [[1], (1,), {1: 2}, range(1, 2), lambda: iter([1]), b"1\n"])
def test_other_sources_are_read_anew_each_time(source: Any) -> None:
    pipeline = Pipeline(source)
    assert list(pipeline) == list(pipeline) == [1]
    assert pipeline.run().read == pipeline.run().read == 1


def test_nothing_is_opened_before_the_first_record(tmp_path: Path) -> None:
    flow = iter(read(tmp_path / "missing.jsonl"))
    with pytest.raises(InputError, match="missing"):
        next(flow)


def test_a_failed_run_of_a_file_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "late.jsonl"
    pipeline = Pipeline(path)
    with pytest.raises(InputError):
        pipeline.run()
    path.write_text("1\n")
    assert pipeline.run().read == 1


@pytest.mark.parametrize("read_ahead", [False, True])
def test_early_stop_leaves_a_pipe_and_no_thread(read_ahead: bool) -> None:
    out, into = os.pipe()
    with os.fdopen(out, "rb", buffering=0) as file, os.fdopen(into, "wb", buffering=0) as writer:
        writer.write(LINES)
        flow = iter(read(file, read_ahead=read_ahead))
        if read_ahead:  # a read of the caller's own object ends when the object gives something
            writer.close()
        assert next(flow) == {"n": 0}
        flow.close()
        assert not file.closed
    assert not [thread for thread in live_threads() if thread.name.startswith("paipa")]


@pytest.mark.parametrize(
    "url", ["nope://x", "simplecache::s3://a/b", "simplecache::memory://a", "memory::file:///a"]
)
def test_only_allowed_schemes_are_opened(url: str) -> None:
    for plan in (lambda: list(read(url)), lambda: Pipeline([1], [], url).run()):
        with pytest.raises(PlanError):
            plan()


def test_memory_is_a_store() -> None:
    import fsspec

    Pipeline(RECORDS, [], "memory://sources/a.jsonl.gz").run()
    try:
        assert list(read("memory://sources/a.jsonl.gz")) == RECORDS
        with pytest.raises(InputError, match="memory://sources/missing"):
            list(read("memory://sources/missing"))
    finally:
        fsspec.filesystem("memory").rm("/sources", recursive=True)


def test_dropping_the_reference_closes_the_source() -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    flow = iter(Pipeline(source, [steps.batch(2), steps.flatten()]))
    assert next(flow) == 0
    del flow
    assert closed == [True]


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
