"""Opening for reading: one file a store, and sources of records that no store holds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from paipa_etl.errors import PlanError
from paipa_etl.formats.batch import Batch
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.stop import Stop
from paipa_etl.stores import StoreOptions


class Source(Protocol):
    """Where records come from: plain data until a runner asks for them."""

    @property
    def has_batches(self) -> bool:
        """Whether records come in batches, with raw lines and where they are from."""

    def batches(self, run: Run, reads: bool) -> Generator[Batch, None, None]:
        """The batches; ``reads``: whether a step reads records, or raw lines will do."""

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one."""


@dataclass(frozen=True)
class ReadStore:
    """How a store is read.

    ``pieces`` opens a location and yields its bytes, of any size; an empty piece says
    that the input is silent for now. ``size`` is the number of bytes, where that is
    known before reading. ``expand`` gives the locations that a wildcard stands for.
    """

    schemes: tuple[str, ...]
    pieces: Callable[[Location, Stop, StoreOptions], Generator[bytes, None, None]]
    size: Callable[[Location], int | None] = lambda _: None
    expand: Callable[[Location], Iterable[Location]] = lambda location: (location,)
    once: bool = False
    """Whether what was read is gone, and cannot be read again."""


_stores: dict[str, ReadStore] = {}


def register(store: ReadStore) -> None:
    """Add a store to the table; a scheme that is taken is an error."""
    for scheme in store.schemes:
        if scheme in _stores:
            raise PlanError(f"the scheme {scheme!r} is already read by a store")
        _stores[scheme] = store


def store_of(location: Location) -> ReadStore:
    """The store that reads a location; an unknown scheme is an error that lists the known ones."""
    store = _stores.get(location.scheme)
    if store is None:
        known = ", ".join(sorted(_stores))
        raise PlanError(f"{location}: no store reads {location.scheme!r}; known: {known}")
    return store


for _name in ("local", "standard", "objects", "remote", "protocols"):
    importlib.import_module(f"paipa_etl.sources.{_name}")
