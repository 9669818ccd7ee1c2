"""Functions of filter and tap that change their record: found, named, and never half written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paipa_etl import Pipeline, read, steps, write
from paipa_etl.errors import ChangedRecord

LINES = b'{"name":"a","password":"secret","x":1.10}\n{"name":"b","password":"secret","x":1e999}\n'


def drop_password(record: dict[str, Any]) -> bool:
    record.pop("password", None)
    return True


def change_inside(record: dict[str, Any]) -> bool:
    record["name"] += "!"
    return True


def swap_keys(record: dict[str, Any]) -> bool:
    record["name"] = record.pop("name")
    return True


def look(record: dict[str, Any]) -> bool:
    return bool(record)


STEPS = {
    "tap": lambda f: [steps.tap(f)],
    "filter": lambda f: [steps.filter(f)],
    "behind a limit": lambda f: [steps.limit(9), steps.tap(f)],
    "before a limit": lambda f: [steps.tap(f), steps.limit(9)],
    "behind another": lambda f: [steps.filter(look), steps.tap(f), steps.tap(look)],
    "tap with workers": lambda f: [steps.tap(f, workers=2)],
    "filter with workers": lambda f: [steps.filter(f, workers=2)],
    "in front of workers": lambda f: [steps.tap(f), steps.tap(look, workers=2)],
    "behind workers": lambda f: [steps.tap(look, workers=2), steps.filter(f)],
}
CHANGES = [drop_password, change_inside, swap_keys]


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("function", CHANGES)
@pytest.mark.parametrize("made", STEPS)
def test_a_change_that_would_not_be_written_ends_the_run(
    made: str, function: Any, on_error: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"before\n")
    with pytest.raises(ChangedRecord) as caught:
        Pipeline(LINES, STEPS[made](function), target, on_error).run()
    (note,) = caught.value.__notes__
    assert function.__name__ in note
    assert "record 1 of " in note
    assert target.read_bytes() == b"before\n"


@pytest.mark.parametrize("function", CHANGES)
@pytest.mark.parametrize("made", STEPS)
def test_where_records_are_written_anew_everybody_sees_the_change(made: str, function: Any) -> None:
    records: list[Any] = []
    Pipeline(LINES, STEPS[made](function), records).run()
    expected = list(read(LINES))
    for record in expected:
        function(record)
    assert records == expected
    out = bytearray()
    with pytest.raises(ChangedRecord):
        Pipeline(LINES, STEPS[made](function), write(out)).run()


@pytest.mark.parametrize("made", STEPS)
def test_a_function_that_only_looks_is_no_trouble(made: str) -> None:
    out = bytearray()
    report = Pipeline(LINES, STEPS[made](look), out).run()
    assert (bytes(out), report.written) == (LINES, 2)


def test_lines_and_numbers_without_json_are_compared_too() -> None:
    out = bytearray()
    Pipeline(read(b"a\nb\n", from_="txt"), steps.tap(look), write(out, to="txt")).run()
    assert out == b"a\nb\n"


def test_the_command_says_which_step_and_what_to_do(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    (tmp_path / "f.py").write_text("def f(r):\n    r.pop('password')\n    return True\n")
    done = paipa("in.jsonl", "out.jsonl", "--filter", "f.py:f")
    assert done.returncode == 1
    assert b"filter(f), record 1 of in.jsonl" in done.stderr
    assert b"map is for changes" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
