"""What a store's source and sink share; opening for reading or writing is not done here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from paipa_etl import entry_points
from paipa_etl.errors import PlanError, shown
from paipa_etl.location import LITERAL, LOCAL, NETWORK, Location
from paipa_etl.run.retries import Retry
from paipa_etl.threads import forks

TIMEOUT = 60.0  # seconds
CONNECT_TIMEOUT = 10.0  # seconds
RETRIES = 5
BACKOFF = 0.25  # seconds before the first retry


@dataclass(frozen=True)
class StoreOptions:
    """What is passed on to a store.

    ``transport_params`` are smart_open's words (``client``, ``client_kwargs``,
    ``version_id``, ``min_part_size``, ``headers`` …), and ``timeout``, ``retries``,
    ``backoff``; ``storage_options`` are fsspec's. ``schemes`` are allowed beside those
    that always are. ``timeout`` is the most seconds of silence, and the window of the least pace.
    """

    transport_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    endpoint_url: str | None = field(default=None, repr=False)
    insecure: bool = False
    schemes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.endpoint_url is not None:
            check_endpoint(self.endpoint_url)

    def word(self, name: str, default: Any) -> Any:
        """A transport parameter, or what holds without it."""
        return self.transport_params.get(name, default)

    @property
    def timeout(self) -> float:
        """Seconds of silence after which a request is given up."""
        return float(self.word("timeout", TIMEOUT))

    def retry(self) -> Retry:
        """How often, and after how long, a request is made again."""
        times, backoff = self.word("retries", RETRIES), self.word("backoff", BACKOFF)
        return Retry(times, backoff=backoff)


COMMON = frozenset({"timeout", "retries", "backoff"})
"""Transport parameters that every store understands."""


def check_words(location: Location, options: StoreOptions, words: frozenset[str]) -> None:
    """Refuse transport parameters that a store does not understand."""
    if unknown := set(options.transport_params) - words - COMMON:
        known, strange = ", ".join(sorted(words | COMMON)), ", ".join(sorted(unknown))
        raise PlanError(
            f"{location}: transport_params that nobody knows: {strange}; known: {known}"
        )


def check_endpoint(url: str) -> None:
    """Refuse what is no URL of a server; where it may hold a secret, it is not told."""
    from urllib.parse import urlsplit

    with suppress(ValueError):  # of a port that is none
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    told = "that of this run" if "@" in url or "?" in url else shown(url)
    raise PlanError(f"an endpoint is a URL such as https://host:port, and {told} is none")


BUILT_IN = frozenset({LOCAL, *LITERAL, *NETWORK})
"""The schemes of this package."""
OBJECTS = "s3"
"""One of them that is read and written through an engine, as schemes that were added are."""
_added: dict[str, Any] = {}
"""By scheme, the engines that were added."""


def register(engine: Any, *schemes: str) -> None:
    """Add a store of objects, to be read and written; a scheme that is taken is an error.

    ``engine`` is a class with the methods of ``stores/port.py``. It is called with a location,
    the ``StoreOptions`` and the ``Clients`` of a run; its attribute ``words`` is a frozenset of
    the transport parameters that it understands.
    """
    for scheme in schemes:
        if scheme in BUILT_IN or scheme in _added:
            raise PlanError(f"there is a store for {scheme!r} already")
        _added[scheme] = engine


def added_engine(scheme: str) -> Any:
    """The engine that was added for a scheme, perhaps by an installed package; None without one.

    The entry points of the group ``paipa_etl.stores`` are called like the scheme.
    """
    if scheme not in BUILT_IN and scheme not in _added:
        entry_points.load(entry_points.STORES, scheme)
    return _added.get(scheme)


class Store(Protocol):
    """One way to read or to write the locations of some schemes."""

    @property
    def schemes(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=Store)


class StoreTable(Generic[S]):
    """The stores that can do one thing, by scheme; ``verb`` is what they do, for messages.

    ``modules`` register themselves when they are imported: one after the other, until
    the scheme that is asked for is there, so that a local run imports no remote store. For a
    scheme that none of them has, installed packages are asked.
    """

    def __init__(self, verb: str, *modules: str) -> None:
        self._verb = verb
        self._modules = [*modules]
        self._stores: dict[str, S] = {}
        self._lock = forks.reentrant_lock()

    def register(self, store: S) -> None:
        """Add a store; a scheme that is taken is an error."""
        for scheme in store.schemes:
            if scheme in self._stores:
                raise PlanError(f"a store {self._verb} {scheme!r} already")
            self._stores[scheme] = store

    def store_of(self, location: Location, allowed: Sequence[str] = ()) -> S:
        """The store of a location; an unknown scheme is an error that lists the known ones.

        ``allowed`` are schemes that fsspec may serve, beside those that are known.
        """
        scheme = location.scheme
        with self._lock:
            while scheme not in self._stores and self._modules:
                importlib.import_module(self._modules.pop(0))
        if scheme not in self._stores and added_engine(scheme) is not None:
            scheme = OBJECTS
        elif scheme not in self._stores and scheme in allowed:
            scheme = "memory"
        store = self._stores.get(scheme)
        if store is None:
            known = ", ".join(self.schemes())
            problem = f"no store {self._verb} {location.scheme!r}; known: {known}"
            problem += " (a protocol of fsspec's is allowed by --allow-scheme)"
            raise PlanError(f"{location}: {problem}")
        return store

    def schemes(self) -> list[str]:
        """All schemes of the table, sorted."""
        with self._lock:
            while self._modules:
                importlib.import_module(self._modules.pop(0))
        return sorted({*self._stores, *_added})
