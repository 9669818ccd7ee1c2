"""Ready steps: each alone, and any of them together, against plain lists."""

from __future__ import annotations

import itertools
import json
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl import Pipeline, PlanError, Skip, combine_pipeline, consume, steps, write


def double(n: int) -> int:
    return n * 2


def odd(n: int) -> bool:
    return n % 2 == 1


def below(n: int) -> range:
    return range(n % 4)


def skip_thirds(n: int) -> int:
    if n % 3 == 0:
        raise Skip
    return n


def fail_on_fifths(n: int) -> int:
    if n % 5 == 0:
        raise ValueError(n)
    return n


MADE: list[tuple[Callable[[], Any], list[Any], list[Any]]] = [
    (lambda: steps.map(double), [1, 2], [2, 4]),
    (lambda: steps.flat_map(below), [2, 4, 1], [0, 1, 0]),
    (lambda: steps.filter(odd), [1, 2, 3], [1, 3]),
    (lambda: steps.batch(2), [1, 2, 3], [[1, 2], [3]]),
    (lambda: steps.flatten(), [[1, 2], (), (3,)], [1, 2, 3]),
    (lambda: steps.limit(2), [1, 2, 3], [1, 2]),
    (lambda: steps.skip(2), [1, 2, 3], [3]),
    (lambda: steps.tap(double), [1, 2], [1, 2]),
]
IDS = [str(made()) for made, _, _ in MADE]


@pytest.mark.parametrize(("made", "given", "expected"), MADE, ids=IDS)
def test_a_step_does_the_same_alone_and_in_a_pipeline(
    made: Callable[[], Any], given: list[Any], expected: list[Any]
) -> None:
    assert list(made()(given)) == expected
    assert list(combine_pipeline(given, made())) == expected
    assert list(combine_pipeline(given, [[made()]])) == expected
    report = Pipeline(given, made(), out := []).run()
    assert out == expected
    assert report.balanced


@pytest.mark.parametrize(("made", "given", "expected"), MADE, ids=IDS)
def test_a_step_of_no_records_gives_none(
    made: Callable[[], Any], given: list[Any], expected: list[Any]
) -> None:
    assert list(made()([])) == []


@pytest.mark.parametrize(("made", "given", "expected"), MADE, ids=IDS)
def test_a_step_is_plain_data(
    made: Callable[[], Any], given: list[Any], expected: list[Any]
) -> None:
    step = made()
    assert step == made()
    assert hash(step) == hash(made())
    assert pickle.loads(pickle.dumps(step)) == step  # noqa: S301  (our own bytes)
    assert "object at 0x" not in f"{step!s} {step!r}"
    with pytest.raises(AttributeError):
        step.function = None


def test_a_step_can_be_used_twice() -> None:
    limited = steps.limit(2)
    assert list(limited("abc")) == list(limited("abc")) == ["a", "b"]


def test_an_endless_source_is_read_no_further_than_the_limit() -> None:
    read: list[int] = []
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            for n in itertools.count():
                read.append(n)
                yield n
        finally:
            closed.append(True)

    report = Pipeline(endless, [steps.limit(3)], out := []).run()
    assert (out, read, closed) == ([0, 1, 2], [0, 1, 2], [True])
    assert (report.read, report.written, report.balanced) == (3, 3, True)


def test_a_limit_of_nothing_reads_nothing() -> None:
    read: list[int] = []
    source = (read.append(n) or n for n in range(3))
    assert list(combine_pipeline(source, [steps.limit(0)])) == []
    assert read == []


@pytest.mark.parametrize("kind", ["map", "flat_map", "filter", "tap"])
def test_a_raised_skip_is_counted_as_filtered(kind: str) -> None:
    def drop(n: int) -> list[int]:
        if n == 1:
            raise Skip
        return [n]

    report = Pipeline(range(3), [getattr(steps, kind)(drop)]).run()
    assert (report.read, report.written, report.filtered) == (3, 2, 1)
    assert report.balanced


@pytest.mark.parametrize("kind", ["map", "flat_map", "filter", "tap"])
def test_a_raised_stop_iteration_does_not_end_the_stream(kind: str) -> None:
    def stop(n: int) -> list[int]:
        if n == 1:
            raise StopIteration
        return [n]

    step = getattr(steps, kind)(stop)
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(step(range(3)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        Pipeline(range(3), [step]).run()
    report = Pipeline(range(3), [step], on_error="skip").run()
    assert (report.written, report.skipped, report.balanced) == (2, 1, True)


VALUES = [None, Exception(), StopIteration(), GeneratorExit(), Skip(), False, (), float("nan")]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_value_is_a_record(value: Any) -> None:
    made = [
        steps.map(lambda v: v),
        steps.tap(lambda v: v),
        steps.filter(lambda _: True),
        steps.flat_map(lambda v: [v]),
        steps.batch(2),
        steps.flatten(),
    ]
    (one, two) = combine_pipeline([value, value], made)
    assert one is two is value


@pytest.mark.parametrize("record", ["text", b"bytes", {"a": 1}, 3, None])
def test_flatten_takes_lists_and_no_text(record: Any) -> None:
    with pytest.raises(TypeError) as caught:
        list(combine_pipeline([record], [steps.flatten()]))
    assert caught.value.__notes__ == ["in flatten, record 1"]


def test_flat_map_takes_records_one_by_one_from_an_endless_iterable() -> None:
    flow = combine_pipeline([5], [steps.flat_map(itertools.count), steps.limit(2)])
    assert list(flow) == [5, 6]


def test_what_flat_map_gave_before_it_failed_is_counted() -> None:
    def two_then_fail(n: int) -> Iterator[int]:
        yield n
        yield n
        raise ValueError(n)

    report = Pipeline([1, 2], [steps.flat_map(two_then_fail)], out := [], on_error="skip").run()
    assert out == [1, 1, 2, 2]
    assert (report.skipped, report.expanded, report.balanced) == (2, 4, True)


@pytest.mark.parametrize("ready", [steps.limit, steps.skip, steps.batch])
@pytest.mark.parametrize("count", [-1, 1.0, "1", None])
def test_a_count_is_a_whole_number(ready: Callable[[Any], Any], count: Any) -> None:
    with pytest.raises(PlanError, match=rf"^{ready.__name__} takes a whole number"):
        ready(count)


class Stepping:
    def __call__(self, records: Iterable[Any]) -> Iterator[Any]:
        return iter(records)


@pytest.mark.parametrize("verb", ["map", "flat_map", "filter", "tap"])
def test_a_misspelled_keyword_argument_is_an_error(verb: str) -> None:
    """The keyword arguments come as a dictionary, of which Python does not check the names."""
    with pytest.raises(
        TypeError, match=rf"{verb}\(\) got an unexpected keyword argument 'wrokers'"
    ):
        getattr(steps, verb)(str, wrokers=3)


@pytest.mark.parametrize("wrong", [Stepping, "map", 3, None, {"a": 1}, [steps.limit(1), "x"]])
def test_what_is_no_step_is_a_plan_error(wrong: Any) -> None:
    with pytest.raises(PlanError, match="step"):
        combine_pipeline([1], wrong)
    with pytest.raises(PlanError, match="step"):
        Pipeline([1], wrong)


def test_no_thread_runs_beside_a_combined_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("1\n2\n")
    before = threading.enumerate()
    for record in combine_pipeline(path, [steps.map(double)]):
        assert record in (2, 4)
        assert threading.enumerate() == before


@pytest.mark.parametrize("n", [0, 1, 3, 9, None])
def test_consume_goes_so_far_and_no_further(n: int | None) -> None:
    rest = iter(range(5))
    consume(rest, n)
    assert list(rest) == list(range(5))[len(range(5)) if n is None else n :]


def test_the_three_spellings_are_one_plan(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    whole = Pipeline(source, [steps.map(double), steps.limit(1)], target)
    piped = Pipeline(source) | steps.map(double) | steps.limit(1) | write(target)
    nested = Pipeline(Pipeline(source, [steps.map(double)]), [[steps.limit(1)]], str(target))
    assert whole == piped == nested
    assert str(whole) == str(piped) == str(nested)
    assert not target.exists()


# The model: what each kind makes of a list, and how many of its records it skips.
MODEL: dict[str, tuple[Callable[[int], Any], Callable[[list[int], int], list[int]]]] = {
    "map": (lambda _: steps.map(double), lambda rs, _: [double(r) for r in rs]),
    "drop": (lambda _: steps.map(skip_thirds), lambda rs, _: [r for r in rs if r % 3]),
    "fail": (lambda _: steps.map(fail_on_fifths), lambda rs, _: [r for r in rs if r % 5]),
    "judge": (
        lambda _: steps.filter(lambda r: fail_on_fifths(r) or True),
        lambda rs, _: [r for r in rs if r % 5],
    ),
    "filter": (lambda _: steps.filter(odd), lambda rs, _: [r for r in rs if odd(r)]),
    "tap": (lambda _: steps.tap(double), lambda rs, _: rs),
    "expand": (lambda _: steps.flat_map(below), lambda rs, _: [k for r in rs for k in below(r)]),
    "limit": (steps.limit, lambda rs, n: rs[:n]),
    "skip": (steps.skip, lambda rs, n: rs[n:]),
    "sum": (
        lambda n: [steps.batch(n + 1), steps.map(sum)],
        lambda rs, n: [sum(rs[k : k + n + 1]) for k in range(0, len(rs), n + 1)],
    ),
}
PLANS = st.lists(st.tuples(st.sampled_from(sorted(MODEL)), st.integers(0, 7)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=40), PLANS)
def test_any_pipeline_agrees_with_lists_and_its_counts_add_up(
    numbers: list[int], plan: list[tuple[str, int]]
) -> None:
    expected = numbers
    for name, n in plan:
        expected = MODEL[name][1](expected, n)
    made = [MODEL[name][0](n) for name, n in plan]
    report = Pipeline(numbers, made, out := [], on_error="skip").run()
    assert out == expected
    assert report.balanced
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "in.jsonl.gz"), Path(folder, "out.jsonl")
        Pipeline(numbers, [], source).run()
        from_file = Pipeline(source, made, target, on_error="skip").run()
        assert [json.loads(line) for line in target.read_bytes().splitlines()] == expected
    assert from_file.balanced
    assert from_file.written == report.written == len(expected)
    assert from_file.read <= len(numbers)
