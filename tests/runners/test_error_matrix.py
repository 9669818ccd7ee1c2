"""Errors of steps and sources in threads: each as itself, soon, with step, record and byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from troubles import AT, BEFORE, COUNT, Trouble, paced, soon

from paipa_etl import Pipeline, steps

ByRecord = Callable[..., Any]
VERBS: dict[str, ByRecord] = {
    "map": lambda trouble, **options: steps.map(trouble, **options),
    "filter": lambda trouble, **options: steps.filter(trouble, **options),
    "tap": lambda trouble, **options: steps.tap(trouble, **options),
    "flat_map": lambda trouble, **options: steps.flat_map(trouble.items, **options),
    "coroutine": lambda trouble, **options: steps.map(trouble.later, **options),
}
NAMED = {"flat_map": "flat_map(items", "coroutine": "map(later"}


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{n}\n" for n in range(COUNT)))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    path.write_bytes(BEFORE)
    return path


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
@pytest.mark.parametrize("policy", ["fail", "skip", "retry"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_function_that_fails_in_a_worker(
    numbers: Path, target: Path, verb: str, policy: str, pace: str, workers: int
) -> None:
    trouble = Trouble()
    retries = 2 if policy == "retry" else 0
    made = VERBS[verb](trouble, workers=workers, queue=2, retries=retries, backoff=0)
    on_error = "skip" if policy == "skip" else "fail"
    plan = Pipeline(numbers, paced([made], pace), target, on_error)
    if policy == "skip":
        with soon():
            report = plan.run()
        assert (report.skipped, report.written, report.balanced) == (1, COUNT - 1, True)
        assert trouble.calls == 1
        return
    with soon(), pytest.raises(KeyError) as caught:
        plan.run()
    assert caught.value is trouble.error
    assert trouble.calls == 1 + retries
    (note,) = caught.value.__notes__
    assert note.startswith(f"in {NAMED.get(verb, f'{verb}(Trouble')}, workers={workers}")
    byte = numbers.read_bytes().index(b"30\n")
    assert note.endswith(f", record 31 of {numbers} (line 31, byte {byte})")
    assert target.read_bytes() == BEFORE


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
@pytest.mark.parametrize("verb", VERBS)
def test_who_iterates_gets_all_records_before_the_one_that_fails(
    numbers: Path, verb: str, pace: str, workers: int
) -> None:
    trouble = Trouble()
    made = VERBS[verb](trouble, workers=workers, queue=2)
    found: list[int] = []
    with soon(), pytest.raises(KeyError) as caught:
        found.extend(Pipeline(numbers, paced([made], pace)))
    assert caught.value is trouble.error
    assert len(found) == AT


def spread(trouble: Trouble, workers: int) -> Any:
    return steps.parallel(trouble.checked, workers=workers, queue=2)


def between(trouble: Trouble, workers: int) -> Any:
    apart = steps.map(abs, workers=workers, queue=2)
    return [apart, trouble.checked, apart]


def last(trouble: Trouble, workers: int) -> Any:
    return [steps.map(abs, workers=workers, queue=2), steps.map(trouble)]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("place", [spread, between])
def test_a_generator_that_fails_ends_the_run(
    numbers: Path, target: Path, place: ByRecord, on_error: str, pace: str, workers: int
) -> None:
    trouble = Trouble()
    with soon(), pytest.raises(KeyError) as caught:
        Pipeline(numbers, paced([place(trouble, workers)], pace), target, on_error).run()
    assert caught.value is trouble.error
    (note,) = caught.value.__notes__
    assert "checked" in note
    assert f", record 31 of {numbers} (line 31, byte " in note
    assert target.read_bytes() == BEFORE


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
def test_a_step_behind_the_last_worker_names_its_record(
    numbers: Path, target: Path, pace: str, workers: int
) -> None:
    trouble = Trouble()
    with soon(), pytest.raises(KeyError) as caught:
        Pipeline(numbers, paced(last(trouble, workers), pace), target).run()
    assert caught.value is trouble.error
    assert "in map(Trouble), record 31 of" in caught.value.__notes__[0]
    assert target.read_bytes() == BEFORE


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_source_that_fails(target: Path, on_error: str, pace: str, workers: int) -> None:
    trouble = Trouble()
    apart = steps.map(abs, workers=workers, queue=2, retries=2, backoff=0)
    with soon(), pytest.raises(KeyError) as caught:
        Pipeline(trouble.source, paced([apart], pace), target, on_error).run()
    assert caught.value is trouble.error
    assert caught.value.__notes__ == ["in the source, after record 30"]
    assert (trouble.calls, target.read_bytes()) == (1, BEFORE)
    found: list[int] = []
    with soon(), pytest.raises(KeyError):
        found.extend(Pipeline(Trouble().source, paced([apart], pace), on_error=on_error))
    assert found == list(range(AT))
