"""The codec table: bytes to bytes, found by suffix, by name or by magic bytes. No I/O."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field

from paipa_etl import entry_points
from paipa_etl.codecs.members import Compressor, Member
from paipa_etl.errors import PlanError

HEAD = 1 << 20  # bytes that are looked at for magic bytes behind skippable frames
SKIPPABLE = tuple(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))


@dataclass(frozen=True, eq=False)
class Codec:
    """One compression: how to start a member when reading, and a compressor when writing."""

    name: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    levels: range
    level: int
    member: Callable[[], Member] = field(repr=False)
    compressor: Callable[[int], Compressor] = field(repr=False)
    flushes: bool = True
    """Whether a pause can show what was written without ending a stream."""
    padding: int = 0
    """How zero bytes between and after members are grouped; 0: they are not allowed."""

    def __reduce__(self) -> tuple[object, ...]:
        return (from_suffix, (self.name,))

    def start_compressor(self, level: int | None) -> Compressor:
        """A compressor for one output; ``PlanError`` for a level that the codec has not."""
        return self.compressor(self.level if level is None else self.check_level(level))

    def check_level(self, level: int) -> int:
        """The level, when the codec has it."""
        if level not in self.levels:
            low, high = self.levels[0], self.levels[-1]
            raise PlanError(f"{self.name} has levels {low} to {high}, not {level}")
        return level


_codecs: dict[str, Codec] = {}
_words: dict[str, Codec] = {}  # names and suffixes
_magic: list[bytes] = [*SKIPPABLE]


def register(codec: Codec) -> None:
    """Add a codec to the table; a name or suffix that is taken is an error."""
    for known in _codecs.values():
        taken = {known.name, *known.suffixes} & {codec.name, *codec.suffixes}
        if taken:
            raise PlanError(f"codec {known.name} already has the name {min(taken)!r}")
    _codecs[codec.name] = codec
    _words.update(dict.fromkeys((codec.name, *codec.suffixes), codec))
    _magic.extend(codec.magic)


def registered() -> tuple[Codec, ...]:
    """All codecs of the table, in the order of their registration."""
    return tuple(_codecs.values())


def from_suffix(suffix: str) -> Codec | None:
    """The codec whose name or suffix this is, without the dot.

    Where it is not registered, an installed package may have it: the entry points of the group
    ``paipa_etl.codecs`` are called like the codec and like each of its suffixes, in lower case,
    and importing one registers the codec. Only then is it known by its magic bytes, too.
    """
    suffix = suffix.lower()
    if suffix and suffix not in _words:
        entry_points.load(entry_points.CODECS, suffix, _words)
    return _words.get(suffix)


def detect(head: bytes) -> Codec | None:
    """The codec whose magic bytes stand at the start of a stream.

    A skippable frame belongs to zstd and lz4 alike: what stands behind it decides,
    where the head reaches that far, and nothing is known where it does not.
    """
    rest = _behind_skippable(head)
    return next((c for c in _codecs.values() if rest and rest.startswith(c.magic)), None)


def may_be_magic(head: bytes) -> bool:
    """Whether more bytes could still turn this head into magic bytes; empty heads could."""
    rest = _behind_skippable(head)
    if rest is None:
        return len(head) < HEAD
    return len(rest) < max(map(len, _magic)) and any(
        len(rest) < len(m) and m.startswith(rest) for m in _magic
    )


def _behind_skippable(head: bytes) -> bytes | None:
    """What follows the skippable frames at the start; None while they go beyond the head."""
    while head[:4] in SKIPPABLE:
        end = 8 + int.from_bytes(head[4:8], "little")
        if len(head) < max(end, 8):
            return None
        head = head[end:]
    return head


for _name in ("gzip", "bzip2", "xz", "zstd", "lz4"):
    importlib.import_module(f"paipa_etl.codecs.{_name}")
