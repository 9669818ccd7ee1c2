"""Opening for writing: one file a store, and other sinks; *return commits, raise aborts*."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.schemes import resolve
from paipa_etl.stores import StoreOptions, scheme_of


class OpenSink(Protocol):
    """An opened sink; ``live`` where a reader sees what is written at once.

    ``show`` is called when the input is silent: readers of a live output see what was written.
    """

    @property
    def live(self) -> bool: ...
    def write_all(self, records: Iterable[Any]) -> None: ...
    def show(self) -> None: ...
    def prepare(self) -> None: ...
    def commit(self) -> None: ...
    def abort(self, cause: BaseException) -> None: ...


class Sink:
    """Where records end up: plain data until a runner opens it."""

    def open(self, run: Run) -> OpenSink:
        """Open it for one run; nothing is published before its ``commit``."""
        raise NotImplementedError(type(self).__name__)


class Target(Protocol):
    """Where encoded bytes go in one run: nothing is published before ``commit``.

    ``live`` says that a reader sees what is written at once; then there is nothing to
    take back, and the writing stays in the caller's thread, where it can be interrupted.
    ``cached`` says that a write is a copy into the kernel's cache, and waits for nothing.
    ``commit`` is finished once it has begun. What takes long before it and may be interrupted
    (a flush, the last part of an upload) is the work of a method ``prepare()``, where there
    is one; ``commit`` calls it where nobody has.
    """

    live: bool
    cached: bool

    def write(self, data: bytes | bytearray) -> None: ...
    def commit(self) -> None: ...
    def abort(self, cause: BaseException) -> None: ...


@dataclass(frozen=True, eq=False)
class WriteStore:
    """How a store is written: ``open`` refuses an unwritable location before anything is read."""

    open: Callable[[Location, bool, Run, StoreOptions], Target]
    """From a location, whether an existing one may be replaced, the run, the store's options."""


def store_of(location: Location, allowed: Sequence[str] = ()) -> WriteStore:
    """How a location is written; ``PlanError`` for an unknown scheme.

    ``allowed`` are schemes that fsspec may serve, beside those that are known.
    """
    store: WriteStore = resolve(scheme_of(location, allowed, "writes").sink)
    return store


from paipa_etl.sinks.files import write  # noqa: E402  (it needs the table above)

__all__ = ["OpenSink", "Sink", "Target", "WriteStore", "store_of", "write"]
