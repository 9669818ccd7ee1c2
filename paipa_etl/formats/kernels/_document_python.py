"""The plain-Python form of the kernel ``_document``: where the values of JSON documents are.

A document is any sequence of values; the elements of an array at the top level are values of
their own. Only what separates values is checked here: quotes, brackets, commas. Whether a value
is valid is found out later.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from paipa_etl.records.tape import Tape

# What comes next: a value (or the end of the input), a value or "]", a comma or "]"; or the middle
# of a value without quotes and brackets, of one in brackets, of a string.
VALUE, FIRST, COMMA, SCALAR, BRACKETS, STRING = range(6)

_SPACE = b" \t\n\r"
_NOT_SPACE = re.compile(rb"[^ \t\n\r]")
_END_OF_SCALAR = re.compile(rb'[ \t\n\r,:"\[\]{}]')
_BRACKET_OR_QUOTE = re.compile(rb'["\[\]{}]')
_QUOTE_OR_SLASH = re.compile(rb'["\\]')
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_CLOSES = {"}": "{", "]": "["}


class BrokenDocument(Exception):
    """The values of a document cannot be told apart from byte ``at`` of the input on.

    ``goes_on``: nothing is wrong so far, but the input ends between two tokens of a value.
    """

    def __init__(self, problem: str, at: int, goes_on: bool = False) -> None:
        super().__init__(problem, at, goes_on)
        self.problem, self.at, self.goes_on = problem, at, goes_on


class Scanner:
    """Finds the values in the bytes of one input, which come in pieces of any size.

    ``at`` is the offset of the next byte, ``begun`` where the value begins whose end has not
    come yet, or -1. Values that have ended wait until ``take``; one that has begun does not,
    where the scanner ``forgets`` it. ``inside`` says whether the
    input begins, or the next value lies, in an array at the top level. Keeps 16 bytes for each
    value that waits, and one for each bracket that is open.
    """

    def __init__(self, at: int = 0, inside: bool = False) -> None:
        self.at, self.inside = at, inside
        self.begun = -1
        self.forgets = False
        self._mode = VALUE
        self._stack: list[str] = []
        self._escaped = False
        self._starts, self._ends = array("q"), array("q")
        self._deepest = 0
        self._first_inside = inside

    @property
    def waiting(self) -> int:
        """How many values have ended and wait."""
        return len(self._starts)

    @property
    def first(self) -> int:
        """Where the first value that waits begins."""
        return self._starts[0]

    @property
    def last(self) -> int:
        """Where the last value that waits ends."""
        return self._ends[-1]

    @property
    def first_inside(self) -> bool:
        """Whether the first value that waits lies in an array at the top level."""
        return self._first_inside

    def feed(self, data: bytes) -> None:
        """Look at the next bytes; raises ``BrokenDocument``, with the values before it waiting."""
        at, base = 0, self.at
        steps = (self._gap, self._gap, self._gap, self._scalar, self._brackets, self._string)
        if self._escaped and data:
            at, self._escaped = 1, False
        while at < len(data):
            at = steps[self._mode](data, at, base)
        self.at = base + len(data)

    def finish(self) -> None:
        """The input has ended; raises ``BrokenDocument`` where that is too early."""
        if self._mode == SCALAR:
            self._end(self.at)
        if self.begun >= 0:
            where = "in a string" if self._mode == STRING else "in a value"
            raise BrokenDocument(f"the input ends {where}", self.at, self._mode != STRING)
        if self.inside:
            raise BrokenDocument("the input ends in an array, before its ]", self.at, True)

    def forget(self) -> None:
        """The value that has begun is not to wait when it ends."""
        self.forgets = True

    def take(self) -> Tape:
        """The values that wait, by their offsets from the first one."""
        first = self._starts[0] if self._starts else 0
        tape = Tape(
            array("q", [start - first for start in self._starts]),
            array("q", [end - first for end in self._ends]),
            self._deepest,
        )
        self._starts, self._ends = array("q"), array("q")
        self._deepest = len(self._stack)
        return tape

    def _gap(self, data: bytes, at: int, base: int) -> int:
        """Between two values."""
        found = _NOT_SPACE.search(data, at)
        if found is None:
            return len(data)
        byte, at = chr(data[found.start()]), found.start()
        if self._mode == COMMA:
            if byte not in ",]":
                raise BrokenDocument("a comma or ] is missing in an array", base + at)
            self._mode = VALUE
            if byte == "]":
                self.inside = False
        elif byte == "]" and self._mode == FIRST:
            self.inside, self._mode = False, VALUE
        elif byte in ",:]}":
            raise BrokenDocument(f"{byte} stands where a value begins", base + at)
        elif byte == "[" and not self.inside:
            self.inside, self._mode = True, FIRST
        else:
            return self._begin(byte, at, base)
        return at + 1

    def _begin(self, byte: str, at: int, base: int) -> int:
        if not self._starts:
            self._first_inside = self.inside
        self.begun = base + at
        if byte == '"':
            self._mode = STRING
        elif byte in "{[":
            self._mode = BRACKETS
            self._open(byte)
        else:
            self._mode = SCALAR
        return at + 1

    def _open(self, byte: str) -> None:
        self._stack.append(byte)
        self._deepest = max(self._deepest, len(self._stack))

    def _end(self, at: int) -> None:
        if not self.forgets:
            self._starts.append(self.begun)
            self._ends.append(at)
        self.begun, self.forgets = -1, False
        self._mode = COMMA if self.inside else VALUE

    def _scalar(self, data: bytes, at: int, base: int) -> int:
        found = _END_OF_SCALAR.search(data, at)
        if found is None:
            return len(data)
        self._end(base + found.start())
        return found.start()

    def _brackets(self, data: bytes, at: int, base: int) -> int:
        found = _BRACKET_OR_QUOTE.search(data, at)
        if found is None:
            return len(data)
        byte, at = found.group().decode(), found.end()
        if byte == '"':
            self._mode = STRING
        elif byte in "{[":
            self._open(byte)
        elif self._stack[-1] != _CLOSES[byte]:
            problem = f"{byte} stands where {self._stack[-1]} is to be closed"
            raise BrokenDocument(problem, base + at - 1)
        else:
            self._stack.pop()
            if not self._stack:
                self._end(base + at)
        return at

    def _string(self, data: bytes, at: int, base: int) -> int:
        found = _QUOTE_OR_SLASH.search(data, at)
        if found is None:
            return len(data)
        at = found.end()
        if found.group() == b"\\":
            self._escaped = at == len(data)
            return at + 1
        if self._stack:
            self._mode = BRACKETS
        else:
            self._end(base + at)
        return at


def values_of(data: bytes, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
    """The bytes of each value."""
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def compact(value: bytes) -> bytes:
    """A valid value without white space between its tokens, where it has a newline."""
    if b"\n" not in value:
        return value
    parts, at = [], 0
    for string in _STRING.finditer(value):
        parts += [value[at : string.start()].translate(None, _SPACE), string.group()]
        at = string.end()
    return b"".join([*parts, value[at:].translate(None, _SPACE)])


def lines_of_values(data: bytes, starts: Sequence[int], ends: Sequence[int]) -> bytes:
    """Valid values, each compact and followed by a newline."""
    return b"".join([compact(value) + b"\n" for value in values_of(data, starts, ends)])
