"""Opening for reading: one file a store, and sources of records that no store holds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.schemes import resolve
from paipa_etl.stores import StoreOptions, scheme_of
from paipa_etl.stores.port import Entry
from paipa_etl.threads.collector import apart


class Source:
    """Where records come from: plain data until a runner asks for them."""

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one."""
        raise NotImplementedError(type(self).__name__)

    def stop(self, run: Run) -> None:
        """The reading of a run ends early; called before the run's own reading is stopped."""

    def end(self, run: Run) -> None:
        """The run has ended, even if it never read the source."""


@contextmanager
def ending(source: Source, run: Run) -> Generator[None, None, None]:
    """Report the end of the run to its source, whatever the end is."""
    try:
        yield
    finally:
        apart(partial(source.end, run))


def itself(location: Location, run: Run, options: StoreOptions) -> Iterable[Entry]:
    """A location that stands for no others."""
    return (Entry(location),)


def never(location: Location) -> bool:
    """Any location can be read again."""
    return False


def always(location: Location) -> bool:
    """No location can be read again."""
    return True


@dataclass(frozen=True, eq=False)
class ReadStore:
    """How a store is read.

    ``pieces`` opens a location and yields its bytes, of any size; an empty piece says
    that the input is silent for now. ``size`` is the number of bytes, where that is
    known before reading. ``expand`` gives what a wildcard stands for, one by one.
    ``stat`` tells what is known of a location; its size and time may be None.
    """

    pieces: Callable[[Location, Run, StoreOptions], Generator[bytes, None, None]]
    stat: Callable[[Location, Run, StoreOptions], Entry] = lambda place, _, __: Entry(place)
    expand: Callable[[Location, Run, StoreOptions], Iterable[Entry]] = itself
    once: Callable[[Location], bool] = never
    """Whether a location cannot be read a second time: what was read of it is gone."""


def store_of(location: Location, allowed: Sequence[str] = ()) -> ReadStore:
    """How a location is read; ``PlanError`` for an unknown scheme.

    ``allowed`` are schemes that fsspec may serve, beside those that are known.
    """
    store: ReadStore = resolve(scheme_of(location, allowed, "reads").source)
    return store
