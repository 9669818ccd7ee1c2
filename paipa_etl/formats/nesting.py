"""How deep a JSON value may nest, and which lines need a closer look for it."""

from __future__ import annotations

from paipa_etl.formats.blocks import split_lines

MAX_DEPTH = 500


def may_be_deep(block: bytes) -> bool:
    """Whether a line of the block has more opening brackets than a value may nest."""
    if block.count(b"{") + block.count(b"[") <= MAX_DEPTH:
        return False
    shortest = 2 * MAX_DEPTH  # what opens must close
    return any(
        len(line) > shortest and line.count(b"{") + line.count(b"[") > MAX_DEPTH
        for line in split_lines(block)
    )
