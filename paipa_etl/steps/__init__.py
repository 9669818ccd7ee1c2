"""The ready steps, by the names that a pipeline is written in.

>>> from paipa_etl import combine_pipeline, steps
>>> list(combine_pipeline(range(6), [steps.filter(lambda n: n % 2), steps.map(str)]))
['1', '3', '5']
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from paipa_etl.steps.contract import Opaque, Step
from paipa_etl.steps.functions import Filter, FlatMap, Flatten, Map, Tap
from paipa_etl.steps.slices import Batched, Limit
from paipa_etl.steps.slices import Skip as _Skip

__all__ = [
    "Step",
    "batch",
    "consume",
    "declare",
    "filter",
    "flat_map",
    "flatten",
    "limit",
    "map",
    "skip",
    "tap",
]


def map(function: Callable[[Any], Any]) -> Step:
    """Pass on what the function returns; it may raise ``Skip`` to drop the record.

    Keeps one record.

    >>> list(map(str.upper)(["a", "b"]))
    ['A', 'B']
    """
    return Map(function)


def flat_map(function: Callable[[Any], Iterable[Any]]) -> Step:
    """Pass on each item of the iterable that the function returns, none where it is empty.

    Keeps one record.

    >>> list(flat_map(range)([2, 0, 3]))
    [0, 1, 0, 1, 2]
    """
    return FlatMap(function)


def filter(function: Callable[[Any], Any]) -> Step:
    """Pass on the records for which the function returns something true, unchanged.

    Keeps one record.

    >>> list(filter(str.isdigit)(["1", "a"]))
    ['1']
    """
    return Filter(function)


def tap(function: Callable[[Any], Any]) -> Step:
    """Call the function on each record for what it does; pass on the record, unchanged.

    Keeps one record. The function promises not to change the record.

    >>> seen = []
    >>> list(tap(seen.append)("ab")), seen
    (['a', 'b'], ['a', 'b'])
    """
    return Tap(function)


def batch(size: int) -> Step:
    """Gather records into lists of a size; the last one may be shorter. Keeps one list.

    >>> list(batch(2)("abc"))
    [['a', 'b'], ['c']]
    """
    return Batched(size)


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
