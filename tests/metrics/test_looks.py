"""Looks: whose the processor's time and the memory are, by clocks that go on when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import extension
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl.metrics import _meter_python, looks
from paipa_etl.metrics.totals import Total

compiled = extension("paipa_etl.metrics._meter")
FORMS = [pytest.param(_meter_python, id="plain"), pytest.param(compiled, id="compiled")]
Work = Callable[[int], tuple[float, float]]
"""The microseconds that a step computes and waits for a record of that number."""


class World:
    """A thread whose time, processor and memory are what its steps say that they take."""

    def __init__(self, form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = 1_000_000
        self.held = 0
        self.form = form
        monkeypatch.setattr(looks, "Account", form.Account)
        monkeypatch.setattr(looks, "thread_time_ns", lambda: self.cpu)
        monkeypatch.setattr(looks, "perf_counter_ns", lambda: self.now)
        self.memory = looks.Memory()
        monkeypatch.setattr(self.memory, "held", lambda: self.held)
        self.memory.grown()
        self.memory.close()

    def take(self, computes: float, waits: float) -> None:
        self.now += int((computes + waits) * 1_000)
        self.cpu += int(computes * 1_000)

    def run(self, records: int, works: list[Work], grows: int = -1) -> list[Any]:
        """The accounts of steps that work so; one of them grows by a kilobyte a record."""
        look = looks.Look(looks.Counters({}), self.memory, looks.Delays(), lambda: None)
        base = self.form.Account()
        strand = self.form.Strand(base, look, lambda: self.now)
        flow: Any = iter(range(records))
        accounts = [self.form.Account() for _ in works]
        for place, (work, account) in enumerate(zip(works, accounts, strict=True)):
            step = self.step(flow, work, 1_000 if place == grows else 0)
            flow = self.form.Probe(step, lambda account=account: (strand, account))
        for _ in flow:
            pass
        strand.settle()
        return accounts

    def step(self, flow: Any, work: Work, grows: int) -> Iterator[Any]:
        for number in flow:
            self.take(*work(number))
            self.held += grows
            yield number


def cpu_of(account: Any) -> float:
    total = Total()
    total.add(account)
    assert total.cpu is not None
    return total.cpu


WORKS: dict[str, Work] = {
    "computes": lambda number: (3, 0),
    "waits": lambda number: (2, 300),
    "in bulk": lambda number: (1, 250_000 if number % 500 == 499 else 0),
    "one of many waits": lambda number: (5, 3_000 if number % 200 == 7 else 0),
    "long ones compute": lambda number: (4_000, 0),
    "long ones do both": lambda number: (3_000, 6_000),
    "one of many computes": lambda number: (20_000 if number % 300 == 11 else 1, 20),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WORKS)
def test_the_processors_part_is_what_it_is(
    form: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(form, monkeypatch)
    before = world.cpu
    (account,) = world.run(6_000, [WORKS[name]])
    assert cpu_of(account) * 1e9 == pytest.approx(world.cpu - before, rel=0.1)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([*WORKS]), min_size=2, max_size=4))
def test_steps_that_compute_are_told_from_those_that_wait(form: Any, names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(form, monkeypatch)
        accounts = world.run(2_000, [WORKS[name] for name in names])
    for name, account in zip(names, accounts, strict=True):
        true = sum(WORKS[name](number)[0] for number in range(2_000)) / 1e6
        # A long span has what its neighbours took since the last look, to two milliseconds.
        assert cpu_of(account) == pytest.approx(true, rel=0.2, abs=0.05 * world.cpu / 1e9)


@pytest.mark.parametrize("form", FORMS)
def test_the_memory_is_whose_it_is_however_long_the_others_wait(
    form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(form, monkeypatch)
    grower, waiter = world.run(1_000, [WORKS["computes"], WORKS["long ones do both"]], grows=0)
    assert grower.grown > 900_000
    assert waiter.grown == 0


def test_tasks_that_share_a_thread_share_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(compiled, monkeypatch)
    thread, counters, delays = looks.ThreadTime(), looks.Counters({}), looks.Delays()
    accounts = [compiled.Account() for _ in range(50)]
    told = [looks.Worker(account, counters, world.memory, delays, thread) for account in accounts]
    for _ in range(20):
        for tell in told:
            world.take(100, 0)
            tell(0.005, 1)
    assert sum(map(cpu_of, accounts)) == pytest.approx(
        0.1, abs=0.02
    )  # what the last one has not looked at
