"""The scheme table: one row for each kind of location, with all that the program knows about it.

A row is data. It names the code that reads and writes its locations as ``module:name``, which is
imported on use. Each file of this folder holds one row, ``SCHEME``, and is imported when a location
of its name comes up.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

from paipa_etl import entry_points
from paipa_etl.errors import PlanError

LOCAL = "file"
STANDARD = "-"
OBJECT = "object"
BYTES = "bytes"
ALLOWED = "memory"
"""The row of file systems of fsspec's, which serves every scheme that is allowed by name."""


@dataclass(frozen=True, eq=False)
class Scheme:
    """What is known about the locations of some schemes."""

    names: tuple[str, ...]
    """What stands before ``://``. The first one is the name of the file (``-``: standard.py)."""
    source: Any = "paipa_etl.sources.remote:STORE"
    """The ``ReadStore`` of its locations: ``module:name``, or the object itself."""
    sink: Any = "paipa_etl.sinks.remote:STORE"
    """The ``WriteStore`` of its locations, in the same way."""
    engine: Any = ""
    """The class behind both, where they need one; ``module:name``, or the class itself."""
    is_url: bool = True
    """Whether a location can be written as a URL with its name."""
    on_this_machine: bool = False
    """Whether a location may be the same file as a location of another scheme."""
    is_literal: bool = False
    """Whether a name may hold any character: nothing is quoted, and nothing is a query."""
    has_host: bool = False
    """Whether a URL names a host and a port."""
    lists: bool = True
    """Whether a wildcard stands for what a listing gives."""
    slash_is_folder: bool = False
    """Whether no data stands under a name that ends in a slash."""
    key_is_missing: str = ""
    """The message for a bucket without a key, where its URLs have both."""
    extra: str = ""
    """The extra of this package that installs its client library."""
    smart_open: str = ""
    """Its name in smart_open, where smart_open has another name for it."""
    smart_words: str = ""
    """A function that completes the user's words for smart_open."""
    loggers: tuple[str, ...] = ()
    """Top-level loggers of its client libraries; secrets are left out of what they log."""


_rows: dict[str, Scheme] = {}
"""By name; what is not there yet may be a file of this folder, or an entry point."""


def register(row: Scheme) -> None:
    """Add a row; a name that is taken is an error."""
    for name in row.names:
        if name not in _rows:
            _load(name)
        if name in _rows:
            raise PlanError(f"there is a store for {name!r} already")
    _add(row)


def find(name: str) -> Scheme | None:
    """The row of a scheme, of this package or of an installed one; None for one that is not known.

    The entry points of the group ``paipa_etl.stores`` are called like the scheme.
    """
    if name not in _rows:
        _load(name)
    if name not in _rows:
        entry_points.load(entry_points.STORES, name)
    return _rows.get(name)


def row_of(name: str) -> Scheme:
    """The row of a scheme, or a row of defaults for a scheme that is not known."""
    return find(name) or Scheme((name,), source="", sink="")


def allowed(name: str) -> Scheme:
    """The row of a scheme that is allowed by name: fsspec serves it."""
    return replace(row_of(ALLOWED), names=(name,))


def known() -> list[Scheme]:
    """All rows that were registered so far, and those of this package."""
    _load_all()
    return [*dict.fromkeys(_rows.values())]


def resolve(reference: Any) -> Any:
    """What ``module:name`` names, imported now; anything else is what it is."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _load(name: str) -> None:
    """Import the file of that name. A row with several names has one file: then import all."""
    file = f"{__name__}.{'standard' if name == STANDARD else name}"
    try:
        _add(importlib.import_module(file).SCHEME)
    except ModuleNotFoundError as error:
        if error.name is None or not file.startswith(error.name):
            raise  # the file is there, and something that it imports is not
        _load_all()


def _load_all() -> None:
    import pkgutil  # here: a local path needs one file only

    for module in pkgutil.iter_modules(__path__):
        _add(importlib.import_module(f"{__name__}.{module.name}").SCHEME)


def _add(row: Scheme) -> None:
    for name in row.names:
        _rows.setdefault(name, row)
