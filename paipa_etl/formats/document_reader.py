"""The reader of JSON documents: cuts an input into blocks of whole values."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from paipa_etl.errors import BrokenInput
from paipa_etl.formats.kernels.document import BrokenDocument, Scanner
from paipa_etl.formats.line_reader import without_mark
from paipa_etl.records.blocks import HEAD, Block, Limits, Position
from paipa_etl.records.tape import Tape


class DocumentReader:
    """Cuts one input into blocks of whole values; keeps one block, or one value up to the limit.

    A block begins where its first value begins and ends where its last one ends. The state of
    its position is true where that value lies in an array at the top level. Of a value that is
    longer than the limit, the head becomes a block when that is known, and the rest of the
    value is passed over. ``at`` is the position of a block where an earlier reading of the same
    input ended.
    """

    def __init__(self, limits: Limits, at: Position | None = None) -> None:
        self._max_record = limits.max_record
        self._size = min(limits.block, limits.max_record)
        at = at or Position()
        self._offset, self._line = at.offset, at.line
        """Where the held bytes begin."""
        self._scanner = Scanner(at.offset, bool(at.state))
        self._held = bytearray()
        self._skipped = 0
        """Newlines behind the last block and before the held bytes."""
        self._values = 0

    def cut(self, pieces: Iterable[bytes]) -> Iterator[Block]:
        """Blocks of the decoded bytes; an empty piece is passed on as an empty block.

        Raises ``BrokenInput`` where values cannot be told apart, behind the values before.
        """
        for piece in pieces if self._offset else without_mark(pieces, self._pass_mark):
            if not piece:
                yield Block(b"", Position(offset=self._offset))
            at = 0
            while at < len(piece):
                data = piece[at : at + self._room]
                self._held += data
                at += len(data)
                yield from self._scanned(data)
                yield from self._left_over()
        yield from self._scanned(None)

    def _pass_mark(self, size: int) -> None:
        """The input begins with a byte order mark of that many bytes."""
        self._offset += size
        self._scanner = Scanner(self._offset)

    @property
    def _room(self) -> int:
        """How many bytes to look at next: so few that no value that ends in them is too long."""
        if self._scanner.begun < 0 or self._scanner.forgets:
            return self._size
        return min(self._size, self._max_record - len(self._held))

    def _scanned(self, data: bytes | None) -> Iterator[Block]:
        """Look at the next bytes, or at the end of the input; a block of the values that end."""
        broken = None
        try:
            if data is None:
                self._scanner.finish()
            else:
                self._scanner.feed(data)
        except BrokenDocument as error:
            broken = error
        if self._scanner.waiting:
            yield self._block_of_values()
        if broken is not None:
            line = self._line + self._held.count(b"\n", 0, broken.at - self._offset)
            problem = f"{broken.problem} (after {self._values:,} values)"
            raise BrokenInput(problem, line, broken.at)

    def _block_of_values(self) -> Block:
        scanner = self._scanner
        first, last, inside = scanner.first, scanner.last, scanner.first_inside
        tape = scanner.take()
        self._values += len(tape)
        self._drop(first - self._offset)
        data = bytes(self._held[: last - first])
        block = Block(data, Position(offset=first, state=inside), tape=tape)
        block.skipped_lines, self._skipped = self._skipped, 0
        self._line += data.count(b"\n")
        del self._held[: len(data)]
        self._offset = last
        return block

    def _left_over(self) -> Iterator[Block]:
        """Of the held bytes, keep the value that has begun; of one that is too long, nothing."""
        scanner = self._scanner
        if scanner.begun < 0 or scanner.forgets:
            self._drop(len(self._held))
            return
        self._drop(scanner.begun - self._offset)
        if len(self._held) < self._max_record:
            return
        at = Position(offset=self._offset, state=scanner.inside)
        head = bytes(self._held[:HEAD])
        block = Block(head, at, None, True, self._skipped, Tape(array("q"), array("q")))
        self._skipped = -head.count(b"\n")  # those that the block counts
        scanner.forget()
        self._values += 1
        self._drop(len(self._held))
        yield block

    def _drop(self, size: int) -> None:
        """Drop the first of the held bytes, which are in no block."""
        newlines = self._held.count(b"\n", 0, size)
        self._skipped += newlines
        self._line += newlines
        self._offset += size
        del self._held[:size]
