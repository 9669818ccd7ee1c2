"""Opening for reading: one file a store, and sources of records that no store holds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.stop import Stop
from paipa_etl.stores import StoreOptions, StoreTable


class Source(Protocol):
    """Where records come from: plain data until a runner asks for them."""

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one."""


@dataclass(frozen=True, eq=False)
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


_table = StoreTable[ReadStore](
    "reads",
    "paipa_etl.sources.local",
    "paipa_etl.sources.standard",
    "paipa_etl.sources.objects",
    "paipa_etl.sources.remote",
    "paipa_etl.sources.protocols",
)
register = _table.register
store_of = _table.store_of
