"""No function is called for a record that nothing downstream asked for, whichever way a plan takes.

Calls are counted for combinations of steps, and compared with plain nested generators.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl import Pipeline, Skip, combine_pipeline, steps

COUNT = 300
FAILS_ON = 23


class Calls:
    """Counts the calls of functions, in the order of the steps that have them."""

    def __init__(self) -> None:
        self.numbers: list[list[int]] = []

    def counted(self, function: Callable[[int], Any]) -> Callable[[int], Any]:
        seen: list[int] = []
        self.numbers.append(seen)

        def call(n: int) -> Any:
            seen.append(n)
            return function(n)

        return call


def even(n: int) -> bool:
    return n % 2 == 0


def skip_thirds(n: int) -> int:
    if n % 3 == 0:
        raise Skip
    return n


def fail(n: int) -> int:
    if n % 40 == FAILS_ON:
        raise ValueError(n)
    return n


def twice(n: int) -> Iterator[int]:
    yield n
    yield n


def first_three(records: Iterator[int]) -> Iterator[int]:
    return itertools.islice(records, 3)


def one_by_one(records: Iterator[int]) -> Iterator[int]:
    yield from records


# The verbs as plain generators; ``skip``: a record on which the function fails is left out.
def plain_map(f: Any, records: Any, skip: bool) -> Any:
    for n in records:
        try:
            result = f(n)
        except Skip:
            continue
        except ValueError:
            if not skip:
                raise
        else:
            yield result


def plain_filter(f: Any, records: Any, skip: bool) -> Any:
    for n in records:
        try:
            keep = f(n)
        except ValueError:
            if not skip:
                raise
        else:
            if keep:
                yield n


def plain_tap(f: Any, records: Any, skip: bool) -> Any:
    return plain_filter(lambda n: (f(n), True)[1], records, skip)


def plain_flat_map(f: Any, records: Any, skip: bool) -> Any:
    for n in records:
        yield from f(n)


FUNCTIONS: dict[str, tuple[Any, Any, Any]] = {
    "map": (steps.map, plain_map, lambda n: n),
    "map with skip": (steps.map, plain_map, skip_thirds),
    "failing map": (steps.map, plain_map, fail),
    "filter": (steps.filter, plain_filter, even),
    "failing filter": (steps.filter, plain_filter, lambda n: fail(n) >= 0),
    "tap": (steps.tap, plain_tap, lambda n: None),
    "failing tap": (steps.tap, plain_tap, fail),
    "flat_map": (steps.flat_map, plain_flat_map, twice),
}
OTHERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "limit 1": (steps.limit(1), lambda records: itertools.islice(records, 1)),
    "limit 20": (steps.limit(20), lambda records: itertools.islice(records, 20)),
    "skip 5": (steps.skip(5), lambda records: itertools.islice(records, 5, None)),
    "generator": (one_by_one, one_by_one),
    "generator that stops": (first_three, first_three),
}
NAMES = [*FUNCTIONS, *OTHERS]


def made(names: list[str], calls: Calls) -> list[Any]:
    found = []
    for name in names:
        if name in FUNCTIONS:
            verb, _, function = FUNCTIONS[name]
            found.append(verb(calls.counted(function)))
        else:
            found.append(OTHERS[name][0])
    return found


def plain(names: list[str], calls: Calls, records: Any, skip: bool) -> Any:
    for name in names:
        if name in FUNCTIONS:
            _, generator, function = FUNCTIONS[name]
            records = generator(calls.counted(function), records, skip)
        else:
            records = OTHERS[name][1](records)
    return records


def outcome(take: Callable[[], Any]) -> Any:
    """What is raised, or what comes."""
    try:
        return take()
    except ValueError as error:
        return f"{type(error).__name__}: {error.args[0]}"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("calls") / "numbers.jsonl"
    path.write_text("".join(f"{n}\n" for n in range(COUNT)))
    return path


def ways(source: Path, names: list[str], calls: Calls, on_error: str) -> dict[str, Any]:
    """Every way to carry out a plan; each gives its records, or raises."""

    def plan(sink: Any = None) -> Pipeline:
        return Pipeline(source, made(names, calls), sink, on_error)

    def to_list() -> list[Any]:
        plan(found := []).run()
        return found

    def to_file() -> list[int]:
        plan(out := bytearray()).run()
        return [int(line) for line in out.splitlines()]

    def to_text() -> list[int]:
        target = source.with_name("out.txt")
        renamed = Pipeline(source, [*made(names, calls), steps.map(str)], target, on_error)
        renamed.run()
        return [int(line) for line in target.read_text().splitlines()]

    found = {"iterated": lambda: list(plan()), "list": to_list, "file": to_file, "text": to_text}
    if on_error == "fail":
        found["combined"] = lambda: list(combine_pipeline(source, made(names, calls)))
    return found


def assert_same_calls(source: Path, names: list[str], on_error: str) -> None:
    wanted = Calls()
    skip = on_error == "skip"
    expected = outcome(lambda: list(plain(names, wanted, iter(range(COUNT)), skip)))
    for way in ways(source, names, Calls(), on_error):
        calls = Calls()
        assert outcome(ways(source, names, calls, on_error)[way]) == expected, way
        assert calls.numbers == wanted.numbers, way


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_two_steps_call_as_plain_generators_do(
    first: str, second: str, on_error: str, numbers: Path
) -> None:
    assert_same_calls(numbers, [first, second], on_error)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5), st.sampled_from(["fail", "skip"]))
def test_plans_call_as_plain_generators_do(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], on_error: str
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "plans.jsonl"
    if not path.exists():
        path.write_text("".join(f"{n}\n" for n in range(COUNT)))
    assert_same_calls(path, names, on_error)


@pytest.mark.parametrize("taken", [0, 1, 2, 24, 100])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_consumer_that_stops_early_has_no_more_calls_made(
    name: str, taken: int, numbers: Path
) -> None:
    wanted = Calls()
    plainly = plain([name], wanted, iter(range(COUNT)), True)
    expected = list(itertools.islice(plainly, taken))
    calls = Calls()
    flow = iter(Pipeline(numbers, made([name], calls), on_error="skip"))
    assert list(itertools.islice(flow, taken)) == expected
    assert calls.numbers == wanted.numbers
    flow.close()


def test_the_example_that_was_found(numbers: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    report = Pipeline(numbers, [steps.tap(fail), steps.limit(1)], target).run()
    assert (target.read_bytes(), report.written, report.balanced) == (b"0\n", 1, True)


@pytest.mark.parametrize("place", ["in front of workers", "behind workers"])
def test_between_workers_only_these_run_ahead(place: str, numbers: Path, tmp_path: Path) -> None:
    calls = Calls()
    lazy = [steps.tap(calls.counted(fail)), steps.limit(3)]
    workers = [steps.tap(lambda n: None, workers=2)]
    made_steps = [*lazy, *workers] if place == "in front of workers" else [*workers, *lazy]
    for sink in (tmp_path / "out.jsonl", found := []):
        Pipeline(numbers, made_steps, sink).run()
    assert found == [0, 1, 2]
    assert calls.numbers == [[0, 1, 2] * 2]
