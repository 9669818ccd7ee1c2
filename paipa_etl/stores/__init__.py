"""What a store's source and sink share; opening for reading or writing is not done here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from paipa_etl.errors import PlanError
from paipa_etl.location import Location


@dataclass(frozen=True)
class StoreOptions:
    """What is passed through to a remote store: smart_open's words, and fsspec's."""

    transport_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Store(Protocol):
    """One way to read or to write the locations of some schemes."""

    @property
    def schemes(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=Store)


class StoreTable(Generic[S]):
    """The stores that can do one thing, by scheme; ``verb`` is what they do, for messages.

    ``modules`` register themselves when they are imported: one after the other, until
    the scheme that is asked for is there, so that a local run imports no remote store.
    """

    def __init__(self, verb: str, *modules: str) -> None:
        self._verb = verb
        self._modules = [*modules]
        self._stores: dict[str, S] = {}

    def register(self, store: S) -> None:
        """Add a store; a scheme that is taken is an error."""
        for scheme in store.schemes:
            if scheme in self._stores:
                raise PlanError(f"a store {self._verb} {scheme!r} already")
            self._stores[scheme] = store

    def store_of(self, location: Location) -> S:
        """The store of a location; an unknown scheme is an error that lists the known ones."""
        while location.scheme not in self._stores and self._modules:
            importlib.import_module(self._modules.pop(0))
        store = self._stores.get(location.scheme)
        if store is None:
            known = ", ".join(sorted(self._stores))
            problem = f"no store {self._verb} {location.scheme!r}; known: {known}"
            raise PlanError(f"{location}: {problem}")
        return store
