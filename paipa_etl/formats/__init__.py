"""The format contract, and the table of formats: bytes to records and back. No I/O, no codecs.

A format makes one ``Reader`` for each input and one ``Writer`` for each output; these are
used by one thread at a time and may keep state. ``Decoder`` and the function that
``Writer.encoder`` returns are pure: any thread or process may call them. Whatever is called
a context is frozen and can be pickled.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol

from paipa_etl import entry_points
from paipa_etl.errors import BadRecord, PlanError, shown
from paipa_etl.records.blocks import Block, Copy, Decoder, Limits, NoRecord, Position, Rows

__all__ = [
    "BadSample",
    "Columns",
    "Context",
    "Copy",
    "Decoder",
    "Encode",
    "Format",
    "NoRecord",
    "Options",
    "Reader",
    "Rows",
    "Sample",
    "Writer",
    "by_name",
    "from_suffix",
    "register",
    "registered",
]

DEFAULT = "jsonl"

Context = Any
Columns = tuple[str, ...]
Encode = Callable[[Any], bytes]


class Reader(Protocol):
    """Cuts one input into blocks, in order; keeps state from block to block."""

    def cut(self, pieces: Iterable[bytes]) -> Iterator[Block]:
        """Blocks of the decoded bytes of the input, whatever the sizes of the pieces.

        Each block ends where a record ends, and its position tells its offset and the state
        of the reader. An empty piece says that the input is silent: all complete records
        are handed out, and then an empty block. A record longer than the limit gives a block
        that is marked ``oversize``. Physical lines that are in no block, as those of a header,
        count in ``skipped_lines`` of the next block, or the places of records are wrong.
        Raises ``InputError`` where the framing is broken: that ends the input under every
        error policy.
        """


class BadSample(BadRecord):
    """Raised by ``Writer.settle``: the record with this index of the sample cannot be held."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.args = (index, problem)


class Sample(NamedTuple):
    """How many records ``Writer.settle`` wants to see, and how many encoded bytes at most."""

    records: int = 1
    size: int = 1 << 20


class Writer(ABC):
    """Writes one output; keeps state between ``settle`` and ``end``.

    The output is ``begin()``, the encoded records with ``separator`` between them, ``end()``.
    """

    settles: bool = False
    """Whether the context depends on the first records; otherwise ``settle(())`` gives it."""
    sample: Sample = Sample()
    separator: bytes = b""
    terminator: bytes = b""
    """What ends every record: results of the encoder end with it, a raw record is given it."""

    def settle(self, first: Sequence[Any], columns: Columns | None) -> Context:
        """The context of the output.

        ``first`` are the first records that are to be written: as many as ``sample`` says,
        or all of them where there are fewer; ``columns`` are the input's, where all inputs
        so far have the same. Raises ``BadSample`` where one record is to blame; the method is
        called again without that record, when the next ones have taken its place. Any other
        exception ends the run.
        """
        return None

    def begin(self) -> bytes:
        """What precedes the first record; called once, behind ``settle``."""
        return b""

    @abstractmethod
    def encoder(self, context: Context) -> Encode:
        """What encodes one record; raises ``BadRecord`` for what the format cannot hold."""

    def end(self) -> bytes:
        """What follows the last record; called only where the output is whole."""
        return b""


@dataclass(frozen=True)
class Options:
    """The options of a format that has none; a format's own class of options derives from it.

    Every option has a default. ``__post_init__`` raises ``PlanError`` for a value that cannot be.
    """


class Format(ABC):
    """One serialisation: plain data and functions; one instance in the table, without state."""

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[type[Options]] = Options

    @abstractmethod
    def reader(self, options: Any, limits: Limits, at: Position | None = None) -> Reader:
        """A reader for one input; ``at`` is where it goes on, for input opened there."""

    @abstractmethod
    def decoder(self, context: Context) -> Decoder:
        """The decoder for the blocks that have this context."""

    @abstractmethod
    def writer(self, options: Any) -> Writer:
        """A writer for one output."""

    def options_of(self, given: Mapping[str, Any]) -> Options:
        """The options with these names and values; one that the format has not is an error."""
        known = [field.name for field in fields(self.options)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            has = f"has the options {', '.join(known)}" if known else "has no options"
            raise PlanError(f"format {self.name} {has}, not {', '.join(unknown)}")
        return self.options(**given)

    def check_options(self, options: Options | None) -> Options:
        """The options as given, or the defaults; those of another format are an error."""
        if options is None:
            return self.options()
        if type(options) is not self.options:
            raise PlanError(f"format {self.name} does not take {type(options).__name__}")
        return options

    def columns(self, context: Context) -> Columns | None:
        """The names of the columns of the blocks that have this context, where it has them."""
        return None

    def copies_from(self, other: Format, block: Context, writer: Context) -> Copy | None:
        """How raw bytes of a valid record of another format become an encoded record here.

        ``block`` is the context of the blocks and ``writer`` that of the output. Asked for
        each input when its context is known. None: the records are decoded and encoded.
        """
        return Copy() if other is self and block == writer else None

    def __reduce__(self) -> tuple[object, ...]:
        return (by_name, (self.name,))

    def __repr__(self) -> str:
        return f"<format {self.name}>"


_formats: dict[str, Format] = {}
_by_word: dict[str, Format] = {}  # names and suffixes


def register(format: Format) -> None:
    """Add a format to the table; a name or suffix that is taken is an error."""
    for known in _formats.values():
        taken = {known.name, *known.suffixes} & {format.name, *format.suffixes}
        if taken:
            raise PlanError(f"format {known.name} already has the name {min(taken)!r}")
    _formats[format.name] = format
    _by_word.update(dict.fromkeys((format.name, *format.suffixes), format))


def registered() -> tuple[Format, ...]:
    """All formats of the table, in the order of their registration."""
    return tuple(_formats.values())


def by_name(word: str) -> Format:
    """The format of a name or suffix; an unknown one is an error that lists the known ones."""
    found = from_suffix(word)
    if found is None:
        raise PlanError(f"unknown format {shown(word)}; known: {', '.join(sorted(_formats))}")
    return found


def default() -> Format:
    """The format of whatever says nothing else."""
    return _formats[DEFAULT]


def from_suffix(word: str) -> Format | None:
    """The format whose name or suffix this is, without the dot.

    Where it is not registered, an installed package may have it: the entry points of the group
    ``paipa_etl.formats`` are called like the format and like each of its suffixes, in lower
    case, and importing one registers the format.
    """
    word = word.lower()
    if word and word not in _by_word:
        entry_points.load(entry_points.FORMATS, word, _by_word)
    return _by_word.get(word)


def is_registered(word: str) -> bool:
    """Whether a registered format has this name or suffix; asks no installed package."""
    return word.lower() in _by_word


for _name in ("jsonl", "json_document", "lines"):
    importlib.import_module(f"paipa_etl.formats.{_name}")
