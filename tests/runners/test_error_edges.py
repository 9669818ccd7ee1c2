"""Errors at a run's edges: encoding, writing, publishing, resources; nothing is published then."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from troubles import AT, BEFORE, COUNT, Trouble, paced, soon

from paipa_etl import (
    BadRecord,
    OutputError,
    Pipeline,
    per_run,
    per_step,
    per_worker,
    schemes,
    sinks,
    steps,
)


class Shelf:
    """A store whose target fails when it is written, or when it is published."""

    live = False
    cached = False

    def __init__(self, trouble: Trouble, fails: str) -> None:
        self.trouble, self.fails, self.aborted = trouble, fails, 0

    def write(self, data: bytes) -> None:
        if self.fails == "write":
            self.trouble.fail()

    def commit(self) -> None:
        self.trouble.fail()

    def abort(self, cause: BaseException) -> None:
        assert cause is self.trouble.error
        self.aborted += 1


SHELVES: dict[str, Shelf] = {}


@pytest.fixture(autouse=True)
def shelves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store for these tests only: what is registered has to pass the conformance kits."""
    store = sinks.WriteStore(lambda location, clobber, run, options: SHELVES[location.target])
    monkeypatch.setitem(schemes._rows, "shelf", schemes.Scheme(("shelf",), sink=store))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    path.write_bytes(BEFORE)
    return path


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
def test_a_record_that_cannot_be_encoded(target: Path, pace: str, workers: int) -> None:
    def spoil(n: int) -> Any:
        return float("nan") if n == AT else n

    made = paced([steps.map(spoil, workers=workers, queue=2)], pace)
    with soon(), pytest.raises(BadRecord) as caught:
        Pipeline(range(COUNT), made, target).run()
    assert caught.value.__notes__ == ["in the sink, record 31"]
    assert target.read_bytes() == BEFORE
    report = Pipeline(range(COUNT), made, target, on_error="skip").run()
    assert (report.skipped, report.written, report.balanced) == (1, COUNT - 1, True)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pace", ["full", "empty"])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("fails", ["write", "commit"])
def test_a_store_that_fails(fails: str, on_error: str, pace: str, workers: int) -> None:
    trouble = Trouble()
    shelf = SHELVES["shelf://out.jsonl"] = Shelf(trouble, fails)
    made = paced([steps.map("x".__mul__, workers=workers, queue=2)], pace)
    with soon(), pytest.raises(KeyError) as caught:
        Pipeline(range(5000, 5000 + COUNT), made, "shelf://out.jsonl", on_error).run()
    assert caught.value is trouble.error
    assert (trouble.calls, shelf.aborted) == (1, 1)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_disk_that_is_full(target: Path, suffix: str, workers: int) -> None:
    path = target.with_name(target.name + suffix)
    path.write_bytes(BEFORE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = (bytes([n % 256]).hex() * 5000 + str(n) for n in range(10**9))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with soon(), pytest.raises(OutputError, match=r"too large.*untouched"):
            Pipeline(many, steps.map(str, workers=workers), path).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == BEFORE


SCOPES = {"worker": per_worker, "step": per_step, "run": per_run}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("count", [0, COUNT])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("fails", ["setup", "teardown"])
def test_a_resource_that_fails(
    target: Path, fails: str, scope: str, on_error: str, count: int, workers: int
) -> None:
    trouble = Trouble()

    def use(n: int, *, thing: Any) -> int:
        return n

    made = steps.map(use, workers=workers, queue=2, retries=2, backoff=0)
    thing = SCOPES[scope](lambda: trouble.resource(fails=fails))
    plan = Pipeline(range(count), made, target, on_error, resources={"thing": thing})
    with soon(), pytest.raises(KeyError) as caught:
        plan.run()
    assert caught.value is trouble.error
    if scope == "worker" or fails == "setup":
        assert caught.value.__notes__ == [f"in {made}, with no record in hand"]
    assert target.read_bytes() == BEFORE


@pytest.mark.parametrize("scope", SCOPES)
def test_a_record_that_fails_comes_before_a_resource_that_does(target: Path, scope: str) -> None:
    first, second = Trouble(), Trouble()

    def use(n: int, *, thing: Any) -> Any:
        return first(n)

    thing = SCOPES[scope](lambda: second.resource(fails="teardown"))
    made = steps.map(use, workers=1)
    plan = Pipeline(range(COUNT), made, target, resources={"thing": thing})
    run = plan.new_run()
    with soon(), pytest.raises(KeyError) as caught:
        plan.run(run)
    assert caught.value is first.error
    assert second.calls == 1
    assert [error is second.error for error in run.failures.all] == [False, True]
    assert len(run.report().errors) == 1
