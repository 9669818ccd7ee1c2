"""Workers from the command line: ``@N``, order, retries, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLE

STEPS = """\
from pathlib import Path
from threading import current_thread
def name(record):
    return current_thread().name
def double(record):
    return record * 2
def odd(record):
    return record % 2 == 1
def plus_one(records):
    for record in records:
        yield record + 1
failed = set()
def flaky(record):
    if record not in failed:
        failed.add(record)
        raise ConnectionError(record)
    return record
def keep(record):
    return record["status"] < 400
"""
TEN = b"".join(b"%d\n" % n for n in range(10))


@pytest.fixture(autouse=True)
def functions(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(STEPS)


@pytest.mark.parametrize("workers", ["", "@1", "@4"])
def test_every_kind_takes_workers_and_keeps_the_order(paipa: Any, workers: str) -> None:
    words = ["--filter", f"my.py:odd{workers}", "--step", f"my.py:plus_one{workers}"]
    done = paipa("-", "-", *words, "--map", f"lambda n: n * 2{workers}", input=TEN)
    assert (done.returncode, done.stdout) == (0, b"4\n8\n12\n16\n20\n"), done.stderr


def test_they_are_threads(paipa: Any) -> None:
    assert b"MainThread" in paipa("-", "-", "--map", "my.py:name", input=b"1\n").stdout
    assert b"paipa-map(name" in paipa("-", "-", "--map", "my.py:name@2", input=b"1\n").stdout


def test_unordered_gives_all_of_them(paipa: Any) -> None:
    done = paipa("-", "-", "--map", "my.py:double@4", "--unordered", input=TEN)
    assert sorted(map(int, done.stdout.split())) == [2 * n for n in range(10)]
    explained = paipa("-", "-", "--map", "my.py:double@4", "--unordered", "--explain").stdout
    assert b"map(double, workers=4, ordered=False)" in explained


@pytest.mark.parametrize("workers", ["", "@3"])
def test_retries(paipa: Any, workers: str) -> None:
    assert paipa("-", "-", "--map", f"my.py:flaky{workers}", input=TEN).returncode == 1
    done = paipa("-", "-", "--map", f"my.py:flaky{workers}", "--retries", "1", input=b"1\n2\n")
    assert (done.returncode, done.stdout) == (0, b"1\n2\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--map", "my.py:double@0"],
        ["--retries", "-1", "--map", "my.py:double"],
        ["--max-memory", "0"],
    ],
)
def test_what_cannot_be_is_a_usage_error(paipa: Any, words: list[str]) -> None:
    done = paipa("-", "-", *words, input=TEN)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_chosen_lines_leave_byte_for_byte_in_little_memory(paipa: Any, tmp_path: Path) -> None:
    for out, words in {"a": [], "b": ["@4", "--max-memory", "1M"]}.items():
        keep = "my.py:keep" + (words.pop(0) if words else "")
        done = paipa(SAMPLE, f"{out}.jsonl", "--filter", keep, *words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_failure_says_which_record(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(TEN)
    done = paipa("in.jsonl", "out.jsonl", "--map", "lambda n: 1 // (n - 7)@4")
    assert done.returncode == 1
    assert b"ZeroDivisionError" in done.stderr
    assert b"record 8 of in.jsonl (line 8, byte 14)" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
