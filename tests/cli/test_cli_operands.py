"""What follows ``--`` is an operand, whatever it looks like; options stand before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ONE = b'{"n": 1}\n'
LOOKS = ["-o", "-out.jsonl", "-n", "-q", "--", "--help", "--limit", "--output=x", "-1", "--version"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_bytes(ONE)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize(
    "words", [["--", "in.jsonl"], ["in.jsonl", "--"], ["-q", "in.jsonl", "--"]]
)
def test_an_output_that_looks_like_an_option(
    paipa: Any, folder: Path, words: list[str], name: str
) -> None:
    done = paipa(*words, name)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert names(folder) == {"in.jsonl", name}
    assert (folder / name).read_bytes() == ONE


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("words", [[], ["--limit", "1"], ["-o", "-"]])
def test_an_input_that_looks_like_an_option(
    paipa: Any, folder: Path, words: list[str], name: str
) -> None:
    (folder / name).write_bytes(ONE)
    done = paipa(*words, "--", name)
    assert (done.returncode, done.stdout) == (0, ONE), done.stderr
    assert names(folder) == {"in.jsonl", name}


@pytest.mark.parametrize("words", [["--"], ["in.jsonl", "--"], ["--limit", "1", "--", "in.jsonl"]])
def test_nothing_more_need_follow(paipa: Any, folder: Path, words: list[str]) -> None:
    done = paipa(*words, input=ONE)
    assert (done.returncode, done.stdout) == (0, ONE)


def test_a_dash_is_a_standard_stream_there_too(paipa: Any, folder: Path) -> None:
    assert paipa("--", "-", "-", input=ONE).stdout == ONE


def test_operands_keep_their_order_across_the_dashes(paipa: Any, folder: Path) -> None:
    (folder / "-2").write_bytes(b"2\n")
    (folder / "-3").write_bytes(b"3\n")
    done = paipa("in.jsonl", "-q", "--", "-3", "-2", "--out")
    assert done.returncode == 0
    assert (folder / "--out").read_bytes() == ONE + b"3\n2\n"


@pytest.mark.parametrize("word", ["-o", "--map", "--limit"])
def test_the_dashes_are_no_value_of_an_option(paipa: Any, folder: Path, word: str) -> None:
    done = paipa(word, "--", "in.jsonl")
    assert (done.returncode, done.stdout, names(folder)) == (2, b"", {"in.jsonl"})
    assert done.stderr.endswith(b"expected one argument\n")


@pytest.mark.parametrize(
    "word", ["-o--", "--output=--", "--to=--", "-qf--", "--report=--", "--limit=--", "--map=--"]
)
def test_nor_in_one_word_with_it(paipa: Any, folder: Path, word: str) -> None:
    done = paipa(word, "in.jsonl")
    assert (done.returncode, done.stdout, names(folder)) == (2, b"", {"in.jsonl"})
    assert b"--" in done.stderr.splitlines()[-1]


def test_an_option_after_the_dashes_is_not_given(paipa: Any, folder: Path) -> None:
    done = paipa("in.jsonl", "-o", "out.jsonl", "--", "--transfers")
    assert done.returncode == 3
    assert done.stderr == b"paipa-etl: --transfers: No such file or directory\n"


def test_an_option_from_the_environment_is_still_one(
    paipa: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "-n").write_bytes(ONE * 3)
    monkeypatch.setenv("PAIPA_ETL_LIMIT", "1")
    assert paipa("--", "-n").stdout == ONE


@pytest.mark.parametrize("word", ["run", "check", "replay", "cleanup"])
def test_the_name_of_a_command_is_an_operand_there(paipa: Any, folder: Path, word: str) -> None:
    (folder / word).write_bytes(ONE)
    assert paipa("--", word).stdout == ONE


@pytest.mark.parametrize("word", ["-n", "--", "--help", "--min-age"])
def test_cleanup_takes_a_folder_that_looks_like_an_option(
    paipa: Any, folder: Path, word: str
) -> None:
    (folder / word).mkdir()
    done = paipa("cleanup", "-n", "--", word)
    assert (done.returncode, done.stderr) == (0, b"paipa-etl: 0 found\n")
