"""Live pipes: each record is seen before the next one is sent; a stop waits for no byte."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import COMMAND

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
