"""What the command refuses before anything is lost by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

OLD = b'"old"\n'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_bytes(b"1\n2\n")
    (tmp_path / "out.jsonl").write_bytes(OLD)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("report", "code"),
    [("in.jsonl", 2), ("./out.jsonl", 2), ("s3://bucket/r.json", 2), ("missing/r.json", 6)],
)
def test_a_report_that_would_cost_data(paipa: Any, files: Path, report: str, code: int) -> None:
    before = contents(files)
    done = paipa("in.jsonl", "out.jsonl", "--report", report)
    assert (done.returncode, contents(files)) == (code, before)
    assert b"report" in done.stderr


@pytest.mark.parametrize("step", ["mine.py:keep", "mine:keep@2", "link.py:keep"])
@pytest.mark.parametrize("name", ["mine.py", "./link.py"])
@pytest.mark.parametrize("role", ["report", "output"])
def test_the_file_of_a_step_is_neither_report_nor_output(
    paipa: Any, files: Path, step: str, name: str, role: str
) -> None:
    (files / "mine.py").write_text("def keep(record):\n    return record\n")
    (files / "link.py").symlink_to("mine.py")
    before = contents(files)
    words = ["-o", name] if role == "output" else ["-o", "out.jsonl", "--report", name]
    done = paipa("in.jsonl", "-t", "jsonl", "--map", step, *words)
    assert (done.returncode, contents(files)) == (2, before)
    said = f"paipa-etl: {name} is both the file of a step and the {role}\n"
    assert done.stderr == said.encode()


@pytest.mark.parametrize(
    ("words", "roles"),
    [
        (["new.jsonl", "--report", "./list.txt"], "the list of inputs and the report"),
        (["list.txt"], "the list of inputs and the output"),
        (["{stem}.txt"], "the list of inputs and an output"),
        (
            ["-t", "jsonl", "new/{stem}.json", "--report", "new/list.json"],
            "the report and an output",
        ),
    ],
)
def test_the_list_of_inputs_and_the_report_are_no_outputs(
    paipa: Any, files: Path, words: list[str], roles: str
) -> None:
    (files / "list.jsonl").write_bytes(b"1\n")
    (files / "list.txt").write_text("list.jsonl\n")
    (files / "new").mkdir()
    (files / "new" / "list.json").write_bytes(OLD)
    before = contents(files)
    done = paipa("--files-from", "list.txt", *words)
    assert (done.returncode, contents(files)) == (2, before)
    assert done.stderr.endswith(f" is both {roles}\n".encode())
    assert (files / "new" / "list.json").read_bytes() == OLD


@pytest.mark.parametrize("out", ["out.jsonl", "{stem}.txt"])
def test_a_report_of_no_name_is_refused(paipa: Any, files: Path, out: str) -> None:
    before = contents(files)
    done = paipa("in.jsonl", out, "--report", "")
    assert (done.returncode, contents(files)) == (2, before)
    assert done.stderr.endswith(b"argument --report: an empty path is no file\n")


def test_a_dry_run_refuses_what_the_run_would(paipa: Any, files: Path) -> None:
    done = paipa("in.jsonl", "in.jsonl", "-n")
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("words", [["--map"], ["--on-error", "skip", "--filter"]])
def test_a_step_that_exits_is_no_success(paipa: Any, files: Path, words: list[str]) -> None:
    before = contents(files)
    done = paipa("in.jsonl", "out.jsonl", *words, "lambda r: __import__('sys').exit()")
    assert (done.returncode, contents(files)) == (1, before)
    assert b"exit()" in done.stderr


def test_options_may_stand_between_operands(paipa: Any, files: Path) -> None:
    assert paipa("in.jsonl", "--limit", "1", "out.jsonl", "-q").returncode == 0
    assert (files / "out.jsonl").read_bytes() == b"1\n"


def test_a_target_that_ends_with_a_slash(paipa: Any, files: Path) -> None:
    before = contents(files)
    assert paipa("in.jsonl", "new/").returncode == 6
    assert contents(files) == before


@pytest.mark.parametrize(
    "name",
    [
        "new/{Stem}.jsonl",
        "{stme}",
        "{indx:03}.jsonl",
        "{stem}-{Name}",
        "{stem}-{.jsonl",
        "{word!r}",
    ],
)
@pytest.mark.parametrize("words", [["-o"], ["-n", "-o"]])
def test_a_field_that_is_mistyped(paipa: Any, files: Path, name: str, words: list[str]) -> None:
    before = contents(files)
    done = paipa("in.jsonl", "out.jsonl", *words, name)
    assert (done.returncode, done.stdout, contents(files)) == (2, b"", before)
    assert b"a brace of its own is doubled" in done.stderr
    assert not (files / "new").exists()


def test_the_known_fields_are_told(paipa: Any, files: Path) -> None:
    done = paipa("in.jsonl", "{Stem}.jsonl")
    said = b"paipa-etl: {Stem}.jsonl: {Stem} is no field; known: {stem}, {name}, {index}, {path} "
    assert done.stderr.startswith(said)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("{{Stem}}.jsonl", "{Stem}.jsonl"),
        ("{{stem}}.jsonl", "{stem}.jsonl"),
        ("{stem}-{{stem}}.jsonl", "in-{stem}.jsonl"),
        ("{.jsonl", "{.jsonl"),
        ("{}{1}.jsonl", "{}{1}.jsonl"),
    ],
)
def test_braces_of_the_name_itself(paipa: Any, files: Path, typed: str, name: str) -> None:
    done = paipa("in.jsonl", typed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (files / name).read_bytes() == b"1\n2\n"
    assert set(contents(files)) == {"in.jsonl", "out.jsonl", name}


@pytest.mark.parametrize("option", ["--transfers=2", "--transfers=4", "--skip-done"])
@pytest.mark.parametrize("out", ["-", "new.jsonl", "{{stem}}.jsonl"])
def test_options_for_many_outputs_need_a_field(
    paipa: Any, files: Path, option: str, out: str
) -> None:
    before = contents(files)
    done = paipa("in.jsonl", out, option)
    assert (done.returncode, done.stdout, contents(files)) == (2, b"", before)
    name = option.partition("=")[0]
    assert done.stderr.startswith(f"paipa-etl: {name} needs one output for each input".encode())
    assert paipa("in.jsonl", "{stem}.new", option).returncode == 0


def test_a_variable_for_many_outputs_means_nothing_for_one(
    paipa: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIPA_ETL_TRANSFERS", "2")
    monkeypatch.setenv("PAIPA_ETL_SKIP_DONE", "1")
    assert paipa("in.jsonl").stdout == b"1\n2\n"


@pytest.mark.parametrize("link", ["folder", "file"])
def test_an_output_that_replaces_another_input_through_a_link(
    paipa: Any, files: Path, link: str
) -> None:
    """The second input would be read when the first one's output has replaced it."""
    for name in ("1.jsonl", "2.jsonl"):
        (files / name).write_text(f'"{name}"\n')
    if link == "folder":
        (files / "new").symlink_to(".")
    else:
        (files / "new").mkdir()
        (files / "new" / "1.jsonl").symlink_to("../1.jsonl")
    before = contents(files)
    done = paipa("2.jsonl", "1.jsonl", "-o", "new/{index}.jsonl", "--transfers", "1")
    assert (done.returncode, contents(files)) == (2, before)
    assert not (files / "new" / "2.jsonl").exists() or link == "folder"
