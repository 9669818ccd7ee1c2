"""The meter: own time is a stack, counts are exact, the compiled form and the plain one agree."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import pytest
from conftest import extension
from hypothesis import given
from hypothesis import strategies as st

from paipa_etl.metrics import _meter_python
from paipa_etl.metrics.totals import Total, middle

compiled = extension("paipa_etl.metrics._meter")
FORMS = [pytest.param(_meter_python, id="plain"), pytest.param(compiled, id="compiled")]


class Hands:
    """A clock that only goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Chain:
    """Nested generators, each at work for so long a record, with a probe between any two."""

    def __init__(self, form: Any, costs: list[int], counting: Callable[[Any], None] | None = None):
        self.hands, self.form = Hands(), form
        self.base = form.Account()
        self.looks: list[tuple[Any, int, int, int]] = []
        self.rest = 1_000_000
        self.strand = form.Strand(self.base, self.look, self.hands, counting)
        self.accounts = [form.Account() for _ in costs]
        self.costs = costs

    def look(self, account: Any, spent: int, now: int, boundaries: int) -> int:
        self.looks.append((account, spent, now, boundaries))
        return self.rest

    def probed(self, flow: Iterator[Any], place: int, weigh: Any = None) -> Any:
        account = self.accounts[place]
        return self.form.Probe(flow, lambda: (self.strand, account), weigh)

    def step(self, records: Any, cost: int) -> Iterator[Any]:
        for record in records:
            self.hands.now += cost
            yield record

    def flow(self, records: Any) -> Any:
        flow = self.probed(iter(records), 0)
        for place, cost in enumerate(self.costs[1:], 1):
            flow = self.probed(self.step(flow, cost), place)
        return flow


@pytest.mark.parametrize("form", FORMS)
def test_own_time_is_ones_own(form: Any) -> None:
    chain = Chain(form, [0, 5, 70, 900])
    for _ in chain.flow(range(10)):
        chain.hands.now += 3
    chain.strand.settle()
    assert [account.own for account in chain.accounts] == [0, 50, 700, 9_000]
    assert chain.base.own == 30
    assert [account.records for account in chain.accounts] == [10] * 4
    assert chain.hands.now == sum(account.own for account in chain.accounts) + chain.base.own


@pytest.mark.parametrize("form", FORMS)
def test_a_failure_ends_the_time_of_who_failed(form: Any) -> None:
    chain = Chain(form, [0, 5])

    def failing(records: Any) -> Iterator[Any]:
        yield next(records)
        chain.hands.now += 1_000
        raise KeyError("x")

    flow = chain.probed(failing(chain.probed(iter(range(9)), 0)), 1)
    assert next(flow) == 0
    with pytest.raises(KeyError, match="x"):
        next(flow)
    chain.hands.now += 7
    chain.strand.settle()
    assert (chain.accounts[1].own, chain.base.own) == (1_000, 7)
    assert [*flow] == []
    assert chain.accounts[1].records == 1


@pytest.mark.parametrize("form", FORMS)
def test_closing_is_the_time_of_what_is_closed(form: Any) -> None:
    chain = Chain(form, [0])
    closed = []

    def slow_to_close() -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            chain.hands.now += 50
            closed.append(True)

    flow = chain.probed(slow_to_close(), 0)
    next(flow)
    flow.close()
    chain.strand.settle()
    assert closed
    assert chain.accounts[0].own == 50
    never_begun = chain.probed(iter([1]), 0)
    never_begun.close()


@pytest.mark.parametrize("form", FORMS)
def test_batches_and_lists_count_as_many_as_they_hold(form: Any) -> None:
    chain = Chain(form, [0])
    flow = chain.probed(iter([[1, 2, 3], [], [4]]), 0, len)
    assert [*flow] == [[1, 2, 3], [], [4]]
    assert chain.accounts[0].records == 4


@pytest.mark.parametrize("form", FORMS)
def test_who_looks_says_when_to_look_again(form: Any) -> None:
    chain = Chain(form, [0, 100, 100])
    flow = chain.flow(range(2_000))
    assert len([*itertools.islice(flow, 1_000)]) == 1_000
    assert len(chain.looks) == 1  # 0.2 ms have passed since
    chain.hands.now += 1_000_000
    assert len([*itertools.islice(flow, 500)]) == 500
    account, spent, now, boundaries = chain.looks[1]
    assert (account is chain.base, spent, now, boundaries) == (True, 1_000_000, 1_200_000, 4)
    assert len(chain.looks) == 2
    chain.rest = 0  # from the next one on, at every switch
    chain.hands.now += 1_000_000
    assert len([*itertools.islice(flow, 100)]) == 100
    assert len(chain.looks) == 2 + 100 * 2 * 3
    assert {id(account) for account, *_ in chain.looks} >= {*map(id, chain.accounts)}


@pytest.mark.parametrize("form", FORMS)
def test_a_look_is_nobodys_time(form: Any) -> None:
    chain = Chain(form, [0])

    def look(*_: Any) -> int:
        chain.hands.now += 500
        return 0

    strand = form.Strand(chain.base, look, chain.hands)
    account = form.Account()
    for _ in form.Probe(iter(range(5)), lambda: (strand, account)):
        chain.hands.now += 1
    strand.settle()
    assert (chain.base.own, account.own) == (5, 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_users_counter_is_read_at_every_switch(form: Any) -> None:
    seen = []
    chain = Chain(form, [0, 1], seen.append)
    assert len([*chain.flow(range(3))]) == 3
    assert len(seen) == 2 * 2 * 4  # two probes, in and out, for three records and the end


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_on_can_be_asked_for(form: Any) -> None:
    chain = Chain(form, [0])
    chain.hands.now += 11
    assert chain.strand.running() == (chain.base, 11)


@pytest.mark.parametrize("form", FORMS)
def test_percentiles_are_right_to_six_percent(form: Any) -> None:
    chance, account = random.Random(5), form.Account()
    times = [int(chance.lognormvariate(9, 2)) for _ in range(10_001)]
    for taken in times:
        account.add(taken, 1)
    total = Total()
    total.add(account)
    times.sort()
    for share in (0.5, 0.9, 0.99):
        found = total.percentile(share)
        assert found is not None
        assert found * 1e9 == pytest.approx(times[int(share * 10_000)], rel=0.07)


@pytest.mark.parametrize("form", FORMS)
def test_what_the_system_tells_is_read_or_is_nothing(form: Any, tmp_path: Path) -> None:
    path = tmp_path / "peek"
    path.write_bytes(b"12 34\n" * 100)
    assert form.peek(str(path)) == path.read_bytes()[:64]
    assert form.peek(str(tmp_path / "none")) == form.peek(str(tmp_path)) == b""
    with path.open("rb") as file:
        assert form.peek_open(file.fileno()) == form.peek_open(file.fileno()) != b""
    assert form.peek_open(-1) == b""


@given(st.integers(0, 1 << 62))
def test_a_bucket_is_as_wide_as_it_is_said_to_be(value: int) -> None:
    place = compiled.bucket_of(value)
    assert place == _meter_python.bucket_of(value) < 512
    assert middle(place) == pytest.approx(value, rel=0.0625, abs=0.5)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.booleans()), min_size=1, max_size=5),
    st.integers(0, 40),
    st.integers(0, 60),
    st.booleans(),
)
def test_compiled_and_plain_count_and_time_the_same(
    steps: list[tuple[int, bool]], records: int, taken: int, closes: bool
) -> None:
    """Pipelines of any length, that pass on or drop, whose consumer may stop early."""

    def run(form: Any) -> list[Any]:
        chain = Chain(form, [cost for cost, _ in steps])
        flow = chain.probed(iter(range(records)), 0)
        for place, (cost, drops) in enumerate(steps[1:], 1):
            given_on = chain.step(flow, cost)
            if drops:
                given_on = (record for record in given_on if record % 3)
            flow = chain.probed(given_on, place)
        got = [*itertools.islice(flow, taken)]
        if closes:
            flow.close()
        chain.strand.settle()
        peek = [(a.own, a.records, a.buckets) for a in (chain.base, *chain.accounts)]
        return [got, peek, [looked[1:] for looked in chain.looks], chain.hands.now]

    assert run(_meter_python) == run(compiled)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.integers()), st.integers(0, 9))
def test_a_tally_counts_what_it_gave(form: Any, items: list[int], taken: int) -> None:
    tally = form.Tally(items)
    assert [*itertools.islice(tally, taken)] == items[:taken]
    assert tally.count == len(items[:taken])


def test_the_compiled_clock_keeps_time_with_the_systems() -> None:
    """It may read the processor's counter, of which it knows what a tick is worth."""
    account = compiled.Account()
    strand = compiled.Strand(account, lambda *_: 1 << 60)
    before = perf_counter_ns()
    strand.settle()
    began, own = perf_counter_ns(), account.own
    while perf_counter_ns() - began < 20_000_000:
        pass
    ended = perf_counter_ns()
    strand.settle()
    after = perf_counter_ns()
    assert (ended - began) * 0.999 <= account.own - own <= (after - before) * 1.001
