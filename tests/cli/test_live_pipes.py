"""Live pipes: each record is seen before the next one is sent; a stop waits for no byte."""

from __future__ import annotations

import gzip
import os
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import COMMAND

from paipa_etl import Pipeline, write

STEPS = "def same(records):\n    for record in records:\n        yield record\n"


@contextmanager
def running(tmp_path: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "live_steps.py").write_text(STEPS)
    with subprocess.Popen(
        [*COMMAND, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        bufsize=0,
    ) as process:
        yield process


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--map", "lambda r: r"),
        ("--filter", "lambda r: True"),
        ("--step", "live_steps:same"),
        ("--map", "lambda r: r", "--step", "live_steps:same", "--map", "lambda r: r"),
    ],
)
def test_each_record_is_shown_before_the_next_is_sent(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    with running(tmp_path, "-", "-", *words) as process:
        assert process.stdin
        assert process.stdout
        for number in range(20):
            process.stdin.write(b"%d\n" % number)
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert process.wait(10) == 0


def test_gzip_members_are_shown_too(tmp_path: Path) -> None:
    with running(tmp_path, "-", "-") as process:
        assert process.stdin
        assert process.stdout
        for number in range(5):
            process.stdin.write(gzip.compress(b"%d\n" % number))
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("target", ["-", "out.jsonl"])
def test_a_limit_ends_while_the_pipe_stays_open(tmp_path: Path, target: str) -> None:
    with running(tmp_path, "--limit", "5", "-", target) as process:
        assert process.stdin
        process.stdin.write(b"1\n" * 7)
        assert process.wait(10) == 0
    if target != "-":
        assert (tmp_path / target).read_bytes() == b"1\n" * 5


@pytest.mark.parametrize(
    "words", [("--map", "lambda r: r"), ("--step", "live_steps:same"), ("--skip", "0")]
)
@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_records_are_shown_through_steps_and_codecs(
    tmp_path: Path, words: tuple[str, ...], suffix: str
) -> None:
    with running(tmp_path, "-", "-", *words) as process:
        assert process.stdin
        assert process.stdout
        for number in range(5):
            member = bytearray()
            Pipeline([number], [], write(member, to=suffix)).run()
            process.stdin.write(member)
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert process.wait(10) == 0


def test_one_gzip_member_is_shown_as_far_as_it_was_flushed(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    with running(tmp_path, "-", "-") as process:
        assert process.stdin
        assert process.stdout
        for number in range(5):
            data = packer.compress(b"%d\n" % number) + packer.flush(zlib.Z_SYNC_FLUSH)
            process.stdin.write(data)
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.write(packer.flush())
        process.stdin.close()
        assert process.wait(10) == 0


def test_a_compressed_output_is_shown_too(tmp_path: Path) -> None:
    unpacker = zlib.decompressobj(wbits=31)
    with running(tmp_path, "-", "-", "-t", "gz") as process:
        assert process.stdin
        assert process.stdout
        for number in range(5):
            process.stdin.write(b"%d\n" % number)
            data = b""
            while not data.endswith(b"\n"):
                data += unpacker.decompress(process.stdout.read(1 << 16))
            assert data == b"%d\n" % number
        process.stdin.close()
        assert unpacker.decompress(process.stdout.read()) == b""
        assert unpacker.eof
        assert process.wait(10) == 0


@pytest.mark.parametrize("words", [(), ("--map", "lambda r: r"), ("--step", "live_steps:same")])
def test_a_limit_ends_when_it_has_enough(tmp_path: Path, words: tuple[str, ...]) -> None:
    with running(tmp_path, "-", "-", *words, "--limit", "5") as process:
        assert process.stdin
        assert process.stdout
        for number in range(5):
            process.stdin.write(b"%d\n" % number)
            assert process.stdout.readline() == b"%d\n" % number
        assert process.wait(20) == 0
        assert process.stdout.read() == b""


def test_a_file_that_is_followed_is_shown_as_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"0\n")
    with (
        subprocess.Popen(["tail", "-n", "+1", "-f", str(log)], stdout=subprocess.PIPE) as tail,
        subprocess.Popen([*COMMAND], stdin=tail.stdout, stdout=subprocess.PIPE) as process,
        log.open("ab", buffering=0) as file,
    ):
        assert process.stdout
        assert process.stdout.readline() == b"0\n"
        for number in range(1, 4):
            file.write(b"%d\n" % number)
            assert process.stdout.readline() == b"%d\n" % number
        tail.terminate()
        assert process.wait(20) == 0


def test_a_fifo_is_shown_as_it_is_written(tmp_path: Path) -> None:
    fifo = tmp_path / "in.jsonl"
    os.mkfifo(fifo)
    with running(tmp_path, "in.jsonl", "-o", "-") as process, fifo.open("wb", 0) as file:
        assert process.stdout
        for number in range(5):
            file.write(b"%d\n" % number)
            assert process.stdout.readline() == b"%d\n" % number
        file.close()
        assert process.wait(20) == 0
