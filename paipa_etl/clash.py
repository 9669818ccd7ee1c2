"""Clash: an output that is also an input is refused before anything is opened."""

from __future__ import annotations

import os
from typing import Any

from paipa_etl.errors import PlanError
from paipa_etl.location import LOCAL, Location
from paipa_etl.run import Run
from paipa_etl.sinks.files import FileSink
from paipa_etl.sources.files import FileSource


def check_not_same(
    source: Any, sink: Any, run: Run, roles: str = "an input and the output"
) -> None:
    """Refuse to write over an input; nothing is opened for it."""
    if not (isinstance(source, FileSource) and isinstance(sink, FileSink)):
        return
    for place in source.locations:
        if _overwrites(source, place, sink.location, run):
            raise PlanError(f"{sink.location} is both {roles}")


def _overwrites(source: FileSource, place: Location, target: Location, run: Run) -> bool:
    if place.is_glob and place.scheme != LOCAL:  # not listed for that: what matches would be read
        from paipa_etl.stores.listing import matches

        return place.scheme == target.scheme and matches(place.target, target.target)
    if place.scheme != LOCAL or target.scheme != LOCAL:
        return _same(place, target)
    return any(_same(entry.location, target) for entry in source.expand(place, run))


def _same(one: Location, other: Location) -> bool:
    if one.scheme != other.scheme:
        return False
    if one.scheme != LOCAL:
        return one.target == other.target and one.file is other.file and "://" in one.target
    try:
        return os.path.samefile(one.target, other.target) and os.path.isfile(one.target)
    except OSError:
        return False
