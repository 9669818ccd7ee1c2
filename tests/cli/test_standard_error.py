"""Standard error that is closed or full: the run goes on, and its exit code says how it ended."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import COMMAND

WAYS = ["2>&-", "2>/dev/full", "2> >(exec true; sleep 0.1)"]


def run(tmp_path: Path, way: str, *words: str) -> int:
    """The exit code of the command, in a shell that redirects its standard error."""
    line = f'"$0" "$@" {way}'
    command = ["bash", "-c", line, *COMMAND, *words]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "words", [(), ("-v",), ("--debug",), ("--progress", "json"), ("--progress", "log")]
)
def test_the_output_is_published(tmp_path: Path, way: str, words: tuple[str, ...]) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    assert run(tmp_path, way, "in.jsonl", "out.jsonl", *words) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b"1\n2\n"


@pytest.mark.parametrize("way", WAYS)
def test_the_exit_code_tells_of_skipped_records_and_of_failures(tmp_path: Path, way: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\nbad\n2\n")
    assert run(tmp_path, way, "in.jsonl", "out.jsonl", "--on-error", "skip") == 4
    assert (tmp_path / "out.jsonl").read_bytes() == b"1\n2\n"
    assert run(tmp_path, way, "in.jsonl", "other.jsonl", "--debug") == 1
    assert not (tmp_path / "other.jsonl").exists()


def test_a_closed_one_is_not_taken_by_the_output(tmp_path: Path) -> None:
    """A file that is opened next would have its descriptor, and what libraries write to it."""
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    step = "lambda r: __import__('os').write(2, b'noise') and r"
    assert run(tmp_path, "2>&-", "in.jsonl", "out.jsonl", "--map", step) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b"1\n"
