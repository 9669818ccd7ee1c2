"""Sinks that are the caller's own, and the sink in a ``with`` statement."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import BadRecord, InputError, OutputError, Pipeline, PlanError, read, steps, write
from paipa_etl.run import new_run


class OnlyWrite:
    """A file object that has nothing but ``write``, which takes up to ``most`` bytes."""

    def __init__(self, most: int | None = None) -> None:
        self.most, self.taken, self.calls = most, b"", 0

    def write(self, data: bytes) -> int | None:
        self.calls += 1
        self.taken += bytes(data[: self.most])
        return None if self.most is None else min(self.most, len(data))


class Watched(OnlyWrite):
    """One that also tells whether it was flushed or closed."""

    flushed = closed = False

    def flush(self) -> None:
        self.flushed = True

    def close(self) -> None:
        self.closed = True


RECORDS = [{"n": n} for n in range(100)]
LINES = b"".join(b'{"n":%d}\n' % n for n in range(100))


@pytest.mark.parametrize("most", [None, 1, 7, 1 << 20])
def test_a_file_object_needs_only_write_and_may_write_short(most: int | None) -> None:
    file = OnlyWrite(most)
    assert Pipeline(RECORDS, [], file).run().bytes_out == len(LINES)
    assert file.taken == LINES


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_object_is_never_closed(fails: bool) -> None:
    file = Watched()
    if fails:
        with pytest.raises(ZeroDivisionError):
            Pipeline(RECORDS, [steps.map(lambda r: 1 // 0)], file).run()
    else:
        Pipeline(RECORDS, [], file).run()
        assert file.flushed
    assert not file.closed


@pytest.mark.parametrize("suffix", ["gz", "zst", "lz4"])
@pytest.mark.parametrize("made", [[], [steps.map(lambda r: r)]], ids=["raw", "map"])
def test_the_good_records_before_a_bad_one_are_shown_through_a_codec(
    suffix: str, made: list[Any]
) -> None:
    file = io.BytesIO()
    with pytest.raises(BadRecord):
        Pipeline(b"1\n2\n{nope\n", made, write(file, to=suffix)).run()
    shown = []
    with pytest.raises(InputError, match="cut"):
        shown.extend(iter(read(file.getvalue(), from_=f"jsonl.{suffix}")))
    assert shown == [1, 2]


@pytest.mark.parametrize("suffix", ["gz", "zst", "bz2", "xz", "lz4"])
def test_a_file_object_takes_every_codec(suffix: str) -> None:
    file = io.BytesIO()
    Pipeline(RECORDS, [], write(file, to=suffix)).run()
    assert list(read(file.getvalue())) == RECORDS
    assert not file.closed


def test_a_file_object_that_takes_nothing_is_a_failed_output() -> None:
    with pytest.raises(OutputError, match="no more bytes"):
        Pipeline([1], [], OnlyWrite(0)).run()


@pytest.mark.parametrize("call", ["write", "flush"])
def test_a_file_object_that_fails_is_a_failed_output(call: str) -> None:
    def fail(*data: bytes) -> None:
        raise OSError("the tape is torn")

    file = Watched()
    setattr(file, call, fail)
    with pytest.raises(OutputError, match="the tape is torn"):
        Pipeline([1], [], file).run()


def test_a_text_object_is_a_failed_output() -> None:
    with pytest.raises(OutputError):
        Pipeline([1], [], io.StringIO()).run()


def test_a_bytearray_gets_everything_at_the_end_or_nothing() -> None:
    data = bytearray(b"old ")
    with pytest.raises(ZeroDivisionError):
        Pipeline([1, 0], [steps.map(lambda n: 1 // n)], data).run()
    assert data == b"old "
    Pipeline([1, 2], [], data).run()
    assert data == b"old 1\n2\n"


def test_a_bytearray_may_be_compressed() -> None:
    data = bytearray()
    Pipeline([1, 2], [], write(data, to="jsonl.gz")).run()
    assert gzip.decompress(data) == b"1\n2\n"


def test_bytes_cannot_be_written() -> None:
    with pytest.raises(PlanError, match="bytearray"):
        Pipeline([1], [], write(b"")).run()


def test_a_list_gets_the_records_themselves_or_nothing() -> None:
    records: list[Any] = ["old"]
    with pytest.raises(ZeroDivisionError):
        Pipeline([1, 0], [steps.map(lambda n: 1 // n)], records).run()
    assert records == ["old"]
    given = [{"a"}, object()]
    Pipeline(given, [], records).run()
    assert records == ["old", *given]
    assert records[1] is given[0]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz", ".lz4"])
def test_a_sink_is_written_in_a_with_statement(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"x.jsonl{suffix}"
    with write(str(target)) as sink:
        sink.write(0)
        sink.write_all(range(1, 1000))
        sink.write(1000)
        assert not target.exists()
    assert list(read(target)) == list(range(1001))


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_an_exception_in_a_with_statement_leaves_what_was_there(
    tmp_path: Path, kind: type[BaseException], suffix: str
) -> None:
    target = tmp_path / f"x.jsonl{suffix}"
    target.write_bytes(b"old")

    def raising() -> Iterator[int]:
        yield from range(100_000)
        raise kind

    with pytest.raises(kind), write(target) as sink:
        sink.write_all(raising())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_record_that_cannot_be_encoded_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "x.jsonl"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="set"), write(target) as sink:
        sink.write({1, 2})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_an_empty_with_statement_makes_an_empty_output(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.jsonl.gz", "x.jsonl.zst"):
        with write(tmp_path / name):
            pass
        assert list(read(tmp_path / name)) == []


def test_a_sink_can_be_used_again_but_not_within_itself(tmp_path: Path) -> None:
    sink = write(tmp_path / "x.jsonl")
    for number in (1, 2):
        with sink as opened:
            opened.write(number)
            with pytest.raises(PlanError, match="open already"):
                sink.__enter__()
        assert list(read(tmp_path / "x.jsonl")) == [number]


def test_a_level_needs_a_codec_and_a_value_that_the_codec_has(tmp_path: Path) -> None:
    for name, level in (("x.jsonl", 3), ("x.jsonl.gz", 99), ("x.jsonl.zst", 1000)):
        with pytest.raises(PlanError):
            write(tmp_path / name, level=level)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_closed_sink_takes_no_record(tmp_path: Path, name: str, fails: bool) -> None:
    """Its descriptor may be somebody else's file by now."""
    with suppress(ZeroDivisionError), write(tmp_path / name) as sink:
        sink.write(1)
        if fails:
            raise ZeroDivisionError
    for late in (lambda: sink.write(2), lambda: sink.write_all([2])):
        with pytest.raises(PlanError, match="closed"):
            late()
    assert fails or list(read(tmp_path / name)) == [1]


def test_a_closed_list_takes_no_record() -> None:
    found: list[int] = []
    sink = write(found).open(new_run())
    sink.write(1)
    sink.commit()
    with pytest.raises(PlanError, match="closed"):
        sink.write(2)
    assert found == [1]


def test_a_target_that_ends_with_a_slash_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="names a directory"):
        Pipeline([1], sink=f"{tmp_path}/new/").run()
    assert not list(tmp_path.iterdir())


def test_a_copy_loads_no_library_that_decodes_or_encodes(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"a": 1}\n')
    script = (
        "import sys; from paipa_etl import Pipeline; Pipeline('in.jsonl', [], 'out.jsonl').run();"
        "print({'orjson', 'msgspec', 'json'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("set()\n", "")
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"a": 1}\n'


def test_a_sink_used_alone_finishes_publishing_before_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt used to come in the middle: nobody knew whether the output was there."""
    target = tmp_path / "out.jsonl"
    replace = os.replace

    def interrupted(*paths: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        replace(*paths)

    sink = write(target)
    sink.__enter__().write({"a": 1})
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sink.__exit__(None, None, None)
    assert target.read_bytes() == b'{"a":1}\n'
