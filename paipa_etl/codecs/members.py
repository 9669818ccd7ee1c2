"""One loop that decodes a stream of members, frames or streams, whichever the codec calls them.

The codecs differ in how one member is decoded; what holds for all of them stands
here: several members are one stream, empty ones are legal, a cut or damaged one is
an error that names the byte, and where a fresh decoder could start is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from paipa_etl.errors import DamagedInput, MissingDependency

TRIP = 1 << 19  # most bytes that one call may produce: each call takes the GIL back
GATHER = 1 << 18  # tiny members are handed on together, once they amount to this
POINTS = 1_024  # or once they are so many: the restart points of one piece are bounded
FIRST_PIECE = 1 << 12  # what a new member is fed first: the rest of a piece is copied at its end


class Restart(NamedTuple):
    """An encoded byte at which a decoder can start, and the decoded byte that it gives first."""

    encoded: int
    decoded: int


class Member(Protocol):
    """The decoder of one member, as the standard library's bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Compressor(Protocol):
    """The encoder of one output; everything it was given is out after ``pause`` or ``finish``."""

    def compress(self, data: bytes | bytearray) -> bytes: ...
    def pause(self) -> bytes: ...
    def finish(self) -> bytes: ...


class MemberDecoder:
    """Decodes members one after the other; keeps no more than one trip in memory.

    ``encoded`` and ``decoded`` count bytes. ``restart`` is where the last member began: a
    fresh decoder can start there. ``take_restarts`` gives the restart points since it was
    called last.
    """

    def __init__(self, name: str, start: Callable[[], Member], padding: int) -> None:
        self._name, self._start, self._padding = name, start, padding
        self._member: Member | None = None
        self._piece = FIRST_PIECE
        self._zeros = 0
        self.encoded = 0
        self.decoded = 0
        self.restart = Restart(0, 0)
        self._restarts: list[Restart] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of some encoded bytes; raises ``DamagedInput`` when they are not."""
        gathered: list[bytes] = []
        size = 0
        begun = self.encoded
        view = memoryview(data)
        while (start := self.encoded - begun) < len(view):
            for out in self._decode(view[start : start + self._piece]):
                self.decoded += len(out)
                gathered.append(out)
                size += len(out)
                if size >= GATHER or (size and len(self._restarts) >= POINTS):
                    yield b"".join(gathered)
                    gathered, size = [], 0
        if size:
            yield b"".join(gathered)

    def take_restarts(self) -> list[Restart]:
        """The restart points of the piece that ``feed`` yielded last, in ascending order.

        A decoded byte is given by the last of all restart points at or before it.
        """
        taken, self._restarts = self._restarts, []
        return taken

    def _decode(self, piece: memoryview) -> Iterator[bytes]:
        """Decode up to the end of a member or of the piece."""
        if self._member is None:
            piece = self._skip_zeros(piece)
            if not piece:
                return
            self._begin_member()
        member = self._member
        assert member is not None
        try:
            yield member.decompress(bytes(piece), TRIP)
            while not member.needs_input and not member.eof:
                yield member.decompress(b"", TRIP)
        except MissingDependency:
            raise
        except Exception as error:  # each library has its own: EOFError, LZMAError, RuntimeError
            raise self._damaged(error) from error
        self.encoded += len(piece)
        self._piece = min(self._piece * 4, TRIP)
        if member.eof:
            self.encoded -= len(member.unused_data or b"")
            self._member, self._piece = None, FIRST_PIECE

    def _begin_member(self) -> None:
        if self._padding and self._zeros % self._padding:
            raise DamagedInput(f"{self._name} padding of {self._zeros} zero bytes", self.encoded)
        self._zeros = 0
        self._member = self._start()
        if self._restarts and self._restarts[-1].decoded == self.decoded:
            self._restarts.pop()  # the previous member is empty: decoding can start here
        self.restart = Restart(self.encoded, self.decoded)
        self._restarts.append(self.restart)

    def _skip_zeros(self, piece: memoryview) -> memoryview:
        """Leave out zero bytes behind a member, where the codec allows them."""
        if not self._padding or not self.encoded:
            return piece
        kept = bytes(piece).lstrip(b"\0")
        zeros = len(piece) - len(kept)
        self._zeros += zeros
        self.encoded += zeros
        return piece[zeros:]

    def _damaged(self, error: Exception) -> DamagedInput:
        begun = self.restart[0]
        kind = "trailing bytes that are no" if begun and self.encoded == begun else "damaged"
        problem = f"{kind} {self._name} data after {self.decoded:,} decoded bytes"
        if isinstance(error, DamagedInput):
            return DamagedInput(f"{problem}: {error.problem}", begun + error.byte)
        return DamagedInput(f"{problem}: {error}", self.encoded)

    def finish(self) -> None:
        """Check that the stream is whole; raises ``DamagedInput`` when it was cut."""
        if self._member is not None:
            raise DamagedInput(f"{self._name} data is cut: the input ends too early", self.encoded)
        if not self.encoded:
            raise DamagedInput(f"a file of 0 bytes is not {self._name} (an aborted upload?)", 0)
        if self._padding and self._zeros % self._padding:
            raise DamagedInput(f"{self._name} padding of {self._zeros} zero bytes", self.encoded)
