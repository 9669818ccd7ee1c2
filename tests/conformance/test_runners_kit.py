"""The kit of runners: whichever carries a plan out, records, counts and errors are the same.

``test_cores.py`` has random plans over numbers; here are a few plans over files of every kind.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paipa_etl_example.every import Every

from paipa_etl import BadRecord, Pipeline, formats, read, runners, steps, write
from paipa_etl.run import new_run
from paipa_etl.run.report import Report
from paipa_etl.runners import serial, threaded
from paipa_etl.runners.commit import Core, carry_out
from paipa_etl.steps.contract import flatten_steps

from .format_samples import SAMPLES

CORES: dict[str, Any] = {"serial": serial, "threaded": threaded}
NUMBERS = range(3_000)
COUNTS = ("read", "written", "filtered", "skipped", "expanded", "folded", "left_over")


def even(n: int) -> bool:
    return n % 2 == 0


def twice(n: int) -> list[int]:
    return [n, n + 1]


def fail_at_hundreds(n: int) -> int:
    return n + 1 // (n % 100 or n == 0) * 0


def running(records: Any) -> Iterator[int]:
    total = 0
    for record in records:
        total += record
        yield total


@dataclass(frozen=True)
class Plan:
    """Steps, with so many workers each or without; what they make of ``NUMBERS``."""

    steps: Callable[[dict[str, Any]], list[Any]]
    records: list[int]


EVEN = [n for n in NUMBERS if even(n)]
PLANS = {
    "map": Plan(lambda w: [steps.map(abs, **w)], [*NUMBERS]),
    "filter": Plan(lambda w: [steps.filter(even, **w)], EVEN),
    "flat_map": Plan(lambda w: [steps.filter(even, **w), steps.flat_map(twice, **w)], [*NUMBERS]),
    "a step of somebody else": Plan(
        lambda w: [steps.map(abs, **w), Every(7), steps.map(abs, **w)], [*NUMBERS[::7]]
    ),
    "a generator": Plan(
        lambda w: [steps.filter(even, **w), running],
        [sum(EVEN[: n + 1]) for n in range(len(EVEN))],
    ),
    "a limit": Plan(lambda w: [steps.filter(even, **w), steps.limit(500)], EVEN[:500]),
    "a failure": Plan(
        lambda w: [steps.map(fail_at_hundreds, **w)],
        [n for n in NUMBERS if n % 100 or n == 0],
    ),
}


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    found: Core = CORES[request.param]
    return found


@pytest.fixture(params=PLANS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param]


def steps_of(plan: Plan, core: Core) -> tuple[Any, ...]:
    workers = {"workers": 3} if core is threaded else {}
    return tuple(flatten_steps(plan.steps(workers)))


def numbers_in(folder: Path) -> str:
    """A file of somebody else's codec, at somebody else's store."""
    url = f"dir://{folder}/in.jsonl.zstr"
    Pipeline(NUMBERS, sink=url).run()
    return url


def counts(report: Report) -> dict[str, int]:
    return {name: getattr(report, name) for name in COUNTS}


def carried_out(plan: Plan, core: Core, source: str, sink: Any, on_error: str = "fail") -> Report:
    pipeline = Pipeline(read(source), sink=sink)
    run = new_run(on_error)
    made = steps_of(plan, core)
    assert pipeline.sink is not None
    carry_out(core, pipeline.source, made, pipeline.sink, run)
    return run.report()


def test_every_module_that_carries_plans_out_is_in_the_kit() -> None:
    found = {}
    for info in pkgutil.iter_modules(runners.__path__):
        module = importlib.import_module(f"{runners.__name__}.{info.name}")
        own = {name for name, _ in inspect.getmembers(module, inspect.isfunction)}
        if {"records", "fill"} <= own:
            found[info.name] = module
    assert found == CORES


def test_a_plan_is_carried_out_whole(core: Core, plan: Plan, tmp_path: Path) -> None:
    source, target = numbers_in(tmp_path / "data"), f"dir://{tmp_path}/out.jsonl.gz"
    report = carried_out(plan, core, source, target, "skip")
    assert list(read(target)) == plan.records
    assert report.balanced
    assert report.written == len(plan.records)
    assert carried_out(plan, core, source, out := [], "skip").balanced
    assert out == plan.records


def test_counts_are_the_same_in_every_core(plan: Plan, tmp_path: Path) -> None:
    source = numbers_in(tmp_path)
    reports = [carried_out(plan, core, source, [], "skip") for core in CORES.values()]
    if plan is not PLANS["a limit"]:  # how far the reading is ahead of it depends on the core
        assert counts(reports[0]) == counts(reports[1])
        assert [vars_of(step) for step in reports[0].steps] == [
            vars_of(step) for step in reports[1].steps
        ]
    told = [[error.replace(", workers=3", "") for error in report.errors] for report in reports]
    assert told[0] == told[1]


def vars_of(step: Any) -> tuple[int, int]:
    return step.records_in, step.records_out


def test_records_come_one_by_one_and_what_was_begun_ends_with_the_taking(
    core: Core, plan: Plan, tmp_path: Path
) -> None:
    source = read(numbers_in(tmp_path)).source
    run = new_run("skip")
    flow = core.records(source, steps_of(plan, core), run)
    assert [next(flow) for _ in range(20)] == plan.records[:20]
    flow.close()  # conftest looks for threads and descriptors
    run = new_run("skip")
    assert list(core.records(source, steps_of(plan, core), run)) == plan.records


def test_a_failure_names_its_record_and_publishes_nothing(core: Core, tmp_path: Path) -> None:
    source, target = numbers_in(tmp_path / "data"), tmp_path / "out.jsonl"
    target.write_text("before")
    with pytest.raises(ZeroDivisionError) as caught:
        carried_out(PLANS["a failure"], core, source, target)
    (where,) = caught.value.__notes__
    assert where.startswith("in map(fail_at_hundreds")
    assert (
        f"record 101 of {source} (line 101, byte {len(''.join(f'{n}.' for n in range(100)))})"
        in where
    )
    assert target.read_text() == "before"
    found: list[int] = []
    with pytest.raises(ZeroDivisionError):
        found.extend(
            core.records(read(source).source, steps_of(PLANS["a failure"], core), new_run())
        )
    assert found == [*range(100)]


@pytest.mark.parametrize("name", [format.name for format in formats.registered()])
def test_bad_records_of_every_format_are_skipped_with_their_places(
    core: Core, name: str, tmp_path: Path
) -> None:
    sample = SAMPLES[name]
    if sample.bad is None:
        return
    rows = [*sample.good, sample.bad] * 50
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(sample.bytes_of(rows))
    pipeline = Pipeline(read(source, from_=name), sink=write(target, to=name))
    run = new_run("skip")
    step = steps.map(lambda record: record, **({"workers": 2} if core is threaded else {}))
    assert pipeline.sink is not None
    carry_out(core, pipeline.source, (step,), pipeline.sink, run)
    report = run.report()
    assert (report.skipped, report.balanced) == (50, True)
    assert list(read(target, from_=name)) == sample.records * 50
    before = sample.bytes_of(sample.good)
    number, line = len(sample.records) + 1, before.count(b"\n") + 1
    where = f"record {number} of {source} (line {line}, byte {len(before)}): "
    assert report.errors[0].startswith(where)
    run = new_run()
    with pytest.raises(BadRecord) as caught:
        list(core.records(pipeline.source, (step,), run))
    assert str(caught.value).startswith(where)


@pytest.mark.parametrize("before", [[], [steps.filter(lambda record: True)]], ids=["raw", "read"])
def test_a_step_of_somebody_else_keeps_the_bytes_of_records(before: Any, tmp_path: Path) -> None:
    """Whole blocks are copied where no step reads a record."""
    lines = [b'{"n": %d}' % n for n in NUMBERS]
    data = b"\n".join(lines)
    out = bytearray()
    report = Pipeline(read(data), [*before, Every(7)], out).run()
    assert bytes(out).splitlines() == lines[::7]
    assert (report.filtered, report.balanced) == (len(lines) - len(lines[::7]), True)


@pytest.mark.parametrize("inner", PLANS)
def test_threads_in_the_midst_of_a_serial_run_give_the_same(inner: str, tmp_path: Path) -> None:
    plan = PLANS[inner]
    made = steps.threaded(plan.steps({"workers": 3}))
    flow = Pipeline(read(numbers_in(tmp_path)), [steps.map(abs), made], on_error="skip")
    assert list(flow) == plan.records
    report = Pipeline(flow.source, flow.steps, out := [], on_error="skip").run()
    assert out == plan.records
    assert report.balanced
