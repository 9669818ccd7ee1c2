"""What a store's source and sink share; opening for reading or writing is not done here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from paipa_etl import schemes as table
from paipa_etl.errors import PlanError, shown
from paipa_etl.location import Location
from paipa_etl.run.retries import Retry
from paipa_etl.schemes import Scheme

TIMEOUT = 60.0  # seconds
CONNECT_TIMEOUT = 10.0  # seconds
RETRIES = 5
BACKOFF = 0.25  # seconds before the first retry


@dataclass(frozen=True)
class StoreOptions:
    """Options of the store that holds an input or an output.

    ``transport_params`` have the names that smart_open uses (``client``, ``client_kwargs``,
    ``version_id``, ``min_part_size``, ``headers`` …), and ``timeout``, ``retries``,
    ``backoff``. ``timeout`` is the most seconds of silence, and the window in which the least
    pace is measured. ``storage_options`` are fsspec's. ``endpoint_url`` is the server of an S3
    store; ``insecure`` accepts any certificate. ``allow_schemes`` names schemes that fsspec may
    serve, beside those that are known. Raises ``PlanError`` for an endpoint that is no URL.

    >>> StoreOptions({"retries": 0}, allow_schemes=["ftp"]).allow_schemes
    ('ftp',)
    """

    transport_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    endpoint_url: str | None = field(default=None, repr=False)
    insecure: bool = False
    allow_schemes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.allow_schemes, str):
            raise PlanError(f"allow_schemes is a list of names, not {shown(self.allow_schemes)}")
        object.__setattr__(self, "allow_schemes", tuple(self.allow_schemes))
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


NO_OPTIONS = StoreOptions()
"""What holds where nothing is given."""

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


def register(engine: Any, *schemes: str, loggers: Sequence[str] = ()) -> None:
    """Add a store of objects, to be read and written; a scheme that is taken is an error.

    ``engine`` is a class with the methods of ``stores/port.py``. It is called with a location,
    the ``StoreOptions`` and the ``Clients`` of a run; its attribute ``words`` is a frozenset of
    the transport parameters that it understands. ``loggers`` are the top-level loggers of the
    libraries that it uses: secrets are left out of what they log.
    """
    table.register(Scheme(schemes, engine=engine, loggers=tuple(loggers)))


def scheme_of(location: Location, allowed: Sequence[str], verb: str) -> Scheme:
    """The row of a location's scheme; an unknown scheme is an error that lists the known ones.

    ``allowed`` are schemes that fsspec may serve, beside those that are known; ``verb`` is
    what is to be done, for the message.
    """
    row = table.find(location.scheme)
    if row is not None:
        return row
    if location.scheme in allowed:
        return table.allowed(location.scheme)
    known = ", ".join(sorted(name for row in table.known() for name in row.names))
    problem = f"no store {verb} {location.scheme!r}; known: {known}"
    problem += " (a protocol of fsspec's has to be allowed by name)"
    raise PlanError(f"{location}: {problem}", parameter="allow_schemes")


def exists_already(location: Location) -> PlanError:
    """The error for an output that is there, where nothing may be replaced."""
    return PlanError(f"{location} exists already, and nothing may be replaced", parameter="clobber")
