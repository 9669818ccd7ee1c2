"""Errors: each as itself, once told where; what is skipped is counted; words stay short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import BadRecord, Pipeline, PlanError, Skip, read, steps, write
from paipa_etl.errors import PaipaError, describe, note, shown

COUNT = 30


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{n}\n" for n in range(COUNT)))
    return path


class Fails:
    """A function that fails on one record; named as plans name an instance."""

    def __init__(self, at: int, error: type[Exception] = KeyError) -> None:
        self.at, self.error = at, error

    def __call__(self, n: Any) -> Any:
        if n == self.at:
            raise self.error(n)
        return [n]


def generator_step(fails: Fails) -> Any:
    def checked(records: Iterable[int]) -> Iterator[int]:
        for record in records:
            fails(record)
            yield record

    return checked


def keep(_: Any) -> bool:
    return True


def same(record: Any) -> Any:
    return record


PLANS = {
    "map": lambda fails: [steps.map(fails)],
    "filter": lambda fails: [steps.filter(keep), steps.filter(fails)],
    "filter behind a map": lambda fails: [steps.map(same), steps.filter(fails)],
    "filter behind slices": lambda fails: [steps.limit(COUNT), steps.filter(fails)],
    "tap": lambda fails: [steps.tap(fails)],
    "flat_map": lambda fails: [steps.flat_map(fails)],
    "generator": lambda fails: [generator_step(fails)],
    "generator behind a generator": lambda fails: [
        generator_step(Fails(-1)),
        generator_step(fails),
    ],
}
NAMES = {"generator": "checked", "generator behind a generator": "checked"}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("at", range(0, COUNT, 7))
def test_one_note_says_step_record_and_location(numbers: Path, plan: str, at: int) -> None:
    name = NAMES.get(plan, f"{plan.split()[0]}(Fails)")
    byte = numbers.read_text().index(f"{at}\n") if at > 9 else 2 * at
    with pytest.raises(KeyError) as caught:
        Pipeline(numbers, PLANS[plan](Fails(at)), numbers.with_name("out.jsonl")).run()
    place = f"record {at + 1} of {numbers} (line {at + 1}, byte {byte})"
    assert caught.value.__notes__ == [f"in {name}, {place}"]
    assert not numbers.with_name("out.jsonl").exists()


@pytest.mark.parametrize("plan", [name for name in PLANS if "generator" not in name])
def test_skip_leaves_out_that_record_and_no_other(numbers: Path, plan: str) -> None:
    report = Pipeline(numbers, PLANS[plan](Fails(7)), out := [], on_error="skip").run()
    assert len(out) == COUNT - 1
    assert (report.read, report.skipped, report.filtered) == (COUNT, 1, 0)
    assert report.balanced
    assert "record 8 of" in report.errors[0]


@pytest.mark.parametrize("error", [BadRecord, PlanError, ValueError])
def test_a_generator_that_raises_an_error_of_ours_is_named_too(
    numbers: Path, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        Pipeline(numbers, [generator_step(Fails(3, error))]).run()
    assert "in checked, record 4" in describe(caught.value)


def test_an_error_object_that_is_raised_again_says_where_it_was_raised_last() -> None:
    error = ValueError("the same object")

    def fail(n: int) -> None:
        if n == 3:
            raise error

    with pytest.raises(ValueError, match="same"):
        Pipeline([3], [steps.map(fail)]).run()
    with pytest.raises(ValueError, match="same"):
        Pipeline([1, 2, 3], [steps.map(fail)]).run()
    assert "record 3" in describe(error)


def test_a_note_of_the_users_own_hides_no_place(numbers: Path) -> None:
    def fail(n: int) -> None:
        error = ValueError(n)
        error.add_note("in the morning")
        raise error

    with pytest.raises(ValueError, match="0") as caught:
        Pipeline(numbers, [steps.map(fail)]).run()
    assert "record 1 of" in describe(caught.value)


@pytest.mark.parametrize("error", [OSError, StopIteration])
def test_a_source_that_cannot_start_is_named(error: type[Exception]) -> None:
    def source() -> Iterable[int]:
        raise error("no start")

    expected = RuntimeError if error is StopIteration else error
    with pytest.raises(expected) as caught:
        Pipeline(source).run()
    assert "in the source" in describe(caught.value)


def test_a_step_that_raises_stop_iteration_when_called_is_named() -> None:
    def first(records: Iterable[int]) -> Iterator[int]:
        return iter([next(iter([]))])  # type: ignore[call-overload]

    with pytest.raises(RuntimeError) as caught:
        Pipeline([1], [first]).run()
    assert "in first" in describe(caught.value)


def test_the_sink_is_named_for_what_cannot_be_written() -> None:
    with pytest.raises(BadRecord) as caught:
        Pipeline([1, float("nan")], [], write(bytearray())).run()
    assert "in the sink, record 2" in describe(caught.value)
    report = Pipeline([1, float("nan"), 2], [], write(out := bytearray()), on_error="skip").run()
    assert out == b"1\n2\n"
    assert (report.skipped, report.balanced) == (1, True)


@pytest.mark.parametrize("made", [[], [steps.filter(keep)], [steps.map(same)]])
def test_bad_records_are_skipped_and_counted(made: list[Any]) -> None:
    text = b"1\n{bad\n2\n\n[1,\n3\n"
    report = Pipeline(text, made, write(out := bytearray()), on_error="skip").run()
    assert out == b"1\n2\n3\n"
    assert (report.read, report.written, report.skipped) == (5, 3, 2)
    assert report.balanced
    assert "record 2 of" in report.errors[0]
    assert "record 4 of" in report.errors[1]


def test_good_records_before_a_bad_one_come_first() -> None:
    seen: list[int] = []
    with pytest.raises(BadRecord, match="record 3 of"):
        Pipeline(b"1\n2\nx\n4\n", [steps.tap(seen.append)]).run()
    assert seen == [1, 2]


def test_a_few_skipped_records_are_told_and_all_are_counted() -> None:
    report = Pipeline(range(1000), [steps.map(Fails.__call__)], on_error="skip").run()
    assert report.skipped == 1000
    assert len(report.errors) == 5


def test_skip_in_a_generator_step_is_an_exception_as_any_other() -> None:
    with pytest.raises(Skip):
        Pipeline(range(5), [generator_step(Fails(2, Skip))]).run()


def test_a_stateless_generator_goes_on_behind_every_failure() -> None:
    def checked(records: Iterable[int]) -> Iterator[int]:
        for record in records:
            if record % 3 == 0:
                raise ValueError(record)
            yield record

    made = steps.declare(checked, stateless=True)
    report = Pipeline(range(10), [made], out := [], on_error="skip").run()
    assert out == [1, 2, 4, 5, 7, 8]
    assert report.skipped == 4


MESSAGES = {
    "long": "m" * 10**7,
    "control characters": "\x1b" * 10**7,
    "wide characters": "\U0001f600" * 10**7,
    "private characters": "\U000e0001" * 10**7,
    "lines": "a\n" * 10**6,
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("kind", [ValueError, KeyError, PaipaError])
def test_an_error_is_told_in_four_kilobytes_of_one_line(
    message: str, kind: type[Exception]
) -> None:
    error = kind(message)
    note(error, "map(f), record 1 of in.jsonl")
    words = describe(error)
    assert words.isprintable()
    assert "record 1 of in.jsonl" in words
    assert len(words.encode()) <= 4096


def test_a_value_is_shown_whatever_its_repr_does() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise MemoryError

    assert "MemoryError" in shown(Mute())


def test_lines_leave_byte_for_byte_without_the_blank_ones() -> None:
    lines = [
        b'{"a" :  1.0 ,"b":1E2}',
        b"-0",
        b"1" * 30,
        b" [1,  2]\t\r",
        b'"\\u0041\\/"',
        b'{"a":1,"a":2}',
    ]
    text = b"\r\n\n \t\n".join(lines)
    made = [steps.filter(keep), steps.tap(same), steps.skip(0), steps.limit(99)]
    for chosen in ([], made, made[:1], made[1:2], made[2:]):
        report = Pipeline(text, chosen, write(out := bytearray())).run()
        expected = [line if n == len(lines) - 1 else line + b"\r" for n, line in enumerate(lines)]
        assert bytes(out) == b"\n".join(expected) + b"\n"
        assert (report.read, report.written, report.balanced) == (6, 6, True)


def test_another_format_converts(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    report = Pipeline(b'"a  b"\n"\\u00e9"\n', [steps.filter(keep)], target).run()
    assert target.read_text() == "a  b\né\n"
    assert report.balanced
    assert list(read(target)) == ["a  b", "é"]


@pytest.mark.parametrize("first", [steps.filter(lambda n: n % 2), steps.skip(3)], ids=str)
@pytest.mark.parametrize("on", ["raw lines", "records"])
def test_a_record_keeps_its_number_behind_steps_that_drop_others(first: Any, on: str) -> None:
    def fail(n: int) -> bool:
        return bool(1 / (n - 7))

    text = b"1\n\n" + b"".join(b"%d\n" % n for n in range(2, 20))
    made = [first, steps.filter(fail)]
    made += [steps.map(lambda n: n)] if on == "records" else []
    with pytest.raises(ZeroDivisionError) as caught:
        Pipeline(text, made, write(bytearray())).run()
    (note,) = caught.value.__notes__
    assert "record 7 of" in note
    assert f"byte {text.index(b'7')})" in note
