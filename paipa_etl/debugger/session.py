"""Debugger: looks at runs; a session for each of them, which samples it and tells reporters."""

from __future__ import annotations

import os
import sys
import time
import warnings
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import NoneType
from typing import Any

from paipa_etl.debugger.observed import (
    Observed,
    limit_of,
    names_of,
    places_of,
    queue_view,
    steps_of,
)
from paipa_etl.debugger.reporter import Reporter
from paipa_etl.debugger.verdict import judge
from paipa_etl.errors import PaipaWarning, describe
from paipa_etl.metrics.accounts import RunAccounts
from paipa_etl.metrics.observer import CODEC, OWN, SINK, SOURCE, STORE
from paipa_etl.metrics.plan import Plan
from paipa_etl.metrics.samples import TOTALS, Samples
from paipa_etl.metrics.view import View, filled
from paipa_etl.threads import forks
from paipa_etl.threads.collector import apart
from paipa_etl.threads.ticking import Ticking

TICK = 0.1  # seconds between two looks of a session's own thread


class Debugger:
    """Looks at runs: ``Pipeline.run(debugger=...)``, ``combine_pipeline(..., debugger=...)``.

    ``counters``: numbers of the user's that only grow; what one grows by while a step is at
    work is shown as the step's, and for each record. In steps with workers, let it count for
    the thread that asks. ``count_lists``: a list of n counts n, in times and tracked counts
    (the report's counts stay those of records). ``clock`` gives nanoseconds, for tests.
    Keeps some kilobytes for each thread of each step, and at most 400 samples.
    """

    def __init__(
        self,
        reporters: Sequence[Reporter] = (),
        *,
        counters: Mapping[str, Callable[[], int]] | None = None,
        count_lists: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.reporters = tuple(reporters)
        self.counters = {} if counters is None else dict(counters)
        self.count_lists, self.clock = count_lists, clock
        self.view: View | None = None
        """What was seen of the last run that is over."""
        self._session: Session | None = None

    def watch(self) -> Session:
        """What one run is given."""
        self._session = Session(self)
        return self._session

    def look(self) -> View | None:
        """What is seen now of the run that goes on, with a verdict; of the last one after it."""
        return self._session.now() if self._session and self._session.goes_on else self.view


class Session(RunAccounts):
    """One run that is looked at. Its thread samples it; nested generators do so in passing."""

    def __init__(self, debugger: Debugger) -> None:
        super().__init__(debugger.counters, lists=debugger.count_lists, clock=debugger.clock)
        self._debugger = debugger
        self._samples = Samples()
        self._reporters: list[Reporter] = list(debugger.reporters)
        self._due: dict[int, float] = {}
        self._run: Observed
        self._plan = Plan("", (), "")
        self._ticking = Ticking(self._look, TICK, "debugger")
        self._nanoseconds = debugger.clock if debugger.clock is not None else time.perf_counter_ns
        self._began = self._cpu = self._seconds = 0.0
        self._final: View | None = None
        self.goes_on = False
        forks.own(self)

    def disown(self) -> None:
        """In a forked child: the parent goes on to tell them."""
        self._reporters.clear()

    @contextmanager
    def watching(
        self, run: Observed, plan: Callable[[], Plan], *, thread: bool = True
    ) -> Generator[None, None, None]:
        """While the run goes on. Without a ``thread``, it is sampled whenever a record comes by."""
        self._begin(run, plan().shown())
        failed: BaseException | None = None
        if not thread:
            self.passing = self._look
        try:
            if thread:
                self._ticking.start()
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            apart(partial(self._end, failed))

    def _end(self, failed: BaseException | None) -> None:
        try:
            self._ticking.end()
            self._finish(failed)
        finally:
            self.memory.close()

    def details(self) -> View | None:
        """What was seen, when the run is over."""
        return self._final

    def now(self) -> View:
        """What is seen of a run that goes on."""
        return self._view()

    # A thread of its own, or a call whenever a record comes by.

    def _look(self) -> None:
        now = self._now()
        if self._samples.is_due(now):
            self._sample(now)
        due = [one for one in self._reporters if now >= self._due[id(one)]]
        if due:
            view = self._view()
            for reporter in due:
                self._due[id(reporter)] = now + reporter.every
                self._tell(reporter, reporter.update, view)

    def _tell(self, reporter: Reporter, method: Callable[[View], None], view: View) -> None:
        try:
            method(view)
        except Exception as error:
            self._reporters.remove(reporter)
            problem = f"{type(reporter).__name__} failed: {describe(error)}"
            warnings.warn(f"the reporter {problem}; the run goes on", PaipaWarning, stacklevel=2)

    # Beginning, end, and what it is like in between.

    def _begin(self, run: Observed, plan: Plan) -> None:
        self._run, self._plan = run, plan
        self._began, self._cpu = self._nanoseconds() / 1e9, time.process_time()
        self._started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self._due = {id(one): one.every for one in self._reporters}
        self.goes_on = True
        view = self._view()
        for reporter in list(self._reporters):
            self._tell(reporter, reporter.begin, view)

    def _finish(self, failed: BaseException | None) -> None:
        self.settle()
        self._seconds = self._now()
        self._sample(self._seconds)
        view = self._view()
        view.finished = True
        if isinstance(failed, Exception):
            view.failed = describe(failed)
        elif not isinstance(failed, (GeneratorExit, NoneType)):  # who has enough ends it early
            view.failed = type(failed).__name__
        self._final = self._debugger.view = view
        self.goes_on = False
        for reporter in list(self._reporters):
            self._tell(reporter, reporter.finish, view)

    def _now(self) -> float:
        return self._nanoseconds() / 1e9 - self._began

    def _sample(self, now: float) -> None:
        counts = self._run.counts
        owners = (SOURCE, *counts.steps, SINK)
        work = [sum(self.own(owner, role) for role in (OWN, STORE, CODEC)) for owner in owners]
        totals = [
            counts.read,
            counts.out(),
            counts.bytes_in(),
            counts.bytes_out,
            self.memory.held(),
            *work,
        ]
        fills = []
        for queue in list(self.queues):
            told = queue.channel.statistics()
            fills.append(filled(told.items, told.bytes, limit_of(told), told.max_bytes))
        self._samples.add(now, totals, fills)

    def _view(self) -> View:
        report = self._run.report()
        names, places = names_of(self._run, self._plan), places_of(self._run)
        order = self._in_order()
        queues = [
            queue_view(self.queues[place], names, places, *self._samples.occupancy(place))
            for place in order
        ]
        steps = steps_of(self, self._run, self._plan, report)
        view = View(self._seconds or self._now(), _counts(report), steps, queues)
        view.plan, view.transfers = "\n".join(_lines(self._plan)), self._plan.transfers
        view.cpu, view.memory = time.process_time() - self._cpu, self.memory.held()
        view.delayed = self.delays.nanoseconds / 1e9
        view.samples, view.machine = self._sampled(order), machine()
        view.started, view.page = self._started, _page
        view.verdict = judge(view)
        return view

    def _in_order(self) -> list[int]:
        """The places of the channels, from the source's to the sink's."""

        def rank(place: int) -> int:
            queue = self.queues[place]
            if queue.giver is not queue.taker:
                return 1
            return 0 if queue.giver is SOURCE else 2

        return sorted(range(len(self.queues)), key=rank)

    def _sampled(self, order: list[int]) -> dict[str, Any]:
        samples = self._samples
        columns = [column[:] for column in samples.totals]
        fills = [column[:] for column in samples.fills]
        return {
            "at": samples.at[:],
            **dict(zip(TOTALS, columns, strict=False)),
            "steps": columns[len(TOTALS) :],
            "queues": [fills[place] if place < len(fills) else array("d") for place in order],
        }


def _page(view: View) -> str:
    from paipa_etl.debugger.page import page  # here: most runs that are watched need no page

    return page(view)


def _counts(report: Any) -> dict[str, Any]:
    """The report's counts, of which the lines of the steps are told apart."""
    told: dict[str, Any] = report.to_dict()
    return {name: told[name] for name in told if name not in ("steps", "seconds")}


def _lines(plan: Plan) -> list[str]:
    steps = [f"step   {step.name}" for step in plan.steps]
    return [f"read   {plan.source}", *steps, f"write  {plan.sink}"]


def machine() -> dict[str, Any]:
    """Versions and machine, without its name."""
    from paipa_etl import __version__

    system = os.uname()
    return {
        "paipa-etl": __version__,
        "python": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "system": f"{system.sysname} {system.release}",
        "architecture": system.machine,
        "processors": os.cpu_count(),
    }
