"""Resources: made once for whom they are, where they are used, and released whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import (
    Pipeline,
    PlanError,
    combine_pipeline,
    needs,
    per_run,
    per_step,
    per_worker,
    steps,
)


class Log:
    """What was made and released, in which thread."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.released: list[str] = []
        self.threads: dict[str, str] = {}

    def generator(self, name: str) -> Callable[[], Iterator[str]]:
        def make() -> Iterator[str]:
            made = f"{name}{len(self.made)}"
            self.made.append(made)
            self.threads[made] = threading.current_thread().name
            yield made  # no try: what follows is done after errors too
            self.released.append(made)

        return make

    def manager(self, name: str) -> Callable[[], Any]:
        @contextmanager
        def make() -> Iterator[str]:
            made = f"{name}{len(self.made)}"
            self.made.append(made)
            self.threads[made] = threading.current_thread().name
            try:
                yield made
            finally:
                self.released.append(made)

        return make


def use(n: int, *, thing: str) -> tuple[int, str, str]:
    return n, thing, threading.current_thread().name


@pytest.mark.parametrize("kind", ["generator", "manager"])
@pytest.mark.parametrize("workers", [None, 1, 4])
def test_one_for_each_worker_is_made_and_released_in_its_thread(
    kind: str, workers: int | None
) -> None:
    log = Log()
    make = getattr(log, kind)("w")
    plan = Pipeline(
        range(50), [steps.map(use, workers=workers)], resources={"thing": per_worker(make)}
    )
    for n, thing, thread in plan:
        assert log.threads[thing] == thread
        assert n < 50
    assert len(log.made) == (workers or 1)
    assert sorted(log.released) == sorted(log.made)


@pytest.mark.parametrize("workers", [None, 4])
@pytest.mark.parametrize(("scope", "count"), [(per_step, 2), (per_run, 1)])
def test_one_for_each_step_or_for_the_run(
    workers: int | None, scope: Callable[[Any], Any], count: int
) -> None:
    log = Log()
    plan = [steps.tap(use, workers=workers), steps.tap(use, workers=workers)]
    Pipeline(range(20), plan, resources={"thing": scope(log.generator("s"))}).run()
    assert len(log.made) == len(log.released) == count


def test_what_is_made_last_is_released_first() -> None:
    log = Log()

    def both(n: int, *, a: str, b: str) -> int:
        return n

    resources = {"a": per_run(log.generator("a")), "b": per_run(log.manager("b"))}
    Pipeline([1], [steps.map(both)], resources=resources).run()
    assert log.released == log.made[::-1]


@pytest.mark.parametrize("workers", [None, 3])
def test_after_errors_and_early_ends_everything_is_released(workers: int | None) -> None:
    def fail(n: int, *, thing: str) -> int:
        raise KeyError(n)

    log = Log()
    for scope in (per_worker, per_step, per_run):
        resources = {"thing": scope(log.generator("x"))}
        with pytest.raises(KeyError):
            Pipeline(range(9), [steps.map(fail, workers=workers)], [], resources=resources).run()
        plan = [steps.map(use, workers=workers), steps.limit(2)]
        assert len(list(Pipeline(range(99), plan, resources=resources))) == 2
    assert sorted(log.released) == sorted(log.made)
    assert log.made


@pytest.mark.parametrize("workers", [None, 4])
@pytest.mark.parametrize("scope", [per_worker, per_step, per_run])
def test_one_that_cannot_be_made_or_released_fails_the_run(
    tmp_path: Path, workers: int | None, scope: Callable[[Any], Any]
) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def never() -> Iterator[int]:
        raise ZeroDivisionError
        yield

    def badly() -> Iterator[str]:
        yield "x"
        raise ZeroDivisionError

    def empty() -> Iterator[str]:
        yield from ()

    def twice() -> Iterator[str]:
        yield "x"
        yield "y"

    for make in (never, badly, empty, twice):
        step = steps.filter(use, workers=workers)
        with pytest.raises((ZeroDivisionError, RuntimeError)):
            Pipeline(range(9), [step], target, resources={"thing": scope(make)}).run()
        assert target.read_text() == "old"


def test_values_are_passed_as_they_are_and_locks_are_not_entered() -> None:
    lock = threading.Lock()

    def check(n: int, *, limit: int, lock: Any, made: Any) -> bool:
        return n < limit and not lock.locked() and not made.locked()

    resources = {"limit": 3, "lock": lock, "made": per_step(threading.Lock)}
    assert list(Pipeline(range(5), [steps.filter(check, workers=2)], resources=resources)) == [
        0,
        1,
        2,
    ]


def test_workers_share_with_a_lock_of_the_resource() -> None:
    def count(n: int, *, seen: dict[str, int], seen_lock: Any) -> int:
        with seen_lock:
            seen["n"] = (before := seen.get("n", 0)) + 1
        return before

    plan = [steps.map(count, workers=8)]
    made = Pipeline(range(2000), plan, resources={"seen": per_step(dict)})
    assert sorted(made) == list(range(2000))
    assert sorted(made) == list(range(2000))  # another run has another one


READ: list[int] = []


def source() -> Iterator[int]:
    READ.append(1)
    yield 1


@pytest.mark.parametrize("workers", [None, 2])
def test_a_name_that_is_missing_or_unused_is_a_plan_error_before_anything_starts(
    workers: int | None,
) -> None:
    READ.clear()
    for function, resources, words in (
        (use, {}, "asks for 'thing'"),
        (use, {"thing": 1, "other": 2}, "no step asks for the resource 'other'"),
        (str, {"thing": 1}, "no step asks"),
    ):
        plan = Pipeline(source, [steps.map(function, workers=workers)], resources=resources)
        for carry_out in (plan.run, lambda plan=plan: list(plan), plan.start):
            with pytest.raises(PlanError, match=words):
                carry_out()
    assert not READ


def test_a_function_carries_its_needs_which_a_pipeline_overrides() -> None:
    @needs(n=per_run(lambda: 10))
    def add(record: int, *, n: int, m: int = 5) -> int:
        return record + n + m

    assert list(Pipeline([1], [steps.map(add, workers=2)])) == [16]
    assert list(combine_pipeline([1], [steps.map(add)])) == [16]
    assert list(steps.map(add)([1])) == [16]
    assert list(Pipeline([1], [steps.map(add)], resources={"n": 0, "m": 1})) == [2]
    with pytest.raises(PlanError, match="no keyword-only parameter 'session'"):
        needs(session=1)(add)
    with pytest.raises(PlanError, match="per_worker takes what makes"):
        per_worker(3)


class Step:
    """A function with something to set up."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def setup(self) -> None:
        self.log.append("setup")

    def __call__(self, n: int, *, limit: int) -> bool:
        assert self.log == ["setup"]
        return n < limit

    def teardown(self) -> None:
        self.log.append("teardown")


@pytest.mark.parametrize("workers", [None, 4])
def test_an_object_is_set_up_and_torn_down_once(workers: int | None) -> None:
    step = Step()
    plan = Pipeline(range(9), [steps.filter(step, workers=workers)], resources={"limit": 2})
    assert list(plan) == [0, 1]
    assert step.log == ["setup", "teardown"]


@pytest.mark.parametrize("workers", [None, 2])
def test_generator_steps_and_coroutine_functions_ask_too(workers: int | None) -> None:
    def add(records: Iterable[int], *, n: int) -> Iterator[int]:
        for record in records:
            yield record + n

    async def times(record: int, *, n: int) -> int:
        return record * n

    generator = add if workers is None else steps.parallel(add, workers=workers)
    plan = [generator, steps.map(times, workers=workers)]
    assert list(Pipeline([1, 2], plan, resources={"n": per_worker(lambda: 3)})) == [12, 15]


def test_the_command_line_needs_nothing_more(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "from paipa_etl import needs, per_worker\n"
        "@needs(n=per_worker(lambda: 7))\n"
        "def add(record, *, n):\n    return record + n\n"
    )
    done = paipa("-", "-", "--map", "my.py:add@4", input=b"1\n2\n3\n")
    assert (done.returncode, done.stdout) == (0, b"8\n9\n10\n"), done.stderr
