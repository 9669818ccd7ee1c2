"""The functions that begin a pipeline: read(), and combine_pipeline() for nested generators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from paipa_etl.errors import PlanError
from paipa_etl.location import parse
from paipa_etl.pipeline import Pipeline, observer_of
from paipa_etl.records.blocks import MAX_RECORD
from paipa_etl.run import new_run
from paipa_etl.run.resources import check
from paipa_etl.runners import serial
from paipa_etl.sources.files import FileSource
from paipa_etl.steps.contract import flatten_steps
from paipa_etl.stores import NO_OPTIONS, StoreOptions
from paipa_etl.suffixes import format_of, parse_suffixes

if TYPE_CHECKING:
    from paipa_etl.debugger import Debugger
    from paipa_etl.metrics.plan import Plan


def read(
    *sources: Any,
    from_: str | None = None,
    max_record: int = MAX_RECORD,
    read_ahead: bool = False,
    format_options: Mapping[str, Any] | None = None,
    options: StoreOptions = NO_OPTIONS,
) -> Pipeline:
    """Records of one location or of several, one after the other, as a pipeline without steps.

    ``from_`` overrides what suffixes say ("jsonl.gz", "txt", "bytes"); magic bytes tell
    the codec in any case. ``max_record`` is the most bytes of one record. Iterating
    starts no thread unless ``read_ahead`` is true. ``format_options`` are those of the format,
    which all locations must have then; ``options`` those of the store (see docs/stores.md).
    Keeps one block of 128 KiB, or one record. Raises ``InputError`` for an input that is
    missing, cut or damaged, and ``BadRecord`` for a record that is not valid.
    """
    if not sources:
        raise PlanError("read() needs a location")
    if max_record < 1:
        raise PlanError(f"max_record is a number of bytes from 1, not {max_record}")
    format, codec = parse_suffixes(from_)
    locations = tuple(map(parse, sources))
    made = None
    if format_options:
        made = (format or format_of(locations[0], "from_")).options_of(format_options)
    return Pipeline(FileSource(locations, format, codec, max_record, read_ahead, options, made))


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
