"""The plain-Python form of the kernel ``_scan``: the one that decides what is valid."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import deque

import msgspec

from paipa_etl.formats.blocks import split_lines
from paipa_etl.formats.nesting import may_be_deep

_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19
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


def has_long_number(block: bytes) -> bool:
    """Whether 19 digits stand in a row: fewer of them always fit into 64 bits."""
    return _LONG_NUMBER in block.translate(_TO_ZERO)


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
