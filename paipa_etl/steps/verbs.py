"""The functions that make the ready steps.

>>> from paipa_etl import combine_pipeline, steps
>>> list(combine_pipeline(range(6), [steps.filter(lambda n: n % 2), steps.map(str)]))
['1', '3', '5']
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, TypedDict, Unpack

from paipa_etl.errors import PlanError
from paipa_etl.run.retries import OnRetry, Retry, RetryOn
from paipa_etl.steps.contract import QUEUE, Opaque, Step, Threaded, Workers, flatten_steps
from paipa_etl.steps.expanding import FlatMap, Flatten
from paipa_etl.steps.functions import Filter, Map, Tap
from paipa_etl.steps.slices import Limit
from paipa_etl.steps.slices import Skip as _Skip
from paipa_etl.steps.timing import Batched, Throttle

__all__ = [
    "CallOptions",
    "Step",
    "batch",
    "consume",
    "declare",
    "filter",
    "flat_map",
    "flatten",
    "limit",
    "map",
    "parallel",
    "skip",
    "tap",
    "threaded",
    "throttle",
]


class CallOptions(TypedDict, total=False):
    """Keyword arguments of the verbs that call a function: map, flat_map, filter and tap.

    ``workers`` threads call the function at once (1 is a thread of its own; left out, it is
    called inline), or so many tasks of one event loop where it is a coroutine function.
    Records leave in the order in which they came, unless ``ordered`` is false; at most
    ``queue`` of them (1,024 by default) wait for the workers or are in their hands.

    Where the function fails it is called up to ``retries`` times more, after ``backoff``
    seconds (0.1 by default) and twice as long each time, if ``retry_on`` (exception types, or
    a predicate) wants that; ``on_retry(error, attempt, delay)`` is called before each retry.
    Then the error policy decides.
    """

    workers: int | None
    ordered: bool
    queue: int
    retries: int
    backoff: float
    retry_on: RetryOn
    on_retry: OnRetry | None


def map(function: Callable[..., Any], **options: Unpack[CallOptions]) -> Step:
    """Pass on what the function returns; it may raise ``Skip`` to drop the record.

    The keyword arguments, ``workers`` and ``retries`` among them, are ``CallOptions``.

    Keeps one record, or ``queue`` of them.

    >>> list(map(str.upper)(["a", "b"]))
    ['A', 'B']
    """
    workers, retry = _asked("map", options)
    return Map(function, workers=workers, retry=retry)


def flat_map(function: Callable[..., Iterable[Any]], **options: Unpack[CallOptions]) -> Step:
    """Pass on each item of the iterable that the function returns, none where it is empty.

    The keyword arguments are those of ``map``. Keeps one record, or ``queue`` of them and up to
    256 items of each; with ``retries`` all items of a record.

    >>> list(flat_map(range)([2, 0, 3]))
    [0, 1, 0, 1, 2]
    """
    workers, retry = _asked("flat_map", options)
    return FlatMap(function, workers=workers, retry=retry)


def filter(function: Callable[..., Any], **options: Unpack[CallOptions]) -> Step:
    """Pass on the records for which the function returns something true, unchanged.

    The keyword arguments are those of ``map``. Keeps one record, or ``queue`` of them. What the
    function changes in a record is not written (``map`` is for changes); where such a change
    is found, the run ends with ``ChangedRecord``. Not every change is found.

    >>> list(filter(str.isdigit)(["1", "a"]))
    ['1']
    """
    workers, retry = _asked("filter", options)
    return Filter(function, workers=workers, retry=retry)


def tap(function: Callable[..., Any], **options: Unpack[CallOptions]) -> Step:
    """Call the function on each record for what it does; pass on the record, unchanged.

    The keyword arguments are those of ``map``. Keeps one record, or ``queue`` of them. What the
    function changes in a record is not written (``map`` is for changes); where such a change
    is found, the run ends with ``ChangedRecord``. Not every change is found.

    >>> seen = []
    >>> list(tap(seen.append)("ab")), seen
    (['a', 'b'], ['a', 'b'])
    """
    workers, retry = _asked("tap", options)
    return Tap(function, workers=workers, retry=retry)


def _asked(verb: str, options: CallOptions) -> tuple[Workers | None, Retry | None]:
    """The workers and the retries that the keyword arguments of a verb ask for."""
    for name in options:
        if name not in CallOptions.__annotations__:
            raise TypeError(f"{verb}() got an unexpected keyword argument {name!r}")
    count, times = options.get("workers"), options.get("retries", 0)
    workers = None
    if count is not None:
        workers = Workers(count, options.get("ordered", True), options.get("queue", QUEUE))
    retry = Retry(
        times,
        options.get("backoff", 0.1),
        options.get("retry_on", Exception),
        options.get("on_retry"),
    )
    return workers, retry if times else None


def parallel(
    step: Callable[..., Iterable[Any]], *, workers: int, ordered: bool = True, queue: int = QUEUE
) -> Step:
    """Run a generator step in several workers, each its own instance over its share of records.

    What an instance yields between taking a record and asking for the next belongs to
    that record, and has its place in the order; what it yields after its last one comes
    at the end. The same as one instance would give, where the step keeps nothing from
    one record for the next.

    >>> list(parallel(enumerate, workers=2)("ab"))
    [(0, 'a'), (1, 'b')]
    """
    (made,) = flatten_steps(step)
    if not isinstance(made, Opaque):
        raise PlanError(f"parallel takes a generator step; {made} takes workers= itself")
    return replace(made, workers=Workers(workers, ordered, queue))


def threaded(*made: Any) -> Step:
    """Make one step of several, whose workers run as threads wherever it is used.

    In a pipeline they would anyway; with this, ``combine_pipeline`` and ``itertools`` take
    them too. The threads start when the first record is asked for, and end with the
    iterator; records are pulled by one of them, so what is upstream runs there.

    >>> list(threaded(map(str.upper, workers=2))("ab"))
    ['A', 'B']
    """
    return Threaded(flatten_steps(list(made)))


def batch(size: int, *, within: float | None = None, max_bytes: int | None = None) -> Step:
    """Gather records into lists of a size; the last one may be shorter. Keeps one list.

    ``within``: a list is passed on that many seconds after its first record came, full or
    not; a pipeline watches the time with a thread, and ``combine_pipeline`` looks at it
    when a record comes. ``max_bytes``: the most text and binary data in a list, if it
    has more than one record.

    >>> list(batch(2)("abc"))
    [['a', 'b'], ['c']]
    """
    return Batched(size, within, max_bytes)


def throttle(*, per_second: float) -> Step:
    """Pass on records evenly, at most so many in a second. Keeps one record.

    >>> list(throttle(per_second=1000)("ab"))
    ['a', 'b']
    """
    return Throttle(per_second)


def flatten() -> Step:
    """Pass on each item of each record, which is a list of some kind. Keeps one record.

    >>> list(flatten()([[1, 2], (3,)]))
    [1, 2, 3]
    """
    return Flatten()


def limit(count: int) -> Step:
    """Pass on the first records and end: the source is closed, nothing more is read.

    >>> list(limit(2)("abc"))
    ['a', 'b']
    """
    return Limit(count)


def skip(count: int) -> Step:
    """Leave out the first records.

    >>> list(skip(2)("abc"))
    ['c']
    """
    return _Skip(count)


def declare(step: Callable[[Iterable[Any]], Iterable[Any]], *, stateless: bool) -> Step:
    """Say of a plain callable that it keeps nothing from one record for the next.

    Then ``on_error="skip"`` drops the record on which it raises and goes on with a
    fresh instance; of any other generator that raised, nothing is left to go on with.
    """
    return Opaque(step, stateless)


def consume(iterator: Iterable[Any], n: int | None = None) -> None:
    """Run an iterator to its end, or ``n`` records far, and throw away what it gives.

    >>> rest = iter("abc"); consume(rest, 2); next(rest)
    'c'
    """
    deque(iterator if n is None else islice(iterator, n), maxlen=0)
