"""Progress tells the truth: bytes of all inputs, a smoothed rate, time left; never in the data."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, SAMPLE, Command

from paipa_etl.cli.progress import Json, Rate, RunProgress
from paipa_etl.debugger import StepView, View


def view(seconds: float, done: int, read: int, work: tuple[float, ...] = (0, 0)) -> View:
    lines = [StepView(f"s{place}", "step", seconds=spent) for place, spent in enumerate(work)]
    return View(seconds, {"bytes_in": done, "read": read}, lines, [])


def test_a_rate_follows_slowly() -> None:
    rate = Rate()
    assert rate.update(1, 100) == 100
    after = rate.update(2, 100)
    assert 85 < after < 95, "a second in which nothing came is not all there is"
    assert rate.update(2, 100) == after
    for second in range(3, 100):
        rate.update(second, 100 + (second - 2) * 50)
    assert rate.value == pytest.approx(50, rel=0.02)


def test_the_time_left_is_that_of_the_bytes_left() -> None:
    progress = RunProgress(Json())
    progress.total = 1_000
    for second in range(1, 11):
        told = progress.values(view(second, second * 50, second * 7))
    assert told["seconds_left"] == pytest.approx(10)
    assert (told["bytes"], told["records"]) == (500, 70)
    assert told["records_per_second"] == pytest.approx(7)


def test_a_feed_has_records_and_no_end() -> None:
    told = RunProgress(Json()).values(view(2, 0, 40))
    assert (told["seconds_left"], told["total_bytes"], told["records"]) == (None, None, 40)


def test_the_slowest_step_is_that_of_late() -> None:
    progress = RunProgress(Json())
    assert progress.values(view(1, 0, 0, (0.9, 0.1)))["slowest"] == "s0"
    assert progress.values(view(2, 0, 0, (0.9, 0.5)))["slowest"] == "s1"
    assert progress.values(view(3, 0, 0, (0.9, 0.5)))["slowest"] is None


def test_json_is_of_all_inputs_by_their_stored_bytes(paipa: Command) -> None:
    done = paipa(SAMPLE, SAMPLE, "-o", "out.jsonl", "--progress", "json")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines()]
    size = 2 * SAMPLE.stat().st_size
    assert told[-1]["bytes"] == told[-1]["total_bytes"] == size
    assert told[-1]["records"] == 30_000
    assert told[-1]["finished"]


@pytest.mark.parametrize("out", ["out.jsonl", "out/{stem}.jsonl"])
@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("json", r'\{"seconds": .*\}\n'),
        ("log", r"paipa-etl: .*, \d+ s.*\n"),
        ("tty", r"\r.*\r *\r"),
        ("off", ""),
    ],
)
def test_progress_that_is_asked_for_goes_on_before_the_table(
    paipa: Command, form: str, line: str, out: str
) -> None:
    done = paipa(SAMPLE, out, "--limit", "10", "--progress", form, "--debug")
    assert done.returncode == 0, done.stderr
    before, head, table = re.split(r"(\d+\.\d s, cpu .*\n)", done.stderr.decode())
    assert re.fullmatch(f"({line})+", before)
    assert head
    assert table.startswith("step ")


def test_a_failed_run_says_so_last(paipa: Command) -> None:
    done = paipa("--progress", "json", input=b"1\nx\n")
    assert done.returncode == 1
    (line, *rest) = done.stderr.splitlines()
    assert "not valid JSON" in json.loads(line)["failed"] or json.loads(line)["failed"]
    assert rest[0].startswith(b"paipa-etl:")
    assert done.stdout == b"1\n"


def test_a_log_has_a_line_at_the_end(paipa: Command) -> None:
    done = paipa(SAMPLE, "out.jsonl", "--progress", "log")
    (line,) = done.stderr.splitlines()
    assert b"15,000 records, " in line
    assert b" MB of 2.6 MB read" in line
    assert b"most time in" in line


def test_progress_goes_on_while_the_input_is_silent(tmp_path: Path) -> None:
    command = [*COMMAND, "-", "out.jsonl", "--progress", "json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as running:
        assert running.stdin
        assert running.stderr
        running.stdin.write(b"1\n2\n")
        running.stdin.flush()
        told = [json.loads(running.stderr.readline()) for _ in range(2)]
        assert told[1]["records"] == 2
        assert not told[1]["finished"]
        running.stdin.close()
        assert json.loads(running.stderr.readlines()[-1])["finished"]
    assert running.returncode == 0


def on_a_terminal(folder: Path, *words: str, stdout: Any) -> tuple[str, int]:
    """What the command shows on standard error that is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 140, 0, 0))
    with subprocess.Popen(
        [*COMMAND, *words], stderr=theirs, stdout=theirs if stdout == "same" else stdout, cwd=folder
    ) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    return shown.decode(errors="replace"), running.returncode


SLOW = "import time\ndef slow(record):\n    time.sleep(0.0005)\n    return record\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def test_a_bar_is_drawn_where_somebody_sees_it_and_then_gone(folder: Path) -> None:
    words = (str(SAMPLE), "out.jsonl", "--map", "slow.py:slow", "--limit", "3000")
    shown, code = on_a_terminal(folder, *words, stdout=subprocess.DEVNULL)
    assert code == 0
    assert "records, most time in map(slow)" in shown
    assert "B/s" in shown
    assert "\r" in shown


def test_no_bar_is_drawn_over_records_on_the_same_screen(folder: Path) -> None:
    words = (str(SAMPLE), "-", "--map", "slow.py:slow", "--limit", "2000")
    shown, code = on_a_terminal(folder, *words, stdout="same")
    assert code == 0
    assert "B/s" not in shown
    assert shown.count("\n") >= 2_000


def test_quiet_shows_nothing(folder: Path) -> None:
    words = (str(SAMPLE), "out.jsonl", "--limit", "2000", "-q")
    assert on_a_terminal(folder, *words, stdout=subprocess.DEVNULL) == ("", 0)


def test_names_are_safe_in_the_bar(folder: Path) -> None:
    (folder / "x\x1b[2J.jsonl").write_bytes(b"1\n" * 3_000)
    words = ("x\x1b[2J.jsonl", "out.jsonl", "--map", "slow.py:slow", "-v")
    shown, code = on_a_terminal(folder, *words, stdout=subprocess.DEVNULL)
    assert code == 0
    assert "\x1b[2J" not in shown
