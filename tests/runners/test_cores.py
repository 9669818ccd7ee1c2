"""Both cores, and threads in the midst of generators, against plain lists: the same records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plans import FAILING, RAW, Move, Stream, expected, made, mixes, plans

from paipa_etl import Pipeline, combine_pipeline, steps
from paipa_etl.run.report import Report

NUMBERS = st.lists(st.integers(0, 60), max_size=40)
LONG = st.builds(range, st.integers(0, 3), st.integers(300, 600))
SOURCES: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "generator": lambda numbers: (n for n in numbers),
    "callable": lambda numbers: lambda: iter(numbers),
}
CHOOSE, CHOOSE_BY_WORKER = Move("filter"), Move("filter", workers=1)
COUNTS = ("read", "written", "filtered", "skipped", "expanded", "folded", "left_over")


def same(found: list[Any], wanted: list[Any], plan: list[Move]) -> bool:
    """Whether they are equal; as multisets, where the plan keeps no order."""
    return sorted(found) == sorted(wanted) if mixes(plan) else found == wanted


def pulled(records: Iterator[Any]) -> Stream:
    """What an iterator gives, and what it raises then."""
    found: list[Any] = []
    try:
        found.extend(iter(lambda: next(records, ...), ...))
    except ValueError as error:
        return Stream(found, error)
    return Stream(found)


def counts(report: Report) -> dict[str, Any]:
    named = {name: getattr(report, name) for name in COUNTS}
    return named | {"retried": [step.retried for step in report.steps]}


@settings(max_examples=350, deadline=None)
@given(NUMBERS | LONG, plans(), st.sampled_from(sorted(SOURCES)))
def test_skipping_both_cores_give_what_lists_give_and_count_the_same(
    numbers: Any, plan: list[Move], source: str
) -> None:
    wanted = expected(numbers, plan, "skip")
    start = SOURCES[source]
    serial = Pipeline(start(numbers), made(plan, threads=False), one := [], on_error="skip").run()
    report = Pipeline(start(numbers), made(plan, threads=True), two := [], on_error="skip").run()
    assert one == wanted.records
    assert same(two, wanted.records, plan)
    assert serial.balanced
    assert report.balanced
    if not any(move.kind == "limit" for move in plan):
        assert counts(report) == counts(serial)
        assert report.skipped == wanted.skipped
    iterated = Pipeline(start(numbers), made(plan, threads=True), on_error="skip")
    assert same(list(iterated), wanted.records, plan)


@settings(max_examples=350, deadline=None)
@given(NUMBERS | LONG, plans(ordered=True), st.sampled_from(sorted(SOURCES)))
def test_failing_both_cores_give_the_same_records_and_then_the_same_error(
    numbers: Any, plan: list[Move], source: str
) -> None:
    wanted = expected(numbers, plan, "fail")
    for threads in (False, True):
        found = pulled(iter(Pipeline(SOURCES[source](numbers), made(plan, threads=threads))))
        assert found.records == wanted.records
        assert repr(found.error) == repr(wanted.error)
    assert_run_agrees(SOURCES[source](numbers), plan, wanted)


def assert_run_agrees(source: Any, plan: list[Move], wanted: Stream) -> None:
    """A run raises where an iterator would; of several failures the first in time."""
    run = Pipeline(source, made(plan, threads=True), out := ["before"])
    if wanted.error is None:
        assert run.run().balanced
        assert out == ["before", *wanted.records]
    else:
        with pytest.raises(ValueError, match=r"^\d+\n"):
            run.run()
        assert out == ["before"]


@settings(max_examples=200, deadline=None)
@given(NUMBERS | LONG, plans(ordered=True), st.integers(0, 5), st.booleans())
def test_threads_among_nested_generators_give_the_same(
    numbers: Any, plan: list[Move], cut: int, generators: bool
) -> None:
    wanted = expected(numbers, plan, "fail")
    front, back = made(plan[:cut], threads=True), made(plan[cut:], threads=True)
    behind = made(plan[cut:], threads=False) if generators else steps.threaded(back)
    found = pulled(combine_pipeline(iter(numbers), [steps.threaded(front), behind]))
    assert found.records == wanted.records
    assert repr(found.error) == repr(wanted.error)


def test_threads_behind_threads_go_on_when_the_first_have_ended() -> None:
    first = steps.threaded(steps.map(abs, workers=2))
    second = steps.threaded(steps.map(str, workers=2))
    assert list(combine_pipeline(range(5), [first, second])) == ["0", "1", "2", "3", "4"]
    assert list(second(first(range(5)))) == ["0", "1", "2", "3", "4"]


def test_a_failure_behind_threads_is_noted_with_its_own_record() -> None:
    def fail(n: int) -> float:
        return 1 / (n - 3)

    made_steps = [steps.threaded(steps.map(abs, workers=2)), steps.map(fail)]
    with pytest.raises(ZeroDivisionError) as caught:
        list(combine_pipeline(range(5000), made_steps))
    assert caught.value.__notes__ == ["in map(fail), record 4"]


def test_a_coroutine_step_alone_ends_its_event_loop() -> None:
    async def later(n: int) -> int:
        return n + 1

    assert list(steps.map(later)(range(3))) == [1, 2, 3]  # conftest looks for its thread


@settings(max_examples=150, deadline=None)
@given(NUMBERS | LONG, plans(ordered=True), st.sampled_from(["fail", "skip"]))
def test_from_file_to_file_the_bytes_are_those_of_the_generator_core(
    numbers: Any, plan: list[Move], on_error: str
) -> None:
    wanted = expected(numbers, plan, on_error)
    with TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl.gz")
        Pipeline(list(numbers), [], source).run()
        written: list[bytes] = []
        for threads in (False, True):
            target = Path(folder, f"out-{threads}.jsonl")
            target.write_text("before")
            run = Pipeline(source, made(plan, threads=threads), target, on_error=on_error)
            if wanted.error is None:
                report = run.run()
                assert report.balanced
                assert report.written == len(wanted.records)
            else:
                with pytest.raises(ValueError, match=r"^\d+\n"):
                    run.run()
            written.append(target.read_bytes())
    assert written[0] == written[1]
    lines = [b"%d\n" % record for record in wanted.records]
    assert written[1] == (b"before" if wanted.error else b"".join(lines))


def line_of(n: int) -> bytes:
    """A record as no encoder would write it."""
    return [b"%d", b" %d\t", b"%d "][n % 3] % n


@settings(max_examples=150, deadline=None)
@given(NUMBERS | LONG, plans(RAW), st.booleans())
@example(range(300), [CHOOSE, CHOOSE_BY_WORKER, CHOOSE, Move("limit")], False)
@example(range(300), [CHOOSE, Move("limit"), CHOOSE_BY_WORKER], False)
def test_lines_that_are_only_chosen_leave_byte_for_byte(
    numbers: Any, plan: list[Move], bad: bool
) -> None:
    wanted = expected(numbers, plan, "skip")
    lines = [line_of(n) for n in numbers]
    text = b"\n".join(
        [*lines[: len(lines) // 2], b"{bad" if bad else b"", *lines[len(lines) // 2 :]]
    )
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        source.write_bytes(text)
        report = Pipeline(source, made(plan, threads=True), target, on_error="skip").run()
        written = target.read_bytes()
    assert report.balanced
    assert same(written.splitlines(), [line_of(n) for n in wanted.records], plan)
    assert written.endswith(b"\n") or not wanted.records


@pytest.mark.parametrize("kind", sorted(FAILING))
@pytest.mark.parametrize("workers", [1, 4])
def test_each_kind_that_fails_is_skipped_and_counted(kind: str, workers: int) -> None:
    plan = [Move(kind, workers=workers)]
    wanted = expected(range(1000), plan, "skip")
    report = Pipeline(range(1000), made(plan, threads=True), out := [], on_error="skip").run()
    assert out == wanted.records
    assert (report.skipped, report.balanced) == (25, True)
    assert json.loads(json.dumps(report.to_dict()))["skipped"] == 25
