"""Signals: the run ends soon, says so on one line, and the old output stays."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import COMMAND, SAMPLE

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
SAID = b"paipa-etl: interrupted before the end of the run\n"
STEPS = """\
import time
from pathlib import Path
def slow_end(records):
    try:
        yield from records
    finally:
        Path('closing').touch()
        time.sleep(100)
def sleeper(record):
    Path('sleeping').touch()
    time.sleep(100)
    return record
"""


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is so; a hang guard, not a measurement."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def temporary(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob(".*.paipa-tmp"))


@contextmanager
def running(tmp_path: Path, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command with an old output, its standard streams pipes that stay open."""
    (tmp_path / "out.jsonl").write_bytes(b"old")
    (tmp_path / "my_steps.py").write_text(STEPS)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [*COMMAND, *map(str, words)]
    with subprocess.Popen(command, cwd=tmp_path, bufsize=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def assert_ends(process: subprocess.Popen[bytes], tmp_path: Path, code: int) -> None:
    """It ends without its pipes being touched, and leaves nothing but the old output."""
    assert process.wait(20) == code
    assert process.stderr
    assert process.stderr.read() == SAID
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"
    assert not temporary(tmp_path)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("sent", [b"", b"1\n2\n"])
def test_while_waiting_on_standard_input(
    tmp_path: Path, number: int, code: int, sent: bytes
) -> None:
    with running(tmp_path, "-", "out.jsonl") as process:
        assert process.stdin
        process.stdin.write(sent)
        wait_for(lambda: temporary(tmp_path))
        process.send_signal(number)
        assert_ends(process, tmp_path, code)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_while_the_arguments_are_read(tmp_path: Path, number: int, code: int) -> None:
    with running(tmp_path, "--files-from", "-", "out.jsonl") as process:
        assert process.stdin
        process.stdin.write(b"#" * (1 << 17))  # more than the pipe holds: the list is being read
        process.send_signal(number)
        assert_ends(process, tmp_path, code)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("writer", [False, True])
def test_while_waiting_on_a_fifo(tmp_path: Path, number: int, code: int, writer: bool) -> None:
    fifo = tmp_path / "in.jsonl"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR) if writer else None
    try:
        with running(tmp_path, "in.jsonl", "out.jsonl") as process:
            wait_for(lambda: temporary(tmp_path) or process.poll() is not None)
            process.send_signal(number)
            assert_ends(process, tmp_path, code)
    finally:
        if held is not None:
            os.close(held)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("words", [[], ["--map", "lambda r: r"], ["-t", "gz"]])
def test_while_writing_into_a_pipe_that_nobody_reads(
    tmp_path: Path, number: int, code: int, words: list[str]
) -> None:
    with running(tmp_path, SAMPLE, "-", *words) as process:
        assert process.stdout
        wait_for(lambda: waiting_bytes(process.stdout) >= 1 << 16)
        process.send_signal(number)
        assert_ends(process, tmp_path, code)


def waiting_bytes(pipe: object) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)  # type: ignore[call-overload]
    return count[0]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("words", [[], ["--map", "lambda r: dict(r)"]])
def test_in_the_middle_of_a_run(tmp_path: Path, number: int, code: int, words: list[str]) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(SAMPLE.read_bytes() * 40)
    with running(tmp_path, "in.jsonl.gz", "out.jsonl", *words) as process:
        wait_for(lambda: any(path.stat().st_size for path in temporary(tmp_path)))
        process.send_signal(number)
        assert_ends(process, tmp_path, code)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_in_a_step(tmp_path: Path, number: int, code: int) -> None:
    with running(tmp_path, SAMPLE, "out.jsonl", "--map", "my_steps:sleeper") as process:
        wait_for((tmp_path / "sleeping").exists)
        process.send_signal(number)
        assert_ends(process, tmp_path, code)


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    with running(tmp_path, "-", "out.jsonl", "--step", "my_steps:slow_end") as process:
        assert process.stdin
        process.stdin.write(b"1\n")
        wait_for(lambda: temporary(tmp_path))
        time.sleep(0.5)  # the record has reached the step
        process.send_signal(signal.SIGINT)
        wait_for((tmp_path / "closing").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"
    for left in temporary(tmp_path):
        left.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_repeated_signal_changes_nothing(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "-", "out.jsonl") as process:
        wait_for(lambda: temporary(tmp_path))
        for _ in range(20):
            process.send_signal(number)
        assert_ends(process, tmp_path, 128 + number)


def test_a_hangup_that_was_set_to_be_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with running(tmp_path, "-", "out.jsonl") as process:
            wait_for(lambda: temporary(tmp_path))
            process.send_signal(signal.SIGHUP)
            assert process.stdin
            process.stdin.write(b"1\n")
            process.stdin.close()
            assert process.wait(20) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "out.jsonl").read_bytes() == b"1\n"


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3])
def test_at_any_moment_there_is_the_old_or_the_whole_output(tmp_path: Path, delay: float) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n" * 1000)
    with running(tmp_path, "in.jsonl", "out.jsonl") as process:
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        # Before Python runs our handler the signal ends the process as the system has it.
        assert process.wait(20) in (0, 143, -signal.SIGTERM)
    assert (tmp_path / "out.jsonl").read_bytes() in (b"old", b"1\n" * 1000)
    assert not temporary(tmp_path)
