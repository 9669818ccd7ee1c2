"""How deep a JSON value may nest, and how deep one does."""

from __future__ import annotations

import re

from paipa_etl.formats.line_reader import split_lines

MAX_DEPTH = 500
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def may_be_deep(block: bytes) -> bool:
    """Whether a line of the block has more opening brackets than a value may nest."""
    if block.count(b"{") + block.count(b"[") <= MAX_DEPTH:
        return False
    shortest = 2 * MAX_DEPTH  # what opens must close
    return any(
        len(line) > shortest and line.count(b"{") + line.count(b"[") > MAX_DEPTH
        for line in split_lines(block)
    )


def is_deep(text: bytes) -> bool:
    """Whether a value, on one line or many, nests deeper than it may."""
    return text.count(b"{") + text.count(b"[") > MAX_DEPTH and depth(text) > MAX_DEPTH


def depth(text: bytes) -> int:
    """How deep the brackets of a text nest, those in strings left out."""
    deepest = level = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest


def without_strings(text: bytes) -> bytes:
    """A JSON text with empty strings in place of its strings."""
    return _STRINGS.sub(b'""', text)
