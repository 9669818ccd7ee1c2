"""The plain-Python form of the kernel ``_scan``: the one that decides what is valid."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import deque

import msgspec

MAX_DEPTH = 500

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


def split_lines(block: bytes) -> list[bytes]:
    """The lines of a block, without their newlines."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def may_be_deep(block: bytes) -> bool:
    """Whether a line of the block has more opening brackets than a value may nest."""
    shortest = 2 * MAX_DEPTH  # what opens must close
    return any(
        len(line) > shortest and line.count(b"{") + line.count(b"[") > MAX_DEPTH
        for line in split_lines(block)
    )


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
