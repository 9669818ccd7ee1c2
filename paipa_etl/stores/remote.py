"""Which engine serves which scheme; the words that it understands, and those of smart_open's."""

from __future__ import annotations

import importlib
import inspect
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from paipa_etl.errors import (
    InputError,
    MissingDependency,
    OutputError,
    PaipaError,
    PlanError,
)
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.schemes import allowed, find, resolve, row_of
from paipa_etl.stores import COMMON, StoreOptions, check_words
from paipa_etl.stores.buckets import key_of
from paipa_etl.stores.failures import transport
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.secrets import guard
from paipa_etl.threads.stop import Stopped

T = TypeVar("T")


def object_of(location: Location, options: StoreOptions, clients: Clients) -> Any:
    """The object that a location names; None where smart_open's words ask for smart_open.

    Raises ``PlanError`` for a bucket alone, and for words that nobody understands.
    """
    found = prefix_of(location, options, clients)
    problem = row_of(location.scheme).key_is_missing
    if problem and not key_of(location.target):
        raise PlanError(f"{location}: {problem}")
    return found


def prefix_of(location: Location, options: StoreOptions, clients: Clients) -> Any:
    """What a location names, which may be a bucket, through its engine; or None, as above."""
    engine = engine_of(location.scheme)
    unknown = set(options.transport_params) - engine.words - COMMON
    if unknown and unknown <= _smart_words(location.scheme):
        return None
    check_words(location, options, engine.words)
    return engine(location, options, clients)


def engine_of(scheme: str) -> Any:
    """The class that serves a scheme; that of fsspec's file systems where there is no other."""
    return resolve((find(scheme) or allowed(scheme)).engine)


def _smart_words(scheme: str) -> set[str]:
    """The transport parameters that smart_open knows for a scheme."""
    try:
        transports = importlib.import_module("smart_open.transport")
        opener = transports.get_transport(row_of(scheme).smart_open or scheme).open
        return set(inspect.signature(opener).parameters) - {"mode"}
    except (ImportError, NotImplementedError, AttributeError):
        return set()


def open_smart(location: Location, mode: str, options: StoreOptions, clients: Clients) -> Any:
    """A sequential file of smart_open's for a URL; the codec is ours, so its own is off.

    Where no client of the user's is given, it is one that follows no redirect.
    """
    row = row_of(location.scheme)
    try:
        smart_open = importlib.import_module("smart_open")
        url = (row.smart_open or location.scheme) + location.target.removeprefix(location.scheme)
        words = {k: v for k, v in options.transport_params.items() if k not in COMMON}
        guard(words)
        if row.smart_words:
            words = resolve(row.smart_words)(location, options, clients, words)
        return smart_open.open(url, mode, compression="disable", transport_params=words)
    except (ImportError, NotImplementedError) as error:
        raise MissingDependency(f"{location.scheme}://", row.extra) from error


def told_as(kind: type[InputError | OutputError], location: Location, action: Callable[[], T]) -> T:
    """What smart_open gives; what it raises (each client has its own) as ours, without its text.

    No context manager: what that raises has the library's error as its context.
    """
    try:
        return action()
    except (PaipaError, Stopped):
        raise
    except StoreFailure as error:
        failure = error
    except Exception as error:
        failure = transport(error, 0) or StoreFailure(type(error).__name__)
    raise kind(f"{location}: {failure}")


def waker(file: Any) -> Callable[[], None]:
    """What ends a blocked read of a smart_open file: its socket's shutdown, where one is found."""

    def wake() -> None:
        found = _socket(file)
        if found is not None:
            found.shutdown(socket.SHUT_RDWR)

    return wake


def _socket(file: Any, depth: int = 0) -> socket.socket | None:
    """The socket under nested file objects of smart_open, botocore, urllib3, http.client."""
    if isinstance(file, socket.socket):
        return file
    names = ("_raw_reader", "_body", "_raw_stream", "response", "raw", "_fp", "fp", "_sock")
    for name in names if depth < 8 else ():
        inner = getattr(file, name, None)
        found = _socket(inner, depth + 1) if inner is not None else None
        if found is not None:
            return found
    return None
