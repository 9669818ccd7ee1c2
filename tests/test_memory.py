"""Memory: it does not grow with the input, nor with a record that is longer than allowed."""

from __future__ import annotations

import gzip
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, SAMPLE

MB = 1_000_000

# The child is started by a small process: its peak would begin with that of pytest otherwise.
MEASURE = """\
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
scale = 1 if sys.platform == 'darwin' else 1024
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * scale)
process.returncode = 0
"""


def measured(tmp_path: Path, *words: object) -> tuple[int, int]:
    """The exit code of the command, and its peak in bytes."""
    command = [sys.executable, "-c", MEASURE, *COMMAND, *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    code, peak = done.stdout.split()
    return int(code), int(peak)


def repeated(tmp_path: Path, size: int) -> Path:
    """The sample's gzip members, repeated up to a size."""
    sample = SAMPLE.read_bytes()
    path = tmp_path / f"{size}.jsonl.gz"
    with path.open("wb") as file:
        for _ in range(size // len(sample) + 1):
            file.write(sample)
    return path


@pytest.mark.parametrize(
    "words",
    [("out.jsonl",), ("out.jsonl", "--filter", "lambda r: r['id']", "--map", "lambda r: r")],
)
def test_four_times_the_input_takes_no_more_memory(tmp_path: Path, words: tuple[str, ...]) -> None:
    peaks = []
    for size in (40 * MB, 160 * MB):
        source = repeated(tmp_path, size)
        code, peak = measured(tmp_path, source, *words)
        source.unlink()
        assert code == 0
        peaks.append(peak)
    assert max(peaks) < 60 * MB
    assert abs(peaks[1] - peaks[0]) < 3 * MB


@pytest.fixture
def long_line(tmp_path: Path) -> Path:
    """One record of 200 MB, small as gzip, and a short one behind it."""
    path = tmp_path / "long.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'"')
        for _ in range(200):
            file.write(b"x" * MB)
        file.write(b'"\n"next"\n')
    return path


def test_a_record_that_is_too_long_is_refused(tmp_path: Path, long_line: Path) -> None:
    code, peak = measured(tmp_path, long_line, "out.jsonl", "--max-record", "64M")
    assert code == 1
    assert peak < 200 * MB
    assert not (tmp_path / "out.jsonl").exists()


def test_the_record_behind_one_that_is_too_long_is_read(tmp_path: Path, long_line: Path) -> None:
    words = ("--max-record", "64M", "--on-error", "skip")
    code, peak = measured(tmp_path, long_line, "out.jsonl", *words)
    assert code == 4
    assert peak < 200 * MB
    assert (tmp_path / "out.jsonl").read_bytes() == b'"next"\n'


GIVEN_BACK = """\
import os, sys
from paipa_etl import Pipeline
from paipa_etl.cli.process import settle

def held():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')

settle(Pipeline(sys.argv[1], [], sys.argv[2]))
bytearray(20_000_000)
before = held()
part = bytearray(20_000_000)
kept = [b'x' * 100_000 for _ in range(10)]
del part
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's own habits")
@pytest.mark.parametrize("places", [("s3://a/b", "out"), ("in", "sftp://a/b")])
def test_a_part_of_an_upload_is_given_back_to_the_system(places: tuple[str, str]) -> None:
    """What was taken after it does not keep it, as it does with the C library's own settings."""
    command = [sys.executable, "-c", GIVEN_BACK, *places]
    grown = int(subprocess.run(command, capture_output=True, check=True).stdout)
    assert grown < 5 * MB
