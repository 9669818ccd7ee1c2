"""Verdicts: on pipelines whose bottleneck is known, and on views of such as take threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLE
from test_debugger import Hands, seen

from paipa_etl import Pipeline, combine_pipeline, read, steps
from paipa_etl.debugger import Debugger, QueueView, StepView, View
from paipa_etl.debugger.observed import steps_of
from paipa_etl.debugger.verdict import judge
from paipa_etl.metrics.accounts import RunAccounts
from paipa_etl.metrics.plan import Plan, PlanStep
from paipa_etl.metrics.view import QueueRole
from paipa_etl.run import new_run

COUNTS: dict[str, Any] = {"read": 1_000, "written": 1_000}
UNPLACED: dict[str, Any] = {"giver_place": -1, "taker_place": -1}


def source(**words: Any) -> StepView:
    parts = {"store": 0.1, "codec": 0.1, "format": 0.1} | words.pop("parts", {})
    known = {"seconds": sum(parts.values()), "parts": parts}
    return StepView("in.jsonl.gz", "source", 1_000, 1_000, **(known | words))


def sink(**words: Any) -> StepView:
    parts = {"store": 0.1, "codec": 0.1, "format": 0.1} | words.pop("parts", {})
    known = {"seconds": sum(parts.values()), "parts": parts}
    return StepView("out.jsonl.gz", "sink", 1_000, 1_000, **(known | words))


def step(name: str = "enrich", seconds: float = 0.1, **words: Any) -> StepView:
    return StepView(name, "step", 1_000, 1_000, seconds=seconds, **words)


def queue(taker: str = "enrich", giver: str = "in.jsonl.gz", **words: Any) -> QueueView:
    known = {
        "records": 0,
        "bytes": 0,
        "limit": 1_024,
        "limit_bytes": 8 << 20,
        "peak": 10,
        "peak_bytes": 0,
        "occupancy": 0.0,
        "full": 0.0,
        "waited_to_put": 0.0,
        "waited_to_take": 0.0,
    }
    return QueueView(f"before {taker}", giver, taker, **(known | words), role="between", **UNPLACED)


def ahead() -> QueueView:
    return within("read ahead")


def behind() -> QueueView:
    return within("write behind")


def within(role: QueueRole) -> QueueView:
    return QueueView(role, "", "", 0, 0, None, 1, 0, 0, 0.0, 0.0, 0.0, 0.0, role, **UNPLACED)


def view(
    *lines: StepView, queues: tuple[QueueView, ...] = (), seconds: float = 10.0, **words: float
) -> View:
    places = {line.name: place for place, line in enumerate(lines)}
    for one in queues:
        one.giver_place, one.taker_place = places.get(one.giver, -1), places.get(one.taker, -1)
    return View(seconds, COUNTS, list(lines), list(queues), **words)  # type: ignore[arg-type]


CASES = {
    "a step that computes": (
        view(source(), step(seconds=9, cpu=8.8), sink()),
        "step-computes",
        "enrich",
        ["step enrich: 90%", "it computes", "threads do not help"],
    ),
    "a step that waits": (
        view(source(), step(seconds=9, cpu=0.2), sink()),
        "step-waits",
        "enrich",
        ["step enrich: 90%", "it waits", "give it workers="],
    ),
    "a step that does both": (
        view(source(), step(seconds=9, cpu=4.5), sink()),
        "step-mixed",
        "enrich",
        ["half of it waits", "workers=2"],
    ),
    "workers that are all busy waiting": (
        view(
            source(),
            step(seconds=39, cpu=1.0, workers=4),
            sink(waited_in=6.1),
            queues=(queue(full=0.91), queue("out.jsonl.gz", "enrich")),
        ),
        "step-waits",
        "enrich",
        ["queue was full 91% of the time", "the sink waited 61%", "more workers: workers="],
    ),
    "workers that all compute": (
        view(source(), step(seconds=38, cpu=9.7, workers=4), sink(), queues=(queue(),)),
        "step-computes",
        "enrich",
        ["one at a time", "fewer workers"],
    ),
    "workers that compute in turns": (
        view(source(), step(seconds=9.5, cpu=9.3, workers=8), sink(), queues=(queue(),)),
        "step-computes",
        "enrich",
        ["its workers compute for 93%", "one at a time", "fewer workers, or none"],
    ),
    "a generator that waits": (
        view(source(), step(seconds=9, cpu=0.2, opaque=True), sink()),
        "step-waits",
        "enrich",
        ["it waits", "done by steps.map(function, workers="],
    ),
    "a step that is told to be slow": (
        view(source(), step("throttle(5/s)", seconds=9, cpu=0.2, paced=True), sink()),
        "step-waits",
        "throttle(5/s)",
        ["as it is told to", "a higher rate"],
    ),
    "a record that keeps one worker busy": (
        view(source(), step(seconds=9.9, busiest=9.8, cpu=0.2, workers=4), sink()),
        "step-uneven",
        "enrich",
        ["one of its workers was at work 98% of the time, all of them 25%", "divide them"],
    ),
    "workers that are not worth it": (
        view(
            source(parts={"format": 1.0}),
            step(seconds=1.0, cpu=3.0, workers=4),
            sink(),
            queues=(queue(peak=1_024, waited_to_put=6.0, waited_to_take=30.0),),
            cpu=9.5,
        ),
        "hand-over",
        "enrich",
        ["take 11% of the processor's time", "leave the workers of enrich out"],
    ),
    "others that want the processor": (
        view(source(), step(seconds=9, cpu=3.0), sink(), cpu=3.3, delayed=6.5),
        "step-computes",
        "enrich",
        ["it computes", "threads waited 6.5 s together"],
    ),
    "a queue that is full of what a slow output does not take": (
        view(
            source(),
            step(seconds=0.5, cpu=0.1, workers=2),
            sink(parts={"store": 9.5}),
            queues=(queue(peak=1_024, waited_to_put=5.0, waited_to_take=6.0),),
        ),
        "sink-store",
        "out.jsonl.gz",
        ["the store of the output"],
    ),
    "a slow store of the input": (
        view(source(parts={"store": 8.5}), step(), sink(), queues=(ahead(),)),
        "source-store",
        "in.jsonl.gz",
        ["the store of the input, in.jsonl.gz: 85%", "transfers"],
    ),
    "a slow codec of the input": (
        view(source(parts={"codec": 8.5}), step(), sink(), queues=(ahead(),)),
        "source-codec",
        "in.jsonl.gz",
        ["the codec of the input", "zstd"],
    ),
    "a slow format of the input": (
        view(source(parts={"format": 8.5}), step(), sink(), queues=(ahead(),)),
        "source-format",
        "in.jsonl.gz",
        ["the format of the input", "filter earlier"],
    ),
    "a slow codec of the output": (
        view(source(), step(), sink(parts={"codec": 9.5}), queues=(behind(),)),
        "sink-codec",
        "out.jsonl.gz",
        ["the codec of the output", "level"],
    ),
    "a slow store of the output": (
        view(source(), step(), sink(parts={"store": 9.5}), queues=(behind(),)),
        "sink-store",
        "out.jsonl.gz",
        ["the store of the output", "nothing in the pipeline"],
    ),
    "starved workers": (
        view(
            source(parts={"store": 9.5}),
            step(seconds=20, cpu=0.1, workers=64),
            sink(),
            queues=(ahead(), queue(waited_to_take=600)),
        ),
        "source-store",
        "in.jsonl.gz",
        ["2 of its 64 workers were busy on average", "4 would do"],
    ),
    "a queue that is too small": (
        view(
            source(parts={"format": 4.0}),
            step(seconds=40, cpu=0.1, workers=8),
            sink(),
            queues=(queue(limit=8, peak=8, waited_to_put=5.0, waited_to_take=39.0),),
        ),
        "queue",
        "enrich",
        ["the queue before enrich (8 records)", "49% of the time", "queue=32"],
    ),
    "steps that are alike": (
        view(source(), step("one", 4.6), step("two", 4.8), sink()),
        "balanced",
        "",
        ["nothing limits the run alone", "step two 48%", "step one 46%"],
    ),
    "a run that hardly ran": (view(source(), sink(), seconds=0.001), "short", "", ["too short"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_known_bottleneck_is_named_with_its_figures_and_a_lever(name: str) -> None:
    looked_at, kind, limit, words = CASES[name]
    verdict = judge(looked_at)
    assert (verdict.kind, verdict.limit) == (kind, limit), str(verdict)
    for word in words:
        assert word in str(verdict)
    assert verdict.lever


# Names are the user's: whatever they say, the facts are those of the plan.


def test_a_step_called_throttle_is_not_told_to_be_slow() -> None:
    looked_at = view(source(), step("throttle(5/s)", seconds=9, cpu=0.2), sink())
    verdict = judge(looked_at)
    assert (verdict.kind, verdict.limit) == ("step-waits", "throttle(5/s)")
    assert "give it workers=" in verdict.lever


def test_the_codec_of_an_output_is_not_read_out_of_its_name() -> None:
    slow = sink(parts={"codec": 9.5}, codec="gzip")
    slow.name = "zstd.jsonl.gz  (jsonl, gzip)"
    assert "a fraction of gzip's time" in judge(view(source(), slow, queues=(behind(),))).lever
    slow.codec = "zstd"
    assert judge(view(source(), slow, queues=(behind(),))).lever == "a lower level, or lz4"


def test_a_queue_belongs_to_a_line_of_the_view_and_not_to_a_name() -> None:
    """The source, a step and the sink are called the same, and so is a queue."""
    same, waiting = source(parts={"store": 0.5}), queue(full=0.9)
    looked_at = view(same, step(seconds=39, cpu=1.0, workers=4), sink(), queues=(waiting,))
    for named in (*looked_at.steps, waiting):
        named.name = "read ahead"
    waiting.giver = waiting.taker = "read ahead"
    verdict = judge(looked_at)
    assert (verdict.kind, verdict.limit) == ("step-waits", "read ahead")
    assert verdict.text.startswith("step read ahead: 98%")
    assert "its queue was full 90% of the time" in verdict.text
    assert "more workers: workers=" in verdict.lever
    assert [looked_at.queue_before(line) is waiting for line in looked_at.steps] == [0, 1, 0]


MISLEADING = ("limit(2), workers=8", "throttle(5/s)", "read ahead", "write behind", "waits) (2")


@pytest.mark.parametrize("name", MISLEADING)
def test_a_function_whose_name_says_something_else_is_judged_by_what_it_does(name: str) -> None:
    def function(record: Any) -> Any:
        return waits(record)

    function.__name__ = function.__qualname__ = name
    looked_at = seen(Pipeline(range(30), [steps.map(function)], []))
    verdict = looked_at.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == ("step-waits", looked_at.steps[1].name)
    assert name in verdict.limit
    assert "give it workers=" in verdict.lever
    looked_at = seen(Pipeline(range(100), [steps.map(function, workers=4)], []))
    verdict = looked_at.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == ("step-waits", looked_at.steps[1].name)
    assert (looked_at.steps[1].workers, looked_at.queues[0].taker_place) == (4, 1)
    assert "more workers: workers=" in verdict.lever


def test_no_two_steps_have_the_same_name() -> None:
    """The third is the second of its name, and what it would be called is taken."""
    plan = []
    for name in ("work", "work (3)", "work", "work"):

        def work(records: Iterator[Any]) -> Iterator[Any]:
            yield from records

        work.__name__ = work.__qualname__ = name
        plan.append(work)
    names = [line.name for line in seen(Pipeline(range(3), plan, [])).steps]
    assert len({*names}) == len(names) == 6


def test_a_source_a_step_and_a_sink_of_one_name_are_told_apart() -> None:
    plan = Plan("-  (jsonl)", (PlanStep("-  (jsonl)"),), "-  (jsonl)")
    run = new_run()
    run.counts.add_step("-  (jsonl)")
    watch = RunAccounts()
    names = [line.name for line in steps_of(watch, run, plan, run.report())]
    watch.memory.close()
    assert names == ["-  (jsonl)", "-  (jsonl) (1)", "-  (jsonl) (output)"]


def test_a_throttle_of_a_real_pipeline_is_told_to_be_slow() -> None:
    verdict = seen(Pipeline(range(30), [steps.throttle(per_second=100)], [])).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.lever) == ("step-waits", "a higher rate")


# Real pipelines; what takes time in them is much slower than all else.


def test_nested_steps_one_of_which_is_slow() -> None:
    hands = Hands()
    plan = Pipeline(range(200), [hands.step(1), hands.step(20), hands.step(1)], [])
    verdict = seen(plan, clock=hands).verdict
    assert verdict is not None
    assert verdict.limit == "work (2)"
    assert "91% of the wall time" in verdict.text


def test_nested_steps_that_are_alike() -> None:
    hands = Hands()
    plan = Pipeline(range(200), [hands.step(10), hands.step(9), hands.step(11)], [])
    verdict = seen(plan, clock=hands).verdict
    assert verdict is not None
    assert verdict.kind == "balanced"


def test_a_source_that_is_slow() -> None:
    hands = Hands()
    plan = Pipeline(lambda: hands.step(30)(range(100)), [hands.step(1)], [])
    verdict = seen(plan, clock=hands).verdict
    assert verdict is not None
    assert (verdict.kind, "the source" in verdict.text) == ("source-store", True)
    assert "make the records faster" in verdict.lever


def waits(record: Any) -> Any:
    # On a busy machine, a thread that wakes waits some milliseconds for a processor, too.
    time.sleep(0.02)
    return record


def computes(record: Any) -> Any:
    sum(range(20_000))
    return record


def test_a_step_that_waits_is_given_workers_and_then_more() -> None:
    verdict = seen(Pipeline(range(30), [steps.map(waits)], [])).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == ("step-waits", "map(waits)")
    assert "give it workers=" in verdict.lever
    verdict = seen(Pipeline(range(100), [steps.map(waits, workers=4)], [])).verdict
    assert verdict is not None
    assert verdict.kind == "step-waits"
    assert "more workers" in verdict.lever


def test_a_step_that_computes_gets_no_workers() -> None:
    verdict = seen(Pipeline(range(2_000), [steps.map(computes)], [])).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == ("step-computes", "map(computes)")
    assert "threads do not help" in verdict.lever


def test_a_slow_codec_of_the_output(tmp_path: Path) -> None:
    plan = Pipeline(read(SAMPLE), [steps.limit(2_000)], tmp_path / "out.jsonl.xz")
    verdict = seen(plan).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit.endswith("(jsonl, xz)")) == ("sink-codec", True)


def test_starved_workers_behind_a_slow_source() -> None:
    def slow() -> Iterator[int]:
        for number in range(60):
            time.sleep(0.004)
            yield number

    verdict = seen(Pipeline(slow, [steps.map(str, workers=16)], [])).verdict
    assert verdict is not None
    assert verdict.kind == "source-store"
    assert "of its 16 workers were busy on average" in str(verdict)


def test_coroutines_take_no_more_of_the_processor_than_there_was() -> None:
    """Each task was told of all that their thread took: fifty times what there was."""

    async def waits_in_loop(record: Any) -> Any:
        await asyncio.sleep(0.02)
        return record

    async def computes_in_loop(record: Any) -> Any:
        return computes(record)

    waiting = seen(Pipeline(range(500), [steps.map(waits_in_loop, workers=20)], []))
    assert waiting.verdict is not None
    assert waiting.verdict.kind == "step-waits"
    computing = seen(Pipeline(range(600), [steps.map(computes_in_loop, workers=20)], []))
    for looked_at in (waiting, computing):
        assert 0 < (looked_at.steps[1].cpu or 0) <= looked_at.cpu
    assert (computing.steps[1].cpu or 0) > 0.5 * computing.cpu


def test_a_wait_that_comes_seldom_is_a_wait() -> None:
    """It was told as computing: no cycle that was looked at had one."""

    def insert(records: Iterator[Any]) -> Iterator[Any]:
        part = []
        for record in records:
            part.append(record)
            if len(part) == 100:
                time.sleep(0.1)
                yield from part
                part = []

    looked_at = seen(Pipeline(range(500), [insert], []))
    assert looked_at.verdict is not None
    assert (looked_at.verdict.kind, looked_at.verdict.limit) == ("step-waits", "insert")
    assert (looked_at.steps[1].cpu or 0) <= looked_at.cpu


def test_threads_among_nested_generators_are_a_step_with_workers() -> None:
    debugger = Debugger()
    threads = steps.threaded(steps.map(waits, workers=4))
    assert len([*combine_pipeline(range(60), [threads, steps.batch(10)], debugger=debugger)]) == 6
    assert debugger.view is not None
    inner = debugger.view.steps[1]
    assert (inner.workers, inner.records_in, inner.records_out) == (4, 60, 60)
    assert inner.seconds > 0.7
    verdict = debugger.view.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == ("step-waits", inner.name)


def test_what_a_filter_takes_is_told_for_each_record_that_came() -> None:
    hands = Hands()

    def keeps_few(number: int) -> bool:
        hands.work(5)
        return number % 50 == 0

    def batches(numbers: Iterator[int]) -> Iterator[Any]:
        for batch in steps.batch(50)(numbers):
            hands.work(100)
            yield batch

    for step in (steps.filter(keeps_few), batches):
        line = seen(Pipeline(range(500), [step], []), clock=hands).steps[1]
        each = 0.005 if step is not batches else 0.002
        assert line.median == pytest.approx(each, rel=0.07)
    line = seen(Pipeline(range(500), [batches], []), clock=hands, count_lists=True).steps[1]
    assert line.median == pytest.approx(0.002, rel=0.07)
