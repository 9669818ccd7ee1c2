"""Pipelines and steps: one fold, lazily pulled, closed from the right, counted."""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import live_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl import Pipeline, PlanError, Skip, combine_pipeline, consume, read, steps, write
from paipa_etl.errors import describe


def double(n: int) -> int:
    return n * 2


def odd(n: int) -> bool:
    return n % 2 == 1


def twice(records: Iterable[Any]) -> Iterator[Any]:
    for record in records:
        yield record
        yield record


class Add:
    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, records: Iterable[int]) -> Iterator[int]:
        return (record + self.n for record in records)


def test_steps_are_callables_of_any_kind_nested_in_any_way() -> None:
    assert list(combine_pipeline(range(3), [Add(1), [twice, [steps.map(double)]]])) == [
        2, 2, 4, 4, 6, 6,
    ]  # fmt: skip
    assert list(combine_pipeline([1, 2, 3], [functools.partial(filter, odd)])) == [1, 3]
    assert list(combine_pipeline([3, 1, 2], [sorted, itertools.accumulate])) == [1, 3, 6]


def test_a_callable_source_gives_a_callable() -> None:
    assert list(combine_pipeline(range, [steps.map(double)])(1, 4)) == [2, 4, 6]


def test_records_are_pulled_one_by_one_and_no_thread_starts() -> None:
    pulled: list[int] = []
    source = (pulled.append(n) or n for n in itertools.count())
    threads = threading.active_count()
    flow = combine_pipeline(source, [steps.map(double), twice])
    assert pulled == []
    assert [next(flow), next(flow), next(flow)] == [0, 0, 2]
    assert pulled == [0, 1]
    assert threading.active_count() == threads
    flow.close()


def test_read_ahead_is_a_thread_that_ends_with_the_iteration() -> None:
    records = iter(read(b"1\n2\n3\n", read_ahead=True))
    assert next(records) == 1
    records.close()
    assert [t for t in live_threads() if t.name.startswith("paipa")] == []


@pytest.mark.parametrize("ending", ["close", "drop", "limit"])
def test_early_stop_closes_every_generator_and_the_source(ending: str) -> None:
    closed: list[str] = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append("source")

    def step(records: Iterable[int]) -> Iterator[int]:
        try:
            for record in records:  # noqa: UP028  (yield from would hand the closing on first)
                yield record
        finally:
            closed.append("step")

    flow = combine_pipeline(source(), [step, steps.limit(2)])
    if ending == "limit":
        assert list(flow) == [0, 1]
    else:
        assert next(flow) == 0
        flow.close() if ending == "close" else None
        del flow
    assert closed == ["step", "source"]


def test_none_is_a_record_and_skip_drops_one() -> None:
    def some(n: int) -> None:
        if n == 1:
            raise Skip

    report = Pipeline(range(3), [steps.map(some)], out := []).run()
    assert out == [None, None]
    assert (report.read, report.filtered, report.balanced) == (3, 1, True)


def test_consume() -> None:
    rest = iter(range(5))
    consume(rest, 2)
    assert next(rest) == 2
    consume(rest)
    assert list(rest) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: steps.limit(-1),
        lambda: steps.batch(0),
        lambda: Pipeline([], [Add]),
        lambda: Pipeline([], ["f"]),
        lambda: Pipeline(3),
        lambda: Pipeline([], [], 3),
        lambda: Pipeline([], on_error="ignore"),
        lambda: read(),
        lambda: write("x.jsonl", level=3),
        lambda: write("x.gz", level=10),
        lambda: write("x", to="nope"),
        lambda: iter(Pipeline([1], [], [])),
        lambda: Pipeline([], [], "out") | steps.limit(1),
    ],
)
def test_what_cannot_run_is_a_plan_error(wrong: Any) -> None:
    with pytest.raises(PlanError):
        wrong()


def test_a_plan_is_frozen_comparable_printable_and_picklable() -> None:
    def plan() -> Pipeline:
        return read("in.jsonl.gz") | steps.map(double) | twice | write("out.jsonl.zst", level=5)

    assert plan() == plan()
    assert pickle.loads(pickle.dumps(plan())) == plan()  # noqa: S301  (our own bytes)
    assert str(plan()).splitlines() == [
        "read   in.jsonl.gz  (jsonl, gzip)",
        "step   map(double)",
        "step   twice",
        "write  out.jsonl.zst  (jsonl, zstd)",
    ]
    with pytest.raises(AttributeError):
        plan().sink = None  # type: ignore[misc]


def test_a_source_that_was_read_says_so() -> None:
    for source in (iter([1]), io.BytesIO(b"1\n")):
        pipeline = Pipeline(source, [], [])
        assert pipeline.run().written == 1
        with pytest.raises(PlanError, match="only once"):
            pipeline.run()
    pipeline = Pipeline([1, 2])
    assert pipeline.run().read == pipeline.run().read == 2


def test_records_that_no_step_changes_leave_as_they_came() -> None:
    lines = [b'{"a": 1.0,  "b":1E2}\r', b"-0", b"123456789012345678901234567890", b' "\\u0041" ']
    out = bytearray()
    made = [steps.filter(lambda _: True), steps.tap(lambda _: None), steps.skip(1), steps.limit(2)]
    report = Pipeline(b"\n\n".join(lines), made, write(out)).run()
    assert out == b"\n".join(lines[1:3]) + b"\n"
    assert report.balanced


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


POISON = [
    KeyError("x"), StopIteration(), MemoryError(), RecursionError(), Broken(),
    ValueError("m" * 10**7),
    SystemExit(3), KeyboardInterrupt(), GeneratorExit(),
]  # fmt: skip


@pytest.mark.parametrize("poison", POISON, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("kind", ["map", "filter", "flat_map", "tap", "step"])
@pytest.mark.parametrize("at", [0, 7, 19])
def test_a_failure_surfaces_as_itself_and_publishes_nothing(
    tmp_path: Path, poison: BaseException, kind: str, at: int
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f"{n}\n" for n in range(20)))
    target.write_text("old\n")

    def fail(n: int) -> Any:
        if n == at:
            raise type(poison)(*poison.args)
        return [n]

    def step(records: Iterable[int]) -> Iterator[int]:
        for record in records:
            fail(record)
            yield record

    made = step if kind == "step" else getattr(steps, kind)(fail)
    expected = RuntimeError if isinstance(poison, StopIteration) else type(poison)
    with pytest.raises(expected) as caught:
        Pipeline(source, [made], target).run()
    assert target.read_text() == "old\n"
    if isinstance(poison, Exception):
        words = describe(caught.value)
        assert f"record {at + 1} of {source}" in words
        assert len(words) < 4_000
        assert len([n for n in caught.value.__notes__ if n.startswith("in ")]) == 1


def test_skip_acts_at_the_call_and_keeps_the_counts() -> None:
    def fail(n: int) -> int:
        return n if 1 / (n % 3) else 0

    for made in ([steps.map(fail)], [steps.filter(lambda n: fail(n) or True)]):
        report = Pipeline(range(9), made, out := [], on_error="skip").run()
        assert out == [1, 2, 4, 5, 7, 8]
        assert (report.skipped, report.balanced, len(report.errors)) == (3, True, 3)


def test_a_generator_step_that_raised_is_over_unless_it_is_stateless() -> None:
    def checked(records: Iterable[int]) -> Iterator[int]:
        for record in records:
            if record == 2:
                raise ValueError(record)
            yield record

    with pytest.raises(ValueError, match="2"):
        Pipeline(range(5), [checked], [], on_error="skip").run()
    stateless = steps.declare(checked, stateless=True)
    report = Pipeline(range(5), [stateless], out := [], on_error="skip").run()
    assert out == [0, 1, 3, 4]
    assert report.skipped == 1


def test_a_failing_source_is_named() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone") as caught:
        Pipeline(source, [steps.map(double), twice]).run()
    assert caught.value.__notes__ == ["in the source, after record 1"]


MODEL: dict[str, tuple[Any, Any]] = {
    "map": (steps.map(double), lambda rs: [double(r) for r in rs]),
    "filter": (steps.filter(odd), lambda rs: [r for r in rs if odd(r)]),
    "flat_map": (
        steps.flat_map(lambda n: range(n % 4)),
        lambda rs: [k for r in rs for k in range(r % 4)],
    ),
    "limit": (steps.limit(5), lambda rs: rs[:5]),
    "skip": (steps.skip(3), lambda rs: rs[3:]),
    "batch": (
        [steps.batch(3), steps.flatten()],
        lambda rs: rs,
    ),
    "tap": (steps.tap(double), lambda rs: rs),
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 50), max_size=40),
    st.lists(st.sampled_from(sorted(MODEL)), max_size=5),
)
def test_every_way_agrees_with_plain_lists(numbers: list[int], names: list[str]) -> None:
    expected = numbers
    for name in names:
        expected = MODEL[name][1](expected)
    made = [MODEL[name][0] for name in names]
    assert list(combine_pipeline(numbers, made)) == expected
    text = b"".join(b"%d\n" % n for n in numbers)
    out = bytearray()
    report = Pipeline(text, made, write(out)).run()
    assert [json.loads(line) for line in out.splitlines()] == expected
    assert report.balanced
    assert report.written == len(expected)
    assert report.read <= len(numbers)
