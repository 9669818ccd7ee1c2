"""The format table: bytes to records and back, in three pure parts. No I/O, no codecs.

``cut`` makes blocks that end where a record ends, ``decode`` turns one block into a
batch, ``encode`` turns records into bytes. Cutting is sequential and cheap; decoding
and encoding depend on nothing else, so that later runners may do them anywhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from paipa_etl.errors import PlanError
from paipa_etl.formats.batch import Batch
from paipa_etl.formats.blocks import Block

DEFAULT = "jsonl"


@dataclass(frozen=True, eq=False)
class Format:
    """One serialisation."""

    name: str
    suffixes: tuple[str, ...]
    cut: Callable[[Iterable[bytes], int, int], Iterator[Block]] = field(repr=False)
    """From pieces of a stream, the most bytes of one record and of one block, to blocks."""
    decode: Callable[[Block, bool], Batch] = field(repr=False)
    """From a block to a batch; the flag says whether a step reads the records, or raw lines do."""
    encoder: Callable[[], Callable[[Any], bytes]] = field(repr=False)
    """Gives ``encode``, after importing what that needs."""

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """From one record to its bytes, record end included; ``BadRecord`` for the impossible."""
        return self.encoder()

    def __reduce__(self) -> tuple[object, ...]:
        return (by_name, (self.name,))


_formats: dict[str, Format] = {}
_words: dict[str, Format] = {}  # names and suffixes


def register(format: Format) -> None:
    """Add a format to the table; a name or suffix that is taken is an error."""
    for known in _formats.values():
        taken = {known.name, *known.suffixes} & {format.name, *format.suffixes}
        if taken:
            raise PlanError(f"format {known.name} already has the name {min(taken)!r}")
    _formats[format.name] = format
    _words.update(dict.fromkeys((format.name, *format.suffixes), format))


def by_name(word: str) -> Format:
    """The format of a name or suffix; an unknown one is an error that lists the known ones."""
    found = from_suffix(word)
    if found is None:
        raise PlanError(f"unknown format {word!r}; known: {', '.join(sorted(_formats))}")
    return found


def from_name(name: str) -> Format:
    """The format that a file name (without codec suffix) tells; jsonl when it tells none."""
    dot, suffix = name.rpartition(".")[1:]
    return (from_suffix(suffix) if dot else None) or _formats[DEFAULT]


def from_suffix(word: str) -> Format | None:
    """The format whose name or suffix this is, without the dot."""
    return _words.get(word.lower())


for _name in ("jsonl", "lines"):
    importlib.import_module(f"paipa_etl.formats.{_name}")
