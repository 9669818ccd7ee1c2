"""The command line: what each option does, what each failure says, what it never shows."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, SAMPLE

WHOLE = gzip.decompress(SAMPLE.read_bytes())
TEN = b"".join(b"%d\n" % n for n in range(10))


def shell(tmp_path: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """A line for the shell, in which $paipa is the command."""
    variables = {**os.environ, "paipa": " ".join(COMMAND), "sample": str(SAMPLE)}
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, check=False, cwd=tmp_path, env=variables
    )


def told(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line that a failure prints."""
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    assert text.startswith("paipa-etl: "), text
    return text


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# Operands


def test_the_sample_leaves_as_zcat_gives_it(paipa: Any, tmp_path: Path) -> None:
    done = paipa(SAMPLE, "out.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "out.jsonl").read_bytes() == WHOLE


def test_one_operand_goes_to_standard_output(paipa: Any) -> None:
    assert paipa(SAMPLE).stdout == WHOLE


def test_no_operand_is_a_filter(paipa: Any) -> None:
    assert paipa(input=TEN).stdout == TEN


def test_the_last_operand_is_the_output(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"2"))
    assert paipa("a.jsonl", "b.jsonl.gz", "c.jsonl").returncode == 0
    assert (tmp_path / "c.jsonl").read_bytes() == b"1\n2\n"


def test_globs_are_sorted(paipa: Any, tmp_path: Path) -> None:
    for name in ("10", "b", "9", "a"):
        (tmp_path / f"{name}.jsonl").write_text(f'"{name}"\n')
    assert paipa("*.jsonl").stdout == b'"10"\n"9"\n"a"\n"b"\n'


def test_a_glob_that_matches_nothing_is_a_missing_input(paipa: Any, tmp_path: Path) -> None:
    done = paipa("*.jsonl", "out.jsonl")
    assert (done.returncode, files(tmp_path)) == (3, [])
    assert "*.jsonl" in told(done)


def test_a_missing_input_is_named(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"old")
    (tmp_path / "in.jsonl").write_bytes(TEN)
    for inputs in (["missing"], ["in.jsonl", "missing"]):
        done = paipa(*inputs, "-o", "out.jsonl")
        assert done.returncode == 3
        assert "missing: No such file" in told(done)
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_denied_input_is_an_input_failure(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").touch(0o000)
    done = paipa("in.jsonl", "out.jsonl")
    assert done.returncode == 3
    assert "Permission denied" in told(done)


def test_an_input_in_circles_is_an_input_failure(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    done = paipa("loop", "-o", "out.jsonl")
    assert (done.returncode, files(tmp_path)) == (3, ["loop"])
    assert "loop" in told(done)


@pytest.mark.parametrize(
    "data", [gzip.compress(TEN)[:-3], gzip.compress(TEN)[:-8] + b"\0" * 8, b""]
)
def test_a_damaged_or_cut_input_is_an_input_failure(
    paipa: Any, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(data)
    done = paipa("in.jsonl.gz", "out.jsonl")
    assert (done.returncode, files(tmp_path)) == (3, ["in.jsonl.gz"])
    assert "in.jsonl.gz" in told(done)


@pytest.mark.parametrize("name", ["in.jsonl", "./in.jsonl", "link.jsonl", "d/../in.jsonl"])
def test_an_output_that_is_an_input_is_refused(paipa: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    (tmp_path / "in.jsonl").write_bytes(TEN)
    for words in (["in.jsonl", name], [name, "-o", "in.jsonl"], ["*n.jsonl", name]):
        assert paipa(*words).returncode == 2
    assert (tmp_path / "in.jsonl").read_bytes() == TEN


def test_the_last_of_three_operands_must_be_new(paipa: Any, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(f'"{name}"\n')
    done = paipa("a", "b", "c")
    assert done.returncode == 2
    assert b"-o" in done.stderr
    assert (tmp_path / "c").read_text() == '"c"\n'
    assert paipa("a", "b", "-o", "c").returncode == 0
    assert (tmp_path / "c").read_text() == '"a"\n"b"\n'


@pytest.mark.parametrize("word", ["run", "check", "replay"])
def test_a_word_that_will_be_a_command_is_no_first_operand(
    paipa: Any, tmp_path: Path, word: str
) -> None:
    (tmp_path / word).write_bytes(TEN)
    done = paipa(word)
    assert done.returncode == 2
    assert f"./{word}".encode() in done.stderr
    assert paipa(f"./{word}").stdout == TEN
    assert paipa("-", word, input=b"1\n").returncode == 0


# Options


def test_from_and_to_say_what_names_do_not(paipa: Any, tmp_path: Path) -> None:
    packed = paipa("-t", "jsonl.gz", input=TEN).stdout
    assert gzip.decompress(packed) == TEN
    assert paipa("-f", "jsonl.gz", input=packed).stdout == TEN
    assert paipa("-f", "txt", "-t", "jsonl", input=b"a\nb\n").stdout == b'"a"\n"b"\n'
    assert paipa("--from", "nope", input=TEN).returncode == 2
    assert paipa("--to", "nope", input=TEN).returncode == 2


def test_a_level_makes_a_difference(paipa: Any) -> None:
    low, high = (len(paipa(SAMPLE, "-t", "gz", "--level", n).stdout) for n in (1, 9))
    assert high < low
    assert paipa(SAMPLE, "-t", "gz", "--level", "99").returncode == 2
    assert paipa(SAMPLE, "-t", "jsonl", "--level", "1").returncode == 2


def test_no_clobber_keeps_what_is_there(paipa: Any, tmp_path: Path) -> None:
    assert paipa("-", "out.jsonl", "--no-clobber", input=b"1\n").returncode == 0
    done = paipa("-", "out.jsonl", "--no-clobber", input=b"2\n")
    assert done.returncode == 2
    assert "out.jsonl exists" in told(done)
    assert (tmp_path / "out.jsonl").read_bytes() == b"1\n"


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run_shows_first_records_and_writes_nothing(
    paipa: Any, tmp_path: Path, option: str
) -> None:
    (tmp_path / "in.jsonl").write_bytes(TEN)
    done = paipa("in.jsonl", "out.jsonl", option, "--map", "lambda n: n * 1000")
    assert (done.returncode, files(tmp_path)) == (0, ["in.jsonl"])
    assert done.stdout.split()[-5:] == [b"0", b"1000", b"2000", b"3000", b"4000"]


def test_a_plan_is_explained_and_nothing_read(paipa: Any, tmp_path: Path) -> None:
    done = paipa("missing.jsonl.gz", "out.txt.zst", "--explain", "--limit", "3")
    assert (done.returncode, done.stderr, files(tmp_path)) == (0, b"", [])
    for word in (b"missing.jsonl.gz", b"jsonl, gzip", b"limit(3)", b"out.txt.zst"):
        assert word in done.stdout


def test_a_run_is_silent_unless_it_is_asked(paipa: Any) -> None:
    assert paipa(SAMPLE, "out.jsonl").stderr == b""
    assert b"15,000 read, 15,000 written" in paipa(SAMPLE, "out.jsonl", "-v").stderr


def test_quiet_says_nothing_but_errors(paipa: Any) -> None:
    done = paipa("-q", "--on-error", "skip", input=b"1\nx\n")
    assert (done.returncode, done.stderr) == (4, b"")
    assert told(paipa("-q", input=b"x\n"))


REPORT_KEYS = {
    "balanced",
    "bytes_in",
    "bytes_out",
    "errors",
    "expanded",
    "filtered",
    "folded",
    "left_over",
    "read",
    "seconds",
    "skipped",
    "steps",
    "written",
}


def test_the_report_is_json_and_adds_up(paipa: Any, tmp_path: Path) -> None:
    words = ("--filter", "lambda n: n % 2", "--report", "r.json", "--on-error", "skip")
    assert paipa(*words, input=TEN + b"no\n").returncode == 4
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(report) == {*REPORT_KEYS, "debug"}
    assert [report[key] for key in ("read", "filtered", "written", "skipped")] == [11, 5, 5, 1]
    assert (report["bytes_in"], report["bytes_out"]) == (23, 10)
    assert set(report["steps"][0]) == {"name", "records_in", "records_out", "opaque", "retried"}
    assert report["balanced"] is True
    assert "record 11" in report["errors"][0]


def test_a_failed_run_has_a_report_too(paipa: Any, tmp_path: Path) -> None:
    assert paipa("--report", "r.json", input=b"1\nx\n").returncode == 1
    assert json.loads((tmp_path / "r.json").read_text())["read"] == 1


def test_help_and_version(paipa: Any) -> None:
    shown = paipa("--help")
    assert (shown.returncode, shown.stderr) == (0, b"")
    lines = shown.stdout.decode().splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 100
    version = paipa("--version").stdout.decode().split()
    assert version[0] == "paipa-etl"
    assert len(version) == 2


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    heavy = {"orjson", "msgspec", "importlib.metadata", "dataclasses"}
    heavy |= {"smart_open", "fsspec", "tqdm", "isal"}
    words = [sys.executable, "-X", "importtime", "-m", "paipa_etl", option]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & heavy


@pytest.mark.parametrize("words", [["--nope"], ["--limit", "x"], ["--max-record", "0"], ["--lim"]])
def test_an_unknown_or_wrong_option_is_a_usage_error(paipa: Any, words: list[str]) -> None:
    done = paipa(*words, input=TEN)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words", "expected"),
    [
        ("MAP", "lambda n: -n", [], b"0\n-1\n-2\n"),
        ("FILTER", "lambda n: n", [], b"1\n2\n"),
        ("LIMIT", "1", [], b"0\n"),
        ("LIMIT", "1", ["--map", "lambda n: n + 5"], b"5\n"),
        ("SKIP", "2", [], b"2\n"),
        ("FROM", "txt", ["-t", "jsonl"], b'"0"\n"1"\n"2"\n'),
        ("EXPLAIN", "0", [], b"0\n1\n2\n"),
        ("VERSION", "1", [], b"0\n1\n2\n"),
    ],
)
def test_every_option_has_a_variable(
    paipa: Any, name: str, value: str, words: list[str], expected: bytes
) -> None:
    variables = {**os.environ, f"PAIPA_ETL_{name}": value}
    assert paipa(*words, input=b"0\n1\n2\n", env=variables).stdout == expected


def test_variables_set_switches_and_the_command_line_wins(paipa: Any, tmp_path: Path) -> None:
    variables = {**os.environ, "PAIPA_ETL_ON_ERROR": "skip", "PAIPA_ETL_QUIET": "1"}
    done = paipa(input=b"1\nx\n", env=variables)
    assert (done.returncode, done.stderr) == (4, b"")
    assert paipa("--on-error", "fail", input=b"1\nx\n", env=variables).returncode == 1
    variables = {**os.environ, "PAIPA_ETL_OUTPUT": "out.jsonl", "PAIPA_ETL_VERBOSE": "1"}
    assert b"1 read" in paipa("-", input=b"1\n", env=variables).stderr
    assert files(tmp_path) == ["out.jsonl"]
    variables["PAIPA_ETL_NO_CLOBBER"] = "yes"
    assert paipa("-", input=b"1\n", env=variables).returncode == 2


# Steps


def test_steps_run_in_the_order_given(paipa: Any) -> None:
    first = paipa("--limit", "4", "--skip", "2", "--map", "lambda n: n * n", input=TEN)
    second = paipa("--map", "lambda n: n * n", "--skip", "2", "--limit", "4", input=TEN)
    assert (first.stdout, second.stdout) == (b"4\n9\n", b"4\n9\n16\n25\n")


MINE = """\
import json
def negate(n): return -n
def odd(n): return n % 2
def plus(n, *, times=1): return lambda r: (r + n) * times
def twice(records):
    for r in records:
        yield r
        yield r
class Inner:
    @staticmethod
    def half(n): return n // 2
"""


@pytest.mark.parametrize("home", ["mine", "mine.py", "./mine.py", "package.mine"])
@pytest.mark.parametrize(
    ("option", "name", "expected"),
    [
        ("--map", "negate", b"-1\n-2\n"),
        ("--filter", "odd", b"1\n"),
        ("--step", "twice", b"1\n1\n2\n2\n"),
        ("--map", "Inner.half", b"0\n1\n"),
        ("--map", "plus(1)", b"2\n3\n"),
        ("--map", "plus(-1, times=10)", b"0\n10\n"),
    ],
)
def test_functions_come_from_modules_and_files(
    paipa: Any, tmp_path: Path, home: str, option: str, name: str, expected: bytes
) -> None:
    (tmp_path / "package").mkdir()
    for place in (tmp_path, tmp_path / "package"):
        (place / "mine.py").write_text(MINE)
    done = paipa(option, f"{home}:{name}", input=b"1\n2\n")
    assert (done.stderr, done.stdout) == (b"", expected)


def test_the_current_directory_shadows_nothing(paipa: Any, tmp_path: Path) -> None:
    for name in ("json", "gzip", "tqdm", "orjson"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    (tmp_path / "mine.py").write_text(MINE)
    done = paipa("--map", "mine:negate", "--report", "r", "-t", "jsonl.gz", input=b"1\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert gzip.decompress(done.stdout) == b"-1\n"
    assert paipa("--map", "json:dumps", input=b"[1]\n").stdout == b'"[1]"\n'


@pytest.mark.parametrize(
    "spec",
    [
        "mine:plus(open('x'))",
        "mine:plus(n)",
        "mine:plus(1 + x)",
        "mine:plus(*[1])",
        "mine:nothing",
        "mine:",
        ":negate",
        "nowhere:f",
        "nowhere.py:f",
        "mine:[]",
        "mine:__import__('os').system('touch x')",
        "1 + 1",
        "lambda",
        "lambda r: r, 1",
        "",
    ],
)
def test_what_is_no_function_is_refused(paipa: Any, tmp_path: Path, spec: str) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    done = paipa("-", "out.jsonl", "--map", spec, input=b"1\n")
    assert done.returncode == 2
    assert told(done)
    assert set(files(tmp_path)) <= {"mine.py", "__pycache__"}


def test_a_lambda_is_no_generator_step(paipa: Any) -> None:
    done = paipa("--step", "lambda rs: rs", input=b"1\n")
    assert done.returncode == 2
    assert "--step" in told(done)


# Failures


def test_a_failing_step_is_told_on_one_line(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(TEN)
    (tmp_path / "out.jsonl").write_bytes(b"old")
    words = ("in.jsonl", "out.jsonl", "--map", "lambda n: 1 // (n - 7)")
    for more in ((), ("-v",)):
        done = paipa(*words, *more)
        assert done.returncode == 1
        for word in ("ZeroDivisionError", "map(<lambda>)", "record 8 of in.jsonl"):
            assert word in told(done)
    assert b"Traceback" in paipa(*words, "-vv").stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"


def test_skipped_records_are_counted_and_told(paipa: Any) -> None:
    words = ("--on-error", "skip", "--map", "lambda n: 1 // (n - 7)", "--map", "lambda n: n")
    done = paipa(*words, input=b"8\n7\nnope\n9\n")
    assert (done.returncode, done.stdout) == (4, b"1\n0\n")
    text = done.stderr.decode()
    for word in ("record 2 of -", "ZeroDivisionError", "record 3 of -", "2 skipped"):
        assert word in text


def test_more_skipped_records_than_fit_are_counted(paipa: Any) -> None:
    done = paipa("--on-error", "skip", input=b"x\n" * 1000)
    assert done.returncode == 4
    assert b"995 more" in done.stderr
    assert done.stderr.count(b"\n") == 7


def test_a_bad_record_comes_after_the_good_ones_were_written(paipa: Any) -> None:
    for words in ((), ("--map", "lambda r: r")):
        done = paipa(*words, input=TEN + b"{nope\n11\n")
        assert (done.returncode, done.stdout) == (1, TEN)
        assert "record 11 of - (line 11, byte 20)" in told(done)


def test_a_bad_record_leaves_the_old_file(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"old")
    assert paipa("-", "out.jsonl", input=TEN + b"{nope\n").returncode == 1
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"
    assert files(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("words", [("/dev/full",), ("-t", "gz", "-o", "/dev/full")])
def test_a_full_device_is_a_failed_output(paipa: Any, words: tuple[str, ...]) -> None:
    done = paipa(SAMPLE, *words)
    assert done.returncode == 6
    assert "/dev/full: No space left" in told(done)


def test_a_full_standard_output_is_a_failed_output(paipa: Any, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = paipa(SAMPLE, stdout=full)
    assert done.returncode == 6
    assert "No space left" in told(done)
    assert paipa("-", input=b"1\n").returncode == 0


@pytest.mark.parametrize("option", ["--explain", "-n"])
def test_a_plan_that_cannot_be_shown_is_a_failed_output(paipa: Any, option: str) -> None:
    with open("/dev/full", "wb") as full:
        done = paipa(SAMPLE, option, stdout=full)
    assert done.returncode == 6
    assert "No space left" in told(done)


def test_a_closed_standard_output_is_a_failed_output(tmp_path: Path) -> None:
    done = shell(tmp_path, '$paipa "$sample" - >&-')
    assert done.returncode == 6
    assert "standard output is closed" in told(done)


@pytest.mark.parametrize("option", ["--explain", "-n"])
def test_a_plan_that_is_shown_to_nobody_is_a_failed_output(tmp_path: Path, option: str) -> None:
    done = shell(tmp_path, f'$paipa "$sample" {option} >&-')
    assert done.returncode == 6
    assert "standard output is closed" in told(done)


def test_a_closed_standard_input_is_an_input_failure(tmp_path: Path) -> None:
    done = shell(tmp_path, "$paipa - out.jsonl <&-")
    assert done.returncode == 3
    assert told(done)
    assert files(tmp_path) == []


@pytest.mark.parametrize("more", ["", "--map 'lambda r: r'", "-t gz", "-n"])
def test_a_pipe_that_nobody_reads_ends_quietly(tmp_path: Path, more: str) -> None:
    line = f'($paipa "$sample" {more}; echo $? >code) | head -c 100 >first'
    done = shell(tmp_path, line)
    assert done.stderr == b""
    assert (tmp_path / "first").stat().st_size == 100
    if more != "-n":  # what that shows fits into a pipe
        assert (tmp_path / "code").read_text() == "141\n"


NAUGHTY = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\x08\u202e\u2066"


def is_safe(text: str) -> bool:
    return all(c == "\n" or c.isprintable() for c in text)


@pytest.mark.parametrize("more", [(), ("--on-error", "skip"), ("-v",)])
def test_control_characters_in_data_are_escaped(paipa: Any, more: tuple[str, ...]) -> None:
    for data in (f'{{"a": "{NAUGHTY}" nope}}\n'.encode(), b"\xff\x1b[2J\n", b"\x00\x1b\n"):
        done = paipa(*more, input=data)
        assert done.returncode in (1, 4)
        assert is_safe(done.stderr.decode())


def test_control_characters_in_errors_and_names_are_escaped(paipa: Any, tmp_path: Path) -> None:
    data = json.dumps(NAUGHTY).encode() + b"\n"
    assert is_safe(paipa("--map", "lambda r: {}[r]", input=data).stderr.decode())
    assert is_safe(paipa("--map", "lambda r: int(r)", input=data).stderr.decode())
    assert is_safe(told(paipa(f"missing{NAUGHTY}")))
    assert is_safe(told(paipa("--map", f"mod{NAUGHTY}:f", input=data)))
    assert is_safe(told(paipa("--map", f"mod{NAUGHTY}.py:f", input=data)))
    assert is_safe(told(paipa("-o", f"missing{NAUGHTY}/x", input=data)))
    (tmp_path / f"in{NAUGHTY}.jsonl").write_bytes(b"nope\n")
    assert is_safe(told(paipa(f"in{NAUGHTY}.jsonl")))


def test_control_characters_are_escaped_in_what_is_shown_of_a_plan(
    paipa: Any, tmp_path: Path
) -> None:
    (tmp_path / f"in{NAUGHTY}.jsonl").write_bytes(json.dumps({NAUGHTY: NAUGHTY}).encode())
    for option in ("-n", "--explain"):
        assert is_safe(paipa(f"in{NAUGHTY}.jsonl", option).stdout.decode())


def test_control_characters_in_operands_of_usage_errors_are_escaped(
    paipa: Any, tmp_path: Path
) -> None:
    (tmp_path / f"c{NAUGHTY}").touch()
    done = paipa("a", "b", f"c{NAUGHTY}")
    assert done.returncode == 2
    assert is_safe(done.stderr.decode())


@pytest.mark.parametrize("more", [(), ("-vv",), ("--explain",), ("-n",)])
@pytest.mark.parametrize("scheme", ["https", "sftp", "nope"])
def test_credentials_are_never_shown(paipa: Any, more: tuple[str, ...], scheme: str) -> None:
    url = f"{scheme}://user:secret@127.0.0.1:1/x?sig=secret"
    for words in ((url, "out.jsonl"), ("-o", url)):
        done = paipa(*words, *more, input=b"1\n")
        assert (done.returncode == 0) == (more == ("--explain",) or done.stdout.endswith(b"\n1\n"))
        assert b"secret" not in done.stderr + done.stdout
