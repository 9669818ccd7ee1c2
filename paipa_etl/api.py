"""Nested generators without a plan to carry out: one thread, one record at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from paipa_etl.metrics.plan import Plan
from paipa_etl.pipeline import Pipeline, observer_of
from paipa_etl.run import new_run
from paipa_etl.run.resources import check
from paipa_etl.runners import serial
from paipa_etl.steps.contract import flatten_steps

if TYPE_CHECKING:
    from paipa_etl.debugger import Debugger


def combine_pipeline(source: Any, steps: Any, *, debugger: Debugger | None = None) -> Any:
    """Nest generators: an iterator over a source's records behind the steps.

    Where the source is a callable, so is the result: it passes its arguments on to the
    source. A location or ``read(...)`` is opened when the first record is asked for. A
    ``debugger`` looks on while records come by; no thread is started for it.

    >>> list(combine_pipeline([3, 1, 2], [sorted, enumerate]))
    [(0, 1), (1, 2), (2, 3)]
    >>> list(combine_pipeline(range, [])(2, 4))
    [2, 3]
    """
    if callable(source) and not isinstance(source, Pipeline):
        return partial(_call, source, flatten_steps(steps), debugger)
    return _iterate(Pipeline(source, steps), debugger)


def _iterate(plan: Pipeline, debugger: Debugger | None) -> Iterator[Any]:
    check([function for step in plan.steps for function in step.functions], {})
    run = new_run(observer=observer_of(debugger))
    if debugger is None:
        return serial.records(plan.source, plan.steps, run)

    def described() -> Plan:
        return replace(plan.described(plan.steps), sink="the consumer of the records")

    watching = run.observer.watching(run, described, thread=False)
    return serial.records(plan.source, plan.steps, run, watching=watching)


def _call(
    source: Callable[..., Iterable[Any]],
    steps: Any,
    debugger: Debugger | None,
    *args: Any,
    **kw: Any,
) -> Iterator[Any]:
    return _iterate(Pipeline(source(*args, **kw), steps), debugger)
