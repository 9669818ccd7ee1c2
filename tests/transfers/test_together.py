"""Many transfers looked at as one run: sums that add up, in memory that does not grow with them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from paipa_etl import Pipeline, read, steps, transfer, write
from paipa_etl.debugger import Debugger, View
from paipa_etl.metrics.accounts import MANY, RunAccounts
from paipa_etl.metrics.observer import OWN, SOURCE

RECORDS = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dozen inputs, each of which has a record that is odd."""
    for place in range(12):
        lines = [json.dumps({"n": number, "at": place}) for number in range(RECORDS)]
        (tmp_path / f"{place:02}.jsonl").write_text("\n".join(lines))
    return tmp_path


def is_odd(record: Any) -> bool:
    return bool(record["n"] % 2)


def seen(folder: Path, *made: Any, **words: Any) -> tuple[Any, View]:
    plan = Pipeline(
        read(str(folder / "*.jsonl")), list(made), write(str(folder / "out" / "{stem}.jsonl"))
    )
    debugger = Debugger()
    report = transfer(plan, debugger=debugger, **words)
    assert report.view is debugger.view is not None
    return report, report.view


@pytest.mark.parametrize("workers", [None, 2])
def test_each_line_is_the_sum_of_all_transfers(folder: Path, workers: int | None) -> None:
    some = {"workers": workers} if workers else {}
    report, view = seen(folder, steps.filter(is_odd, **some), steps.map(dict, **some))
    counts = [(step.records_in, step.records_out) for step in view.steps]
    assert counts == [(1_200, 1_200), (1_200, 600), (600, 600), (600, 600)]
    assert [(step.records_in, step.records_out) for step in report.steps] == counts[1:3]
    assert (view.counts["read"], view.counts["written"], view.counts["balanced"]) == (
        1_200,
        600,
        True,
    )
    assert [step.name for step in view.steps[1:3]] == [step.name for step in report.steps]
    assert view.transfers == 4
    assert [step.workers for step in view.steps] == [4, 4 * (workers or 1), 4 * (workers or 1), 4]
    assert all(step.seconds > 0 for step in view.steps)
    assert all(view.source.parts[part] > 0 for part in ("store", "format"))
    assert not view.queues


def test_a_plain_callable_is_told_as_one(folder: Path) -> None:
    def same(records: Any) -> Any:
        yield from records

    report, view = seen(folder, same, steps.map(dict))
    assert [step.opaque for step in report.steps] == [True, False]
    assert [step.opaque for step in view.steps[1:-1]] == [True, False]


def test_what_a_failed_one_had_read_is_left_over(folder: Path) -> None:
    def fails(record: Any) -> Any:
        return 1 // (record["at"] - 3) and record

    report, view = seen(folder, steps.map(fails))
    assert (report.transferred, report.failed) == (11, 1)
    counts = view.counts
    assert counts["written"] == 1_100
    assert counts["read"] == 1_100 + counts["left_over"]
    assert counts["balanced"]


def test_threads_that_have_ended_are_kept_as_a_sum() -> None:
    """Each input has threads of its own, and there may be millions of inputs."""
    watch = RunAccounts()

    def work(number: int) -> None:
        watch.lane(SOURCE)
        watch.worker(SOURCE)(0.001, 1)

    for number in range(5 * MANY):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()
    total = watch.total(SOURCE, OWN)
    assert total.records == 5 * MANY
    assert total.own >= 5 * MANY * 1_000_000
    assert watch.own(SOURCE) == pytest.approx(total.own / 1e9)
    assert len(watch._threads) <= MANY
    assert sum(map(len, watch._accounts.values())) <= 3 * MANY  # each thread has three
    watch.memory.close()


def test_the_command_shows_the_steps_of_the_plan(folder: Path, paipa: Command) -> None:
    (folder / "own.py").write_text("def same(record):\n    return record\n")
    done = paipa("*.jsonl", "out/{stem}.jsonl", "--map", "own.py:same", "--debug", cwd=folder)
    table = done.stderr.decode() if isinstance(done.stderr, bytes) else done.stderr
    assert done.returncode == 0
    assert any(line.startswith("map(same)") and "1,200" in line for line in table.splitlines())
    assert "{stem}" in table
