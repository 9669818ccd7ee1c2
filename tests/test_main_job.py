"""The command's main job: exit codes, whole output or none, quiet ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, SAMPLE

WHOLE = gzip.decompress(SAMPLE.read_bytes())


def test_the_sample_leaves_as_zcat_gives_it(paipa: Any, tmp_path: Path) -> None:
    done = paipa(SAMPLE, "out.jsonl")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out.jsonl").read_bytes() == WHOLE


def test_one_operand_goes_to_standard_output_and_none_is_a_filter(paipa: Any) -> None:
    assert paipa(SAMPLE).stdout == WHOLE
    assert paipa(input=SAMPLE.read_bytes()).stdout == WHOLE


def test_a_kill_in_mid_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old\n")
    process = subprocess.Popen(
        [*COMMAND, "-", "out.jsonl"], stdin=subprocess.PIPE, cwd=tmp_path, bufsize=0
    )
    assert process.stdin
    process.stdin.write(b'{"a": 1}\n' * 200_000)
    process.kill()
    process.stdin.close()
    process.wait()
    assert target.read_text() == "old\n"
    for left in tmp_path.glob("*.paipa-tmp"):
        left.unlink()
    for left in tmp_path.glob(".*.paipa-tmp"):
        left.unlink()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_undoes_the_output(tmp_path: Path, number: int, code: int) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old\n")
    process = subprocess.Popen(
        [*COMMAND, "-", "out.jsonl"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        bufsize=0,
    )
    assert process.stdin
    assert process.stderr
    process.stdin.write(b'{"a": 1}\n')
    while not list(tmp_path.glob(".*.paipa-tmp")):
        time.sleep(0.01)  # it has opened its output: the run has begun
    process.send_signal(number)
    said = process.stderr.read()
    assert process.wait(10) == code
    assert b"Traceback" not in said
    assert target.read_text() == "old\n"
    assert not list(tmp_path.glob(".*.paipa-tmp"))
    process.stdin.close()
    process.stderr.close()


def test_a_full_disk_leaves_the_old_file(paipa: Any, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        (small / "out.jsonl").write_text("old\n")
        done = paipa(SAMPLE, small / "out.jsonl")
        assert done.returncode == 6
        assert b"No space left" in done.stderr
        assert b"Traceback" not in done.stderr
        assert [path.name for path in small.iterdir()] == ["out.jsonl"]
        assert (small / "out.jsonl").read_text() == "old\n"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_full_device_is_a_failed_output(paipa: Any) -> None:
    assert paipa(SAMPLE, "/dev/full").returncode == 6
    with open("/dev/full", "wb") as full:
        assert paipa(SAMPLE, "-", stdout=full).returncode == 6


def test_closed_standard_output_is_a_failed_output(tmp_path: Path) -> None:
    command = f"{sys.executable} -m paipa_etl {SAMPLE} - >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 6


def test_a_pipe_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m paipa_etl {SAMPLE} -; echo $? >code"
    first = subprocess.run(
        f"({command}) | head -n 1", shell=True, capture_output=True, check=True, cwd=tmp_path
    )
    assert first.stderr == b""
    assert first.stdout == WHOLE.partition(b"\n")[0] + b"\n"
    assert (tmp_path / "code").read_text() == "141\n"


@pytest.mark.parametrize("name", ["in.jsonl", "./in.jsonl", "link.jsonl"])
def test_an_output_that_is_an_input_is_refused(paipa: Any, tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("1\n")
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    assert paipa("in.jsonl", name).returncode == 2
    assert source.read_text() == "1\n"


def test_a_glob_that_forgot_its_output_destroys_nothing(paipa: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(f'"{name}"\n')
    done = paipa("a", "b", "c")
    assert done.returncode == 2
    assert b"-o" in done.stderr
    assert paipa("a", "b", "c", "-o", "d").returncode == 0
    assert (tmp_path / "d").read_text() == '"a"\n"b"\n"c"\n'


@pytest.mark.parametrize("word", ["run", "check", "replay", "cleanup"])
def test_a_reserved_word_is_no_file(paipa: Any, tmp_path: Path, word: str) -> None:
    (tmp_path / word).write_text("1\n")
    assert paipa(word, "out").returncode == 2
    assert paipa(f"./{word}", "out").returncode == 0


@pytest.mark.parametrize("source", ["missing.jsonl", "no*.jsonl", "."])
def test_an_input_that_cannot_be_read(paipa: Any, tmp_path: Path, source: str) -> None:
    done = paipa(source, "out.jsonl")
    assert done.returncode == 3
    assert done.stderr.startswith(b"paipa-etl: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", [".", "missing/out.jsonl"])
def test_an_output_that_cannot_be_written(paipa: Any, target: str) -> None:
    assert paipa(SAMPLE, target).returncode == 6


def test_a_failing_step_is_told_on_one_line(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old\n")
    (tmp_path / "in.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
    done = paipa("in.jsonl", "out.jsonl", "--map", "lambda r: r['a']")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "paipa-etl: KeyError: 'a' (in map(<lambda>), record 2 of in.jsonl (byte 9))\n"
    )
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert b"Traceback" in paipa("in.jsonl", "o", "--map", "lambda r: r['a']", "-vv").stderr


def test_a_bad_record_comes_after_the_good_ones(paipa: Any) -> None:
    done = paipa(input=b'{"a":1}\n{"a":NaN}\n{"a":3}\n')
    assert (done.returncode, done.stdout) == (1, b'{"a":1}\n')
    assert b"record 2 of - (byte 8)" in done.stderr


def test_skipped_records_are_counted_and_told(paipa: Any, tmp_path: Path) -> None:
    words = ("-", "-", "--on-error", "skip", "--report", "report.json")
    done = paipa(*words, input=b'1\nnope\n3\n\n"\x1b[2J"\n')
    assert (done.returncode, done.stdout) == (4, b"1\n3\n")
    assert b"\x1b" not in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["balanced"]
    assert (report["read"], report["written"], report["skipped"]) == (4, 2, 2)


def test_steps_run_in_the_order_given(paipa: Any) -> None:
    data = b"".join(b"%d\n" % n for n in range(10))
    words = ("-", "--skip", "1", "--filter", "lambda n: n % 2", "--limit", "3")
    assert paipa(*words, "--map", "lambda n: n * 10", input=data).stdout == b"10\n30\n50\n"


def test_functions_come_from_files_modules_and_factories(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadows the standard library')\n")
    (tmp_path / "mine.py").write_text(
        "def add(n, *, more=0):\n    return lambda r: r + n + more\n"
        "def twice(records):\n    for r in records:\n        yield r\n        yield r\n"
    )
    assert paipa("-", "--map", "mine:add(1, more=2)", input=b"1\n").stdout == b"4\n"
    assert paipa("-", "--step", "mine.py:twice", input=b"1\n").stdout == b"1\n1\n"
    for bad in ("mine:add(open('x'))", "mine:nothing", "nowhere:f", "1 + 1", "lambda"):
        assert paipa("-", "--map", bad, input=b"1\n").returncode == 2, bad


def test_every_option_has_a_variable(paipa: Any) -> None:
    environment = {**os.environ, "PAIPA_ETL_MAP": "lambda n: -n", "PAIPA_ETL_LIMIT": "1"}
    assert paipa("-", input=b"1\n2\n", env=environment).stdout == b"-1\n"


def test_a_plan_is_shown_and_nothing_written(paipa: Any, tmp_path: Path) -> None:
    done = paipa(SAMPLE, "out.jsonl.zst", "--map", "lambda r: r", "--explain")
    assert b"jsonl, gzip" in done.stdout
    assert b"step   map(<lambda>)" in done.stdout
    assert paipa(SAMPLE, "out.jsonl", "-n").returncode == 0
    assert not list(tmp_path.iterdir())


def test_help_fits_on_a_screen_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['paipa-etl', sys.argv[1]]\n"
        "from paipa_etl.cli.main import entry\n"
        "try: entry()\nexcept SystemExit: pass\n"
        "heavy = {'orjson', 'msgspec', 'importlib.metadata', 'dataclasses', 'smart_open', 'fsspec',"
        " 'tqdm', 'isal'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", program, option], capture_output=True, text=True, check=True
        )
        assert done.stderr == "[]\n"
        assert len(done.stdout.splitlines()) < 50


def test_credentials_are_never_shown(paipa: Any) -> None:
    for words in ((), ("-vv",)):
        done = paipa("https://bob:hunter2@127.0.0.1:1/x.jsonl?sig=hunter2", "out", *words)
        assert done.returncode == 3
        assert b"hunter2" not in done.stderr


def test_no_clobber_keeps_what_is_there(paipa: Any, tmp_path: Path) -> None:
    assert paipa(SAMPLE, "out.jsonl", "--no-clobber").returncode == 0
    (tmp_path / "out.jsonl").write_text("old\n")
    assert paipa(SAMPLE, "out.jsonl", "--no-clobber").returncode == 2
    assert (tmp_path / "out.jsonl").read_text() == "old\n"


def test_a_record_is_bounded(paipa: Any, tmp_path: Path) -> None:
    data = b'"' + b"x" * 3_000_000 + b'"\n2\n'
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(data))
    words = ("in.jsonl.gz", "-", "--max-record", "1M")
    assert paipa(*words).returncode == 1
    done = paipa(*words, "--on-error", "skip")
    assert (done.returncode, done.stdout) == (4, b"2\n")
