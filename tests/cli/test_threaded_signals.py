"""Signals while workers wait or work: the run ends soon, and the output is the old or the whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from test_signals import SAID, SIGNALS, running, temporary, wait_for

STEPS = """\
import itertools, os, sys, time
from pathlib import Path
numbers = itertools.count()
def touch():
    Path(f'at{next(numbers)}').touch()
def same(record):
    touch()
    return record
def sleep(record):
    touch()
    time.sleep(0.2)
    return record
def hold(record):
    if record == 1:
        touch()
        time.sleep(1.0)
    return record
def slow_commit(record):
    fsync = os.fsync
    def slow(descriptor):
        touch()
        time.sleep(0.5)
        fsync(descriptor)
    os.fsync = slow
    return record
def slow_abort(record):
    unlink = os.unlink
    def slow(path, **words):
        touch()
        time.sleep(0.5)
        unlink(path, **words)
    os.unlink = slow
    raise KeyError(record)
"""
RECORDS = b"".join(b"%d\n" % n for n in range(2000))


def reached(folder: Path) -> bool:
    return any(folder.glob("at*"))


# The state: the options that lead there, what is sent to it, and how it is known.
STATES: dict[str, tuple[list[str], bytes, Callable[[Path], object]]] = {
    "opening": (["--map", "steps_of:same@8"], b"", temporary),
    "reading": (["--map", "steps_of:same@8"], b"1\n", reached),
    "queue full": (["--map", "steps_of:same@8", "--map", "steps_of:sleep@1"], RECORDS, reached),
    "queue empty": (["--map", "steps_of:same@8", "--filter", "steps_of:same@8"], RECORDS, reached),
    "in a step": (["--map", "steps_of:sleep@8"], RECORDS, reached),
    "held up": (["--map", "steps_of:hold@4", "--unordered"], RECORDS, reached),
}
ROUNDS = 20


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_signal_in_any_state_ends_the_run(tmp_path: Path, state: str, number: int) -> None:
    words, sent, known = STATES[state]
    with ExitStack() as stack:
        processes = []
        for k in range(ROUNDS // 4):
            folder = tmp_path / str(k)
            folder.mkdir()
            (folder / "steps_of.py").write_text(STEPS)
            process = stack.enter_context(running(folder, "-", "out.jsonl", *words))
            assert process.stdin
            process.stdin.write(sent)
            processes.append((process, folder, SIGNALS[(number + k) % 3]))
        for process, folder, (signum, _) in processes:
            wait_for(lambda folder=folder: known(folder))  # type: ignore[misc]
            process.send_signal(signum)
        for process, folder, (_, code) in processes:
            assert process.wait(20) == code
            assert process.stderr
            assert process.stderr.read() == SAID
            assert (folder / "out.jsonl").read_bytes() == b"old"
            assert not temporary(folder)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_in_the_commit_the_output_is_the_old_or_the_whole(
    tmp_path: Path, signum: int, code: int
) -> None:
    (tmp_path / "steps_of.py").write_text(STEPS)
    (tmp_path / "in.jsonl").write_bytes(RECORDS)
    words = ["--map", "steps_of:slow_commit@1"]
    for wait in (0.0, 0.2, 0.6):
        for left in tmp_path.glob("at*"):
            left.unlink()
        with running(tmp_path, "in.jsonl", "out.jsonl", "--limit", "1", *words) as process:
            wait_for(lambda: reached(tmp_path))
            time.sleep(wait)
            process.send_signal(signum)
            assert process.wait(20) in (0, code)
            assert process.stderr
            assert b"Traceback" not in process.stderr.read()
        assert (tmp_path / "out.jsonl").read_bytes() in (b"old", b"0\n")
        assert not temporary(tmp_path)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_in_the_abort_the_old_output_stays(tmp_path: Path, signum: int, code: int) -> None:
    (tmp_path / "steps_of.py").write_text(STEPS)
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    words = ["--map", "steps_of:slow_abort@2"]
    with running(tmp_path, "in.jsonl", "out.jsonl", *words) as process:
        wait_for(lambda: reached(tmp_path))
        process.send_signal(signum)
        assert process.wait(20) in (1, code)
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "steps_of.py").write_text(STEPS.replace("0.2", "100"))
    (tmp_path / "in.jsonl").write_bytes(RECORDS)
    with running(tmp_path, "in.jsonl", "out.jsonl", "--map", "steps_of:sleep@4") as process:
        wait_for(lambda: reached(tmp_path))
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it waits for the steps to return
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"
    for left in temporary(tmp_path):
        left.unlink()


def test_a_library_is_interrupted_where_it_waits(tmp_path: Path) -> None:
    script = (
        "import sys, threading\n"
        "from paipa_etl import Feed, Pipeline, steps\n"
        "try:\n"
        "    Pipeline(Feed(), [steps.map(str, workers=4)], 'out.jsonl').run()\n"
        "except KeyboardInterrupt:\n"
        "    names = {t.name for t in threading.enumerate()} - {'MainThread', 'paipa-janitor'}\n"
        "    sys.exit(7 if not names else 8)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        wait_for(lambda: temporary(tmp_path))
        time.sleep(0.2)  # its threads are there by now
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 7
    assert not list(tmp_path.iterdir())
