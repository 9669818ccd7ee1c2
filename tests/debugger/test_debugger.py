"""The debugger: what it sees of runs of either core, by a clock that only goes on when told to."""

from __future__ import annotations

import gc
import gzip
import io
import itertools
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLE, extension
from hypothesis import given, settings
from hypothesis import strategies as st

from paipa_etl import Pipeline, PlanError, combine_pipeline, read, steps, write
from paipa_etl.debugger import Debugger, JsonLines, LogLines, Reporter, View
from paipa_etl.errors import PaipaWarning
from paipa_etl.metrics import _meter_python, accounts, looks
from paipa_etl.metrics.samples import POINTS, Samples
from paipa_etl.stores import StoreOptions


class Hands:
    """Nanoseconds that only go on when they are told to."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def work(self, milliseconds: float) -> None:
        self.now += int(milliseconds * 1e6)

    def step(self, milliseconds: float) -> Callable[[Any], Iterator[Any]]:
        def work(records: Any) -> Iterator[Any]:
            for record in records:
                self.work(milliseconds)
                yield record

        return work


@pytest.fixture(params=["compiled", "plain"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each form of the meter, whole."""
    extension("paipa_etl.metrics._meter")
    if request.param == "plain":
        for name in ("Account", "Probe", "Strand"):
            monkeypatch.setattr(accounts, name, getattr(_meter_python, name))
        monkeypatch.setattr(looks, "Account", _meter_python.Account)
    return str(request.param)


def seen(plan: Pipeline, **words: Any) -> View:
    debugger = Debugger(**words)
    plan.run(debugger=debugger)
    assert debugger.view is not None
    return debugger.view


def test_the_time_of_a_serial_run_is_all_accounted_for(form: str) -> None:
    hands = Hands()

    def source() -> Iterator[int]:
        for number in range(100):
            hands.work(1)
            yield number

    plan = Pipeline(source, [hands.step(2), hands.step(30)], [])
    view = seen(plan, clock=hands)
    assert [round(step.seconds, 6) for step in view.steps] == [0.1, 0.2, 3.0, 0.0]
    assert [(step.records_in, step.records_out) for step in view.steps] == [(100, 100)] * 4
    assert view.seconds == pytest.approx(3.3)
    assert sum(step.seconds for step in view.steps) == pytest.approx(view.seconds, rel=0.05)
    assert view.steps[2].median == pytest.approx(0.03, rel=0.07)
    assert view.steps[2].p99 == pytest.approx(0.03, rel=0.07)


def test_each_core_counts_the_same(form: str) -> None:
    def plan(workers: int | None) -> Pipeline:
        some = {"workers": workers} if workers else {}
        return Pipeline(
            range(1_000),
            [
                steps.map(lambda n: n + 1, **some),
                steps.filter(lambda n: n % 3, **some),
                steps.flat_map(lambda n: [n] * (n % 4), **some),
            ],
            [],
        )

    serial, threaded = seen(plan(None)), seen(plan(3))
    for one, other in zip(serial.steps, threaded.steps, strict=True):
        assert (one.records_in, one.records_out) == (other.records_in, other.records_out)
    assert [step.workers for step in threaded.steps] == [0, 3, 3, 3, 0]
    assert threaded.queues
    assert not serial.queues


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["map", "filter", "twice", "batch", "plain"]), max_size=4),
    st.integers(0, 300),
    st.booleans(),
)
def test_what_it_counts_is_what_the_report_counts(
    kinds: list[str], records: int, threads: bool
) -> None:
    some = {"workers": 2} if threads else {}
    made = {
        "map": lambda: steps.map(str, **some),
        "filter": lambda: steps.filter(lambda r: len(str(r)) % 2, **some),
        "twice": lambda: steps.flat_map(lambda r: [r, r], **some),
        "batch": lambda: steps.batch(7),
        "plain": lambda: enumerate,
    }
    debugger = Debugger()
    out: list[Any] = []
    report = Pipeline(range(records), [made[kind]() for kind in kinds], out).run(debugger=debugger)
    view = debugger.view
    assert view is report.view
    assert view is not None
    assert [(s.records_in, s.records_out) for s in view.steps[1:-1]] == [
        (s.records_in, s.records_out) for s in report.steps
    ]
    assert view.source.records_out == report.read == records
    assert view.sink.records_out == report.written == len(out)
    left = [step.records_out for step in view.steps[:-1]]
    assert left == [step.records_in for step in view.steps[1:]]


def test_lists_count_what_they_hold_where_that_is_asked() -> None:
    def chunks(records: Any) -> Iterator[list[int]]:
        while chunk := [*itertools.islice(records, 10)]:
            yield chunk

    debugger = Debugger(count_lists=True)
    session = debugger.watch()
    plan = Pipeline(range(95), [chunks, chunks], [])
    run = replace(plan.new_run(), observer=session)
    plan.run(run)
    assert [session.total(step).records for step in run.counts.steps] == [95, 10]


def test_a_counter_of_the_users_belongs_to_who_counts() -> None:
    asked = [0]

    def look_up(record: int) -> int:
        asked[0] += 2
        return record

    plan = Pipeline(range(50), [steps.map(str), steps.map(look_up), steps.map(str)], [])
    view = seen(plan, counters={"queries": lambda: asked[0]})
    assert [step.counters["queries"] for step in view.steps] == [0, 0, 100, 0, 0]
    assert view.steps[2].per_record("queries") == 2
    lines = io.StringIO()
    LogLines(lines).finish(view)
    assert "queries/rec" in lines.getvalue()


def test_a_counter_of_a_thread_is_counted_for_workers() -> None:
    asked = threading.local()

    def look_up(record: int) -> int:
        asked.count = getattr(asked, "count", 0) + 1
        return record

    plan = Pipeline(range(500), [steps.map(look_up, workers=4)], [])
    view = seen(plan, counters={"queries": lambda: getattr(asked, "count", 0)})
    assert view.steps[1].counters["queries"] == 500


@pytest.mark.parametrize("workers", [None, 3])
def test_a_counter_that_fails_is_left_out_and_the_run_goes_on(workers: int | None) -> None:
    said = itertools.chain(range(40), ["x"], itertools.repeat(99))
    some = {"workers": workers} if workers else {}
    plan = Pipeline(range(500), [steps.map(str, **some)], out := [])
    with pytest.warns(PaipaWarning, match=r"the counter queries failed: TypeError.*goes on"):
        view = seen(plan, counters={"queries": lambda: next(said), "nothing": lambda: 0})
    assert len(out) == 500
    counted = sum(step.counters["queries"] for step in view.steps)
    assert 0 <= counted <= 40 or workers  # which are told of what others did
    assert view.steps[1].counters["nothing"] == 0


def test_waiting_is_told_apart_from_work() -> None:
    """A worker that nobody feeds works for no time, and waits for all of it."""
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        gate.wait(5)
        yield 2

    def see(number: int) -> int:
        if number == 1:
            threading.Timer(1, gate.set).start()
        return number

    view = seen(Pipeline(source, [steps.map(see, workers=2)], []))
    source_line, step, sink = view.steps
    assert source_line.seconds > 0.5
    assert step.waited_in > 0.5
    assert step.seconds < step.waited_in / 2
    assert sink.waited_in > 0.5


def test_store_codec_and_format_are_told_apart(tmp_path: Path) -> None:
    plan = read(SAMPLE) | steps.map(dict) | steps.limit(2_000)
    debugger = Debugger()
    Pipeline(plan.source, plan.steps, tmp_path / "out.jsonl.xz").run(debugger=debugger)
    view = debugger.view
    assert view is not None
    assert all(view.source.parts[part] > 0 for part in ("store", "codec", "format"))
    assert all(view.sink.parts[part] > 0 for part in ("store", "codec", "format"))
    assert view.sink.parts["codec"] > 10 * view.source.parts["codec"]
    assert [queue.name for queue in view.queues] == ["read ahead", "write behind"]
    assert 0 < (view.source.bytes or 0) <= SAMPLE.stat().st_size
    assert view.sink.bytes == (tmp_path / "out.jsonl.xz").stat().st_size


def test_skipped_and_retried_records_are_shown() -> None:
    tries: dict[int, int] = {}

    def fails(number: int) -> int:
        tries[number] = tries.get(number, 0) + 1
        if number % 10 == 0 and (number % 20 == 0 or tries[number] < 2):
            raise ConnectionError(number)
        return number

    step = steps.map(fails, retries=1, backoff=0.0, retry_on=ConnectionError)
    plan = Pipeline(range(100), [step], [], on_error="skip")
    view = seen(plan)
    assert (view.steps[1].skipped, view.steps[1].retried) == (5, 10)
    lines = io.StringIO()
    LogLines(lines).finish(view)
    assert "skipped" in lines.getvalue()


class Kept(Reporter):
    """Keeps what it is told."""

    def __init__(self, every: float = 0.0) -> None:
        self.every = every
        self.views: list[tuple[str, View]] = []

    def begin(self, view: View) -> None:
        self.views.append(("begin", view))

    def update(self, view: View) -> None:
        self.views.append(("update", view))

    def finish(self, view: View) -> None:
        self.views.append(("finish", view))


def test_reporters_hear_of_the_beginning_the_middle_and_the_end() -> None:
    kept, other = Kept(), Kept(every=1_000)
    gate = threading.Event()
    kept.update = lambda view: (kept.views.append(("update", view)), gate.set())  # type: ignore[method-assign]

    def source() -> Iterator[int]:
        yield 1
        assert gate.wait(20), "told nothing while the run waits"
        yield 2

    Pipeline(source, [], []).run(debugger=Debugger([kept, other]))
    words = [word for word, _ in kept.views]
    assert words[0] == "begin"
    assert words[-1] == "finish"
    assert "update" in words
    assert [word for word, _ in other.views] == ["begin", "finish"]
    assert kept.views[-1][1].finished
    assert not kept.views[0][1].finished


def test_nested_generators_tell_in_passing_and_start_no_thread(form: str) -> None:
    kept, hands = Kept(every=1.0), Hands()
    before = threading.active_count()
    debugger = Debugger([kept], clock=hands)
    flow = combine_pipeline(range(100), [hands.step(50), steps.map(str)], debugger=debugger)
    assert [next(flow) for _ in range(60)] == [str(n) for n in range(60)]
    assert threading.active_count() == before
    now = debugger.look()
    assert now is not None
    assert now.verdict is not None
    assert now.verdict.limit == "work"
    assert not now.finished
    assert len([*flow]) == 40
    words = [word for word, _ in kept.views]
    assert words[0] == "begin"
    assert words[-1] == "finish"
    assert 3 <= words.count("update") <= 5
    view = kept.views[-1][1]
    assert [step.records_out for step in view.steps] == [100] * 4
    assert view.steps[1].seconds == pytest.approx(5.0)
    assert debugger.look() is view


def test_a_combined_pipeline_that_is_dropped_is_over() -> None:
    kept = Kept()
    flow = combine_pipeline(range(100), [steps.map(str)], debugger=Debugger([kept]))
    assert next(flow) == "0"
    flow.close()
    assert kept.views[-1][0] == "finish"
    again = combine_pipeline(lambda n: range(n), [steps.map(str)], debugger=Debugger([kept]))
    assert [*again(3)] == ["0", "1", "2"]


def test_a_reporter_that_fails_is_left_out_and_the_run_goes_on() -> None:
    class Fails(Reporter):
        def begin(self, view: View) -> None:
            raise KeyError("its own")

    kept = Kept()
    with pytest.warns(PaipaWarning, match=r"Fails failed: KeyError.*the run goes on"):
        report = Pipeline([1, 2], [], []).run(debugger=Debugger([Fails(), kept]))
    assert report.written == 2
    assert [word for word, _ in kept.views] == ["begin", "finish"]


@pytest.mark.parametrize("workers", [None, 3])
def test_a_failed_run_is_seen_to_its_end(workers: int | None) -> None:
    def fails(number: int) -> int:
        if number == 7:
            raise KeyError("seven")
        return number

    kept = Kept()
    some = {"workers": workers} if workers else {}
    debugger = Debugger([kept])
    with pytest.raises(KeyError, match="seven"):
        Pipeline(range(100), [steps.map(fails, **some)], []).run(debugger=debugger)
    assert debugger.view is not None
    assert "seven" in (debugger.view.failed or "")
    assert kept.views[-1] == ("finish", debugger.view)


def test_a_run_in_the_background_is_seen_too() -> None:
    debugger = Debugger()
    with Pipeline(range(10), [], []).start(debugger=debugger) as started:
        started.wait()
    assert debugger.view is not None
    assert debugger.view.counts["written"] == 10


def test_nothing_stays_open_whatever_ends_a_run() -> None:
    """The check for what a test leaves behind is the assertion: descriptors, threads."""
    with pytest.raises(PlanError):
        Pipeline(range(3), [], "s3:///x").run(debugger=Debugger())
    flow = combine_pipeline(range(100), [steps.map(str)], debugger=Debugger())
    next(flow)
    del flow
    gc.collect()


def test_json_lines_are_objects_and_the_last_is_finished() -> None:
    file = io.StringIO()
    Pipeline(range(10), [steps.map(str)], []).run(debugger=Debugger([JsonLines(file)]))
    told = [json.loads(line) for line in file.getvalue().splitlines()]
    assert told[-1]["finished"] is True
    assert told[-1]["counts"]["written"] == 10
    assert [step["name"] for step in told[-1]["steps"]] == ["<range>", "map(str)", "<list>"]


def test_log_lines_are_aligned_and_end_with_the_verdict() -> None:
    file = io.StringIO()
    Pipeline(range(10), [steps.map(str)], []).run(debugger=Debugger([LogLines(file)]))
    head, *table = file.getvalue().splitlines()
    assert "resident" in head
    assert table[0].startswith("step ")
    column = table[0].index("out") + 3
    assert [line[column - 2 : column] for line in table[1:4]] == ["10", "10", "10"]
    assert "too short a run" in file.getvalue()


def test_names_are_safe_on_a_terminal() -> None:
    def evil(record: Any) -> Any:
        return record

    evil.__name__ = "x\x1b[2J\u202e\n"
    file = io.StringIO()
    report = Pipeline([1], [steps.map(evil)], []).run(debugger=Debugger([LogLines(file)]))
    page = report.to_html()
    for text in (file.getvalue(), page):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_samples_are_bounded_and_keep_totals_and_averages() -> None:
    samples = Samples()
    for point in range(5_000):
        samples.add(point / 10, [point], [point % 2])
        assert len(samples.at) <= POINTS
    assert [*samples.at] == sorted(samples.at)
    assert [*samples.totals[0]] == [at * 10 for at in samples.at]
    assert set(samples.fills[0][:100]) == {0.5}
    assert samples.occupancy(0) == (0.5, 0.5)
    samples.add(600, [1, 2], [1, 1])
    assert samples.totals[1][-1] == 2
    assert len(samples.totals[1]) == len(samples.at)


def test_its_own_memory_is_flat() -> None:
    """Ten times the records: no more of its memory than before."""

    def peak(records: int) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            for _ in combine_pipeline(range(records), [steps.map(abs)], debugger=Debugger()):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1_000)
    assert peak(100_000) < peak(10_000) + 20_000


def test_a_page_without_a_debugger_is_an_error() -> None:
    with pytest.raises(PlanError, match="debugger=Debugger"):
        Pipeline([1], [], []).run().to_html()


def test_no_secret_is_seen() -> None:
    """Not of a URL, in whatever is shown of a run that fails at once."""
    place = "http://robert:CANARY-1@127.0.0.1:1/x.jsonl?X-Amz-Signature=CANARY-2"
    lines, told = io.StringIO(), io.StringIO()
    debugger = Debugger([LogLines(lines), JsonLines(told)])
    plan = read(
        place, options=StoreOptions({"headers": {"Authorization": "CANARY-3"}, "retries": 0})
    )
    with pytest.raises(Exception, match="127"):
        plan.run(debugger=debugger)
    assert debugger.view is not None
    assert "127.0.0.1" in debugger.view.plan
    for text in (lines.getvalue(), told.getvalue(), debugger.view.to_html(), repr(debugger.view)):
        assert "CANARY" not in text
        assert "127.0.0.1" in text


def test_all_that_the_memory_grew_by_is_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits and hand-overs among it: what is let go then would be missing from the sum."""
    held = itertools.count(0, 1_000)
    monkeypatch.setattr("paipa_etl.metrics.looks.Memory.held", lambda self: next(held))
    monkeypatch.setattr("paipa_etl.metrics.looks.PERIOD", 0)
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(gzip.compress(b'{"n": 1}\n' * 200_000))
    debugger = Debugger()
    threaded = [steps.map(abs, workers=2)]
    for plan in (
        Pipeline(read(source), [steps.filter(bool)], write(tmp_path / "out.jsonl.gz")),
        Pipeline(range(1_000), threaded, write(tmp_path / "out.jsonl.gz")),
    ):
        first = next(held) + 1_000
        plan.run(debugger=debugger)
        assert debugger.view is not None
        assert debugger._session is not None
        grown = sum(step.memory_growth for step in debugger.view.steps)
        memory = debugger._session.memory
        assert grown + memory.taken() == memory._seen - first > 0
