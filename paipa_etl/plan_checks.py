"""What is refused before anything is opened: outputs that would replace files, closed descriptors.

Two names are one file if they lead to the same inode: links, ``./``, names of descriptors,
standard input and output, the descriptors of file objects. Only regular files clash: a terminal,
a pipe, a socket or ``/dev/null`` may well be both ends.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from paipa_etl.errors import PlanError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.schemes import LOCAL, STANDARD, row_of
from paipa_etl.sinks.files import FileSink
from paipa_etl.sources.files import FileSource
from paipa_etl.sources.standard import reading
from paipa_etl.stores.descriptors import STDIN, STDOUT, borrowed, descriptor_of

FOLDERS = 1_024  # folders whose real paths are remembered


def check_not_same(
    source: Any,
    sink: Any,
    run: Run,
    roles: str = "an input and the output",
    *,
    renamed: bool = True,
) -> None:
    """Refuse to write over an input; nothing is opened for it.

    ``renamed``: a new file takes the name of the output at the end. An input that was opened
    before, such as standard input, is then read from the old file, and is no clash.
    """
    if not (isinstance(source, FileSource) and isinstance(sink, FileSink)):
        return
    target = sink.location
    for place in source.locations:
        if not (_is_on_this_machine(place) and _is_on_this_machine(target)):
            if _is_same_url(place, target):
                raise PlanError(f"{target} is both {roles}")
        elif (found := _same_input(source, place, target, run, renamed)) is not None:
            raise PlanError(f"{target} is both {roles}{_same_as(found, target)}")


def check_inputs_open(source: Any) -> None:
    """Refuse descriptors that are closed, before the run opens files that would get their numbers.

    Raises ``InputError``.
    """
    if not isinstance(source, FileSource):
        return
    for place in source.locations:
        number = descriptor_of(place, STDIN) if place.scheme in (STANDARD, LOCAL) else None
        if number is not None:
            with reading(place):
                os.close(borrowed(number, writing=False))


class PlannedOutputs:
    """The outputs of many transfers: no two are one file, none is an input or a file to spare.

    ``spared`` says what no output may replace: real paths, and what each is. Keeps a hash of
    each name, about 100 bytes for an input and its output.
    """

    def __init__(self, spared: Mapping[str, str]) -> None:
        self._spared = spared
        self._outputs: set[int] = set()
        self._inputs: set[int] = set()
        self._schemes: set[str] = set()
        self._real_folder = lru_cache(FOLDERS)(os.path.realpath)

    def add(self, source: Location, target: Location) -> None:
        """Add an input and its output; ``PlanError`` where the output may not be written."""
        key = self._key(target)
        if key in self._outputs:
            problem = f"two inputs would be written to {target}"
            raise PlanError(f"{problem}; {{path}} or {{index}} tells them apart")
        role = None
        if self._spared and target.scheme == LOCAL:
            role = self._spared.get(os.path.realpath(target.target))
        if role:
            raise PlanError(f"{target} is both {role} and an output")
        self._outputs.add(key)
        self._inputs.add(self._key(source))
        self._schemes.add(source.scheme)

    def check_inputs_stay(self, template: Location) -> None:
        """Raise ``PlanError`` where an output is an input, once all are added."""
        if template.scheme in self._schemes and self._inputs & self._outputs:
            raise PlanError(f"{template}: an output would replace an input")
        self._inputs.clear()

    def __contains__(self, target: Location) -> bool:
        return self._key(target) in self._outputs

    def __len__(self) -> int:
        return len(self._outputs)

    def _key(self, place: Location) -> int:
        """A hash of a name; of a local one, of the path that symbolic links lead to."""
        if place.scheme != LOCAL:
            return hash(place.target)
        folder, name = os.path.split(place.target)
        path = os.path.join(self._real_folder(folder or "."), name)
        return hash(os.path.realpath(path) if os.path.islink(path) else path)


def is_same_file(place: Location, target: Location) -> bool:
    """Whether two outputs are one regular file; ``-`` is standard output."""
    one, other = _regular_file(place, STDOUT), _regular_file(target, STDOUT)
    return one is not None and other is not None and os.path.samestat(one, other)


def _is_on_this_machine(place: Location) -> bool:
    return row_of(place.scheme).on_this_machine


def _is_same_url(place: Location, target: Location) -> bool:
    if place.is_glob and not _is_on_this_machine(place):
        # A listing would take long: what matches the wildcard would be read.
        from paipa_etl.stores.listing import matches

        return place.scheme == target.scheme and matches(place.target, target.target)
    return place.scheme == target.scheme and place.target == target.target and "://" in place.target


def _same_input(
    source: FileSource, place: Location, target: Location, run: Run, renamed: bool
) -> Location | None:
    """The input, of those that a location stands for, that is the file of the output."""
    if place.file is not None and place.file is target.file:
        return place if _can_seek(place.file) else None
    written = _regular_file(target, STDOUT)
    if written is None:
        return None
    renamed = renamed and descriptor_of(target, STDOUT) is None
    inputs: Iterable[Location] = (place,)
    if place.scheme == LOCAL:
        inputs = (entry.location for entry in source.expand(place, run))
    for found in inputs:
        if renamed and descriptor_of(found, STDIN) is not None:
            continue
        status = _regular_file(found, STDIN)
        if status is not None and os.path.samestat(status, written):
            return found
    return None


def _regular_file(location: Location, standard: int) -> os.stat_result | None:
    """What the system knows of the regular file that a location is; None if it is no such file."""
    opened = descriptor_of(location, standard)
    if opened is None and location.scheme != LOCAL:
        return None
    try:
        status = os.stat(location.target if opened is None else opened)
    except (OSError, OverflowError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _can_seek(file: Any) -> bool:
    """Whether reading and writing a file object move one position, in the same bytes."""
    try:
        return bool(file.seekable())
    except Exception:  # no such method, or it is closed
        return False


def _same_as(found: Location, target: Location) -> str:
    """What the file of the output is called as an input, where the two names differ in kind."""
    if found.scheme == LOCAL and target.scheme == LOCAL:
        return ""
    return f": it is the same file as {found}"
