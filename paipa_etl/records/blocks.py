"""Blocks: pieces of one input that end on a record boundary; and what decodes their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from paipa_etl.records.tape import Tape

BLOCK = 1 << 17  # about this many bytes a block: large enough for C speed, small for the cache
DECODED_BLOCK = 1 << 15  # where records are made of it: they take ten times its room in the cache
MAX_RECORD = 64 << 20
HEAD = 1024  # bytes that are kept of a record that is longer than a record may be


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes: the largest record, and about how large a block is."""

    max_record: int = MAX_RECORD
    block: int = BLOCK


@dataclass(frozen=True, slots=True)
class Position:
    """Where a block begins in its input; all of it is known before the block is decoded.

    A decoder that starts at byte ``encoded`` of the encoded input gives the decoded bytes
    from ``restart`` on; those before ``offset`` are to be discarded. ``state`` is the state
    of the reader as of the first byte of the block; it is frozen and can be pickled.
    """

    encoded: int = 0
    restart: int = 0
    offset: int = 0
    """Decoded bytes of the input before the block."""
    line: int = 1
    """The number of the physical line in which the block begins."""
    state: Any = None


@dataclass(slots=True, eq=False)
class Block:
    """Whole records of one input as bytes, and where they begin.

    An empty block says that the input is silent for now: what was read may be shown.
    """

    data: bytes
    position: Position
    context: Any = None
    """What the format's decoder needs beside the bytes, such as column names; can be pickled."""
    oversize: bool = False
    """Whether this is the head of one record that is longer than a record may be."""
    skipped_lines: int = 0
    """Physical lines before it that are in no block: of a header, of the rest of a long record."""
    tape: Tape | None = None
    """Where its records are, if the reader has found that out; then not all bytes need be records,
    and its last line may go on behind it."""


class Copy(NamedTuple):
    """How the raw bytes of a valid record become an encoded record, without being decoded.

    What the writer puts between and behind records is not in it.
    """

    record: Callable[[bytes], bytes] | None = None
    """Makes the encoded record of the raw bytes of one; None: they are it."""
    block: Callable[[Block], bytes] | None = None
    """The same for all records of a block, separators included; None: its bytes are it."""


class NoRecord(Exception):
    """Raised by ``Decoder.decode`` and ``validate``: the bytes hold no record, as a blank line."""


class Rows(NamedTuple):
    """The records of a block as raw bytes, and the fastest function that decodes each of them.

    Where ``decode`` raises anything, ``Decoder.decode`` decides on the same bytes. Some of
    the raw bytes may hold no record; that is known only when they are decoded.
    """

    raws: Sequence[bytes]
    decode: Callable[[bytes], Any]


class Decoder(Protocol):
    """Pure functions over the blocks of one context; can be pickled."""

    rows_are_lines: bool
    """Whether each of the ``raws`` is one physical line."""

    def rows(self, block: Block) -> Rows:
        """The raw bytes of each record, without what separates them; decodes nothing."""

    def decode(self, raw: bytes) -> Any:
        """One record; raises ``BadRecord``, or ``NoRecord`` where the bytes hold none."""

    def validate(self, raw: bytes) -> None:
        """Raises what ``decode`` raises for bytes that are not valid; makes no record."""

    def count_valid(self, block: Block) -> int:
        """How many records a block has where all are valid and no raw bytes hold none; else -1."""

    def starts(self, block: Block) -> Sequence[int]:
        """The byte in the block at which each record begins, good and bad ones."""
