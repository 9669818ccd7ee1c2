"""The plain-Python form of the kernel ``_scan``: the one that decides what is valid."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from paipa_etl.formats.line_reader import split_lines
from paipa_etl.formats.nesting import MAX_DEPTH, depth, is_deep, may_be_deep, without_strings

_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19
_LONG_INTEGER = re.compile(rb"(?<![.0-9])[0-9]{19}")
_check_structure = msgspec.json.Decoder(msgspec.Raw).decode


def count_valid(block: bytes) -> int:
    """How many lines a block has, when every one is a valid JSON value; -1 when one is not.

    A blank line is not valid here, and a line with more than 500 opening brackets
    may be called invalid: the caller looks at it alone.
    """
    lines = split_lines(block)
    try:
        deque(map(_check_structure, lines), maxlen=0)
        if not block.isascii():
            block.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return -1
    return -1 if may_be_deep(block) else len(lines)


def count_valid_values(block: bytes, starts: Sequence[int], ends: Sequence[int]) -> int:
    """How many values there are, when every one is valid, on one line or many; otherwise -1."""
    try:
        for start, end in zip(starts, ends, strict=True):
            value = block[start:end]
            _check_structure(value)
            value.decode()
            if is_deep(value):
                return -1
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return -1
    return len(starts)


class Lines(list[bytes]):
    """The lines of some bytes, without their newlines."""

    def __init__(self, data: bytes) -> None:
        super().__init__(split_lines(data))


def needs_care(block: bytes) -> bool:
    """Whether a fast decoder may be wrong about a line: an integer of 19 digits, or deep nesting.

    Digits and brackets in strings do not count, nor digits behind a decimal point. Lines that
    are not valid get any answer.
    """
    if _LONG_NUMBER in block.translate(_TO_ZERO):
        outside = (without_strings(line) for line in split_lines(block))
        if any(map(_LONG_INTEGER.search, outside)):
            return True
    return may_be_deep(block) and any(depth(line) > MAX_DEPTH for line in split_lines(block))


class LineEncoder:
    """Gives the line of a record when it is called.

    ``dumps(record, None, options)`` gives the line; ``encode`` gives it, or raises, where
    ``dumps`` raises an ``Exception`` or may have put ``null`` for a NaN.
    """

    def __init__(
        self, dumps: Callable[..., bytes], options: int, encode: Callable[[Any], bytes]
    ) -> None:
        self._dumps, self._options, self._encode = dumps, options, encode

    def __call__(self, record: Any) -> bytes:
        try:
            line = self._dumps(record, None, self._options)
        except Exception:
            return self._encode(record)
        return self._encode(record) if holds_nan(line, record) else line


def holds_nan(line: bytes, value: object) -> bool:
    """Whether an encoder has put ``null`` for a NaN or an infinity into the line of a value."""
    return b"null" in line and not is_finite(value)


def is_finite(value: object) -> bool:
    """Whether no NaN and no infinity stands anywhere in a value."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return False
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
        elif isinstance(item, enum.Enum):
            stack.append(item.value)
        elif dataclasses.is_dataclass(item):
            stack.extend(getattr(item, field.name) for field in dataclasses.fields(item))
    return True
