"""Wildcards over stores that list: one page of the listing in memory at a time, sorted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from paipa_etl.errors import InputError
from paipa_etl.location import Location, glob_prefix
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.port import Entry, ObjectLister
from paipa_etl.threads.stop import Stop

WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def pattern_of(text: str) -> re.Pattern[str]:
    """A wildcard as a regular expression: ``*`` and ``?`` stay within a folder, ``**`` does not.

    >>> bool(pattern_of("a/*.gz").fullmatch("a/b.gz"))
    True
    >>> bool(pattern_of("a/*.gz").fullmatch("a/b/c.gz"))
    False
    >>> bool(pattern_of("a/**/*.gz").fullmatch("a/b/c.gz"))
    True
    """
    return re.compile("".join(_translated(part) for part in WILD.findall(text)), re.DOTALL)


def _translated(part: str) -> str:
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in fixed:
        return fixed[part]
    if len(part) > 2 and part[0] == "[":
        inside = part[1:-1].replace("\\", "\\\\")
        return f"[{'^' + inside[1:] if inside[0] == '!' else inside}]"
    return re.escape(part)


def matches(pattern: str, text: str) -> bool:
    """Whether a URL is one of those that a wildcard stands for."""
    return bool(pattern_of(pattern).fullmatch(text))


def matching(
    lister: ObjectLister, location: Location, options: StoreOptions, clients: Clients, stop: Stop
) -> Iterator[Entry]:
    """The objects that a wildcard stands for, sorted; raises where there is none."""
    wanted = pattern_of(location.target)
    found = False
    for entry in _listed(lister, location, options, clients, stop):
        if wanted.fullmatch(entry.location.target) and not entry.location.target.endswith("/"):
            found = True
            yield entry
    if not found:
        raise InputError(f"{location}: nothing matches")


def _listed(
    lister: ObjectLister, location: Location, options: StoreOptions, clients: Clients, stop: Stop
) -> Iterator[Entry]:
    """All objects under what stands before the first wildcard, page by page."""
    prefix, more = glob_prefix(location.target), None
    behind = location.target[len(prefix) :]
    deep = "/" in behind or "**" in behind
    while True:
        attempts = Attempts(location, options, clients, stop, InputError)
        entries, more = attempts.call(partial(lister.list_page, prefix, deep, more))
        yield from entries
        if more is None:
            return
