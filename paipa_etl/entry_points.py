"""Entry points: formats, codecs and stores that other installed packages add to the tables.

A table calls ``load`` only for a name that is not registered. A run that uses built-in names only
neither imports ``importlib.metadata`` nor reads the metadata of installed packages.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from paipa_etl.errors import PlanError, describe
from paipa_etl.threads import forks

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

FORMATS = "paipa_etl.formats"
CODECS = "paipa_etl.codecs"
STORES = "paipa_etl.stores"
GROUPS = (FORMATS, CODECS, STORES)

_lock = forks.reentrant_lock()
_installed: dict[tuple[str, str], list[EntryPoint]] | None = None
"""Entry points that are not loaded yet, by group and name; None before the first ``load``."""


def load(group: str, name: str, table: Container[str] | None = None) -> None:
    """Import what installed packages have under this name; they register themselves.

    ``table`` must have the name afterwards, where one is given. What is installed is read once
    in a process; an entry point is loaded once. Raises ``PlanError``, which names the package,
    for one that cannot be imported or registers something else.
    """
    with _lock:
        found = _read()
        for entry in found.get((group, name), ()):
            _load(entry, table)
        found.pop((group, name), None)


def forget() -> None:
    """Read the installed packages again at the next ``load``, after a change of ``sys.path``."""
    global _installed
    with _lock:
        _installed = None


def _read() -> dict[tuple[str, str], list[EntryPoint]]:
    global _installed
    if _installed is None:
        from importlib.metadata import entry_points  # here: importing it takes 20 ms

        try:
            entries = [entry for group in GROUPS for entry in entry_points(group=group)]
        except Exception as error:  # metadata that some installer has damaged
            problem = "the metadata of the installed packages cannot be read"
            raise PlanError(f"{problem}: {describe(error)}") from error
        _installed = {}
        for entry in entries:
            _installed.setdefault((entry.group, entry.name), []).append(entry)
    return _installed


def _load(entry: EntryPoint, table: Container[str] | None) -> None:
    package = entry.dist.name if entry.dist else "a package without a name"
    what = f"the entry point {entry.name} = {entry.value} ({entry.group}) of {package}"
    try:
        entry.load()
    except Exception as error:  # of the package's own code
        raise PlanError(f"{what} cannot be loaded: {describe(error)}") from error
    if table is not None and entry.name not in table:
        raise PlanError(f"{what} registers nothing of that name")
