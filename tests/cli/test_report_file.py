"""The report as a file: what became of the run itself is told first, and decides."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, SAMPLE

STEPS = """\
import os
def boom(record):
    raise ValueError('mine')
def stop(record):
    os.kill(os.getpid(), int(os.environ['NUMBER']))
    return record
class Early:
    def __call__(self, record):
        return record
    __name__ = property(lambda self: stop('early'))
early = Early()
"""
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
SAID = b"paipa-etl: interrupted before the end of the run\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "s.py").write_text(STEPS)
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    (tmp_path / "d").mkdir()
    return tmp_path


@pytest.mark.parametrize("report", ["/dev/full", "d"])
@pytest.mark.parametrize("out", ["out.jsonl", "out/{stem}.jsonl"])
def test_a_failed_step_is_told_before_a_missing_report(
    paipa: Any, files: Path, report: str, out: str
) -> None:
    done = paipa("in.jsonl", out, "--map", "s.py:boom", "--report", report)
    assert done.returncode == 1
    *_, failure, missing = [line for line in done.stderr.splitlines() if b"transferred" not in line]
    assert b"ValueError: mine (in map(boom), record 1 of in.jsonl (line 1, byte 0))" in failure
    assert missing.startswith(f"paipa-etl: {report}: ".encode())
    assert missing.endswith(b"(the report is missing as well)")


def test_skipped_records_are_told_before_a_missing_report(paipa: Any, files: Path) -> None:
    done = paipa("--on-error", "skip", "--report", "/dev/full", input=b"1\nx\n")
    skipped, *_, missing = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (4, b"1\n")
    assert skipped.startswith(b"paipa-etl: skipped: record 2 of -")
    assert missing.endswith(b"(the report is missing as well)")


@pytest.mark.parametrize("out", ["out.jsonl", "out/{stem}.jsonl"])
def test_a_missing_report_fails_a_run_that_did_not(paipa: Any, files: Path, out: str) -> None:
    done = paipa("in.jsonl", out, "--report", "/dev/full")
    said = b"paipa-etl: /dev/full: No space left on device (only the report is missing)\n"
    assert (done.returncode, done.stderr) == (6, said)
    assert (files / out.format(stem="in")).read_bytes() == b"1\n2\n"


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_interrupt_is_told_before_a_missing_report(
    paipa: Any, files: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setenv("NUMBER", str(int(number)))
    done = paipa("in.jsonl", "out.jsonl", "--map", "s.py:stop", "--report", "/dev/full")
    assert done.returncode == code
    assert done.stderr.startswith(SAID)
    assert done.stderr.endswith(b"(the report is missing as well)\n")
    assert not (files / "out.jsonl").exists()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("report", ["r.html", "r.json"])
def test_an_interrupt_before_anything_was_seen(
    paipa: Any, files: Path, monkeypatch: pytest.MonkeyPatch, report: str, number: int, code: int
) -> None:
    monkeypatch.setenv("NUMBER", str(int(number)))
    done = paipa("in.jsonl", "out.jsonl", "--map", "s.py:early", "--report", report)
    assert (done.returncode, done.stderr) == (code, SAID)
    assert (files / report).exists() == (report == "r.json")


def test_a_refused_plan_is_told_though_there_is_no_page(paipa: Any, files: Path) -> None:
    done = paipa("in.jsonl", "in.jsonl", "--report", "r.html")
    assert (done.returncode, done.stderr) == (
        2,
        b"paipa-etl: in.jsonl is both an input and the output\n",
    )


def test_a_pipe_that_nobody_reads_ends_as_such_without_a_report(tmp_path: Path) -> None:
    command = [*COMMAND, str(SAMPLE), "-", "--report", "/dev/full"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.read(1)
        running.stdout.close()
        assert running.wait(30) == 141
        (missing,) = running.stderr.read().splitlines()
    assert missing.endswith(b"(the report is missing as well)")
