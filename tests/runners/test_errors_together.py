"""Workers that fail together: one error is raised, the others are told, none twice."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from troubles import BEFORE, Trouble, soon

from paipa_etl import Pipeline, steps


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    path.write_bytes(BEFORE)
    return path


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("ordered", [True, False])
def test_of_workers_that_fail_together_the_first_in_time_is_raised(
    target: Path, count: int, ordered: bool
) -> None:
    errors = [ZeroDivisionError(f"error {n}") for n in range(count)]
    barrier = threading.Barrier(count)

    def fail(n: int) -> None:
        barrier.wait(10)
        while len(run.failures) < count - 1 - n:  # the last record's failure is the first
            time.sleep(0.001)
        raise errors[n]

    made = steps.map(fail, workers=count, ordered=ordered)
    plan = Pipeline((n for n in range(count)), made, target)
    run = plan.new_run()
    with soon(), pytest.raises(ZeroDivisionError) as caught:
        plan.run(run)
    assert caught.value is errors[-1]
    others = [f"error {n}" for n in reversed(range(count - 1))]
    told = run.report().errors
    assert [text.split(": ")[1].split(" (")[0] for text in told] == others
    place, more = caught.value.__notes__
    assert place == f"in {made}, record {count}"
    assert [text in more for text in others[:3]] == [True] * min(3, count - 1)
    assert more.endswith("; and 4 more") == (count == 8)
    assert more.count("ZeroDivisionError") == min(3, count - 1)
    assert target.read_bytes() == BEFORE


def test_of_workers_that_fail_together_who_iterates_gets_the_first_in_order() -> None:
    errors = [ZeroDivisionError(f"error {n}") for n in range(4)]
    barrier = threading.Barrier(4)

    def fail(n: int) -> None:
        barrier.wait(10)
        time.sleep(0.02 * (4 - n))
        raise errors[n]

    with soon(), pytest.raises(ZeroDivisionError) as caught:
        list(Pipeline((n for n in range(4)), steps.map(fail, workers=4)))
    assert caught.value is errors[0]
    assert caught.value.__notes__[1].count("ZeroDivisionError") == 3


def test_one_error_object_of_several_workers_is_told_once() -> None:
    trouble = Trouble()
    barrier = threading.Barrier(4)

    def fail(n: int) -> None:
        barrier.wait(10)
        raise trouble.error

    plan = Pipeline((n for n in range(4)), steps.map(fail, workers=4))
    run = plan.new_run()
    with soon(), pytest.raises(KeyError) as caught:
        plan.run(run)
    assert caught.value is trouble.error
    assert (len(run.failures), len(caught.value.__notes__), run.report().errors) == (1, 1, [])
