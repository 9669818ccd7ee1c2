"""Schedules: whoever goes on when, a run ends, loses and doubles nothing, and keeps its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from schedules import Scheduler, make_cooperative, schedules

from paipa_etl import steps
from paipa_etl.run import new_run
from paipa_etl.run.clock import Clock
from paipa_etl.runners.threaded import _Plan
from paipa_etl.sources.iterables import IterableSource


@pytest.fixture(autouse=True)
def cooperative(monkeypatch: pytest.MonkeyPatch) -> None:
    make_cooperative(monkeypatch)


class Boom(Exception):
    """What a function or a source fails with."""


class Still(Clock):
    def now(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Case:
    """A plan, and what happens to it."""

    ordered: bool = True
    queue: int = 1
    items: int = 3
    stages: int = 2
    kind: str = "map"
    at_hand: bool = False
    fails: tuple[int, int] | None = None
    source_fails: int | None = None
    stop_after: int | None = None
    interrupts: bool = False
    at_once: bool = False


class Once:
    """One run of a case, and what came of it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.got: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self.raised: BaseException | None = None

    def __call__(self, scheduler: Scheduler) -> str:
        self.scheduler = scheduler
        case = self.case
        records: Any = list(range(case.items)) if case.at_hand else self._source()
        plan_steps = tuple(
            getattr(steps, case.kind)(
                partial(self._function, n), workers=2, ordered=case.ordered, queue=case.queue
            )
            for n in range(case.stages)
        )
        self.run = new_run(clock=Still())
        self.plan = _Plan(
            IterableSource(records), plan_steps, self.run, raw=False, at_once=case.at_once
        )
        self.channels = self.plan.group.channels
        self.buffers = self.plan.group.buffers
        scheduler.look = self._look
        return scheduler.run(self._consume) or self._check()

    def _source(self) -> Iterator[int]:
        for item in range(self.case.items):
            if item == self.case.source_fails:
                raise Boom
            yield item

    def _function(self, stage: int, item: int) -> int:
        self.calls.append((stage, item))
        self.scheduler.decide()
        if self.case.fails == (stage, item):
            raise Boom
        return item

    def _consume(self) -> None:
        try:
            with closing(self.plan.records()) as records:
                if self.case.stop_after == 0:
                    return
                for record in records:
                    self.got.append(record)
                    if len(self.got) == self.case.stop_after:
                        return
        except BaseException as error:
            self.raised = error

    def _look(self) -> str:
        for channel in self.channels:
            if channel.lock.held:
                continue
            if not 0 <= channel._items <= channel._max_items:
                return f"a channel of {channel._max_items} holds {channel._items}"
            if (
                channel.takers.turns
                and channel._parcels
                and not channel.takers._coming
                and not channel.abandoned
            ):
                return "a taker sleeps"
            if (
                channel._givers.turns
                and not channel._items
                and not channel._givers._coming
                and not channel.abandoned
            ):
                return "a giver sleeps"
        for w in self.buffers:
            if not 0 <= w._held_items <= w.inlet._max_items:
                return f"a buffer holds {w._held_items}"
        return ""

    def _check(self) -> str:
        case = self.case
        expected = list(range(case.items))
        end = case.items
        error: type[BaseException] | None = None
        if case.source_fails is not None:
            end, error = case.source_fails, Boom
        if case.fails:
            end, error = case.fails[1], Boom
        told = f"got {self.got}, raised {self.raised!r}, calls {self.calls}"
        if len(set(self.calls)) != len(self.calls):
            return "called twice: " + told
        if len(set(self.got)) != len(self.got):
            return "doubled: " + told
        if self.scheduler.interrupted and isinstance(self.raised, (KeyboardInterrupt, type(None))):
            error = type(self.raised) if self.raised else None
            end = len(self.got)
        if case.stop_after is not None:
            end = min(end, case.stop_after)
            if len(self.got) == case.stop_after and self.raised is None:
                error = None
        if not (self.raised is None if error is None else type(self.raised) is error):
            return "raised: " + told
        if case.ordered and not case.at_once:
            if self.got != expected[:end]:
                return "order: " + told
        elif case.ordered:
            if self.got != expected[: len(self.got)]:
                return "order: " + told
        elif (
            (error is None and not self.scheduler.interrupted and case.stop_after is None)
            or (case.source_fails is not None and not case.at_once)
        ) and sorted(self.got) != expected[:end]:
            return "lost: " + told
        return ""


BOTH = (True, False)
QUEUES = (1, 2)
CASES = [
    *(Case(ordered=o, queue=q) for o in BOTH for q in QUEUES),
    *(Case(ordered=o, fails=(stage, item)) for o in BOTH for stage in (0, 1) for item in range(3)),
    *(Case(ordered=o, fails=(stage, 1), at_once=True) for o in BOTH for stage in (0, 1)),
    *(Case(ordered=o, stop_after=n) for o in BOTH for n in range(3)),
    *(Case(ordered=o, source_fails=n) for o in BOTH for n in range(3)),
    *(Case(ordered=o, queue=8, at_hand=True, items=4, stages=n) for o in BOTH for n in (1, 2)),
    *(Case(ordered=o, queue=8, at_hand=True, items=4, fails=(0, 2)) for o in BOTH),
    *(Case(ordered=o, interrupts=True) for o in BOTH),
]
SCHEDULES = 50_000


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_is_right_under_every_schedule(case: Case) -> None:
    for script, problem in schedules(
        lambda scheduler: Once(case)(scheduler),
        SCHEDULES // len(CASES) + 1,
        interrupts=case.interrupts,
    ):
        assert not problem, (case, script, problem)
