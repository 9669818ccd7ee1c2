"""Names of outputs made from those of inputs: ``{stem}``, ``{name}``, ``{index}``, ``{path}``.

Whatever an input is called, its output stays under what stands before the first of them.
"""

from __future__ import annotations

import os
import re
import string
from dataclasses import dataclass, replace

from paipa_etl.errors import PlanError, shown
from paipa_etl.location import Location, folder_of
from paipa_etl.schemes import LOCAL, row_of
from paipa_etl.suffixes import without_suffixes

FIELDS = ("stem", "name", "index", "path")
_FIELD = re.compile(r"\{[A-Za-z_]+([:!][^{}]*)?\}")
_DOUBLED = re.compile(r"\{(\{[A-Za-z_]+([:!][^{}]*)?\})\}")


def is_template(location: Location) -> bool:
    """Whether a location stands for many: it holds one of the fields in braces."""
    if location.file is not None or "{" not in location.target:
        return False
    try:
        found = [field for _, field, _, _ in string.Formatter().parse(location.target)]
    except ValueError:
        return False
    return any(field in FIELDS for field in found)


def as_typed(location: Location) -> Location:
    """An output that somebody typed: a ``{word}`` in it is a field, and ``{{word}}`` is none.

    Raises ``PlanError`` for one that is not known.

    >>> as_typed(Location(LOCAL, "out/{{stem}}.jsonl")).target
    'out/{stem}.jsonl'
    """
    if _FIELD.search(location.target.replace("{{", "").replace("}}", "")):
        Template(location)  # raises
        return location
    return replace(location, target=_DOUBLED.sub(r"\1", location.target))


@dataclass(frozen=True)
class Template:
    """A location with fields; ``root`` is the part under which every output stays."""

    location: Location

    def __post_init__(self) -> None:
        try:
            parts = list(string.Formatter().parse(self.location.target))
        except ValueError as error:
            raise PlanError(f"{self.location}: {error} (a brace of its own is doubled)") from None
        for _, field, _, conversion in parts:
            if conversion or field not in (None, *FIELDS):
                known = ", ".join(f"{{{name}}}" for name in FIELDS)
                problem = f"{{{field}}} is no field; known: {known}"
                raise PlanError(f"{self.location}: {problem} (a brace of its own is doubled)")

    @property
    def root(self) -> str:
        """What stands before the first field, to its last slash."""
        literal = next(iter(string.Formatter().parse(self.location.target)))[0]
        return literal[: literal.rfind("/") + 1]

    def target(self, source: Location, place: Location, index: int) -> Location:
        """The output of an input, which ``place`` (perhaps a wildcard) stood for."""
        name = source.name
        words = {
            "stem": without_suffixes(name),
            "name": name,
            "index": index,
            "path": source.target.removeprefix(folder_of(place.target)),
        }
        try:
            text = self.location.target.format(**words)
        except (ValueError, KeyError, IndexError) as error:
            raise PlanError(f"{self.location}: {error}") from None
        made = replace(self.location, target=text)
        self._check(made, source)
        return made

    def _check(self, made: Location, source: Location) -> None:
        """Refuse a name that would leave the root, or that is another one in a URL."""
        behind = made.target[len(self.root) :]
        wrong = [part for part in behind.split("/") if part in ("", ".", "..")]
        if not made.target.startswith(self.root) or wrong or "\0" in behind:
            problem = "would make a name that leaves it, or that is none"
            raise PlanError(f"{self.location}: {source} {problem}: {shown(behind)}")
        if not row_of(made.scheme).is_literal and set("?#%\\") & set(behind):
            problem = "would make a name with ?, #, % or \\ in a URL"
            raise PlanError(f"{self.location}: {source} {problem}")
        if made.scheme == LOCAL:
            self.check_real(made)

    def check_real(self, made: Location) -> None:
        """Refuse a path that symbolic links lead out of the root."""
        root = os.path.realpath(self.root or ".")
        real = os.path.realpath(made.target)
        if os.path.commonpath((root, real)) != root:
            raise PlanError(f"{made}: symbolic links lead out of {shown(self.root or '.')}")
