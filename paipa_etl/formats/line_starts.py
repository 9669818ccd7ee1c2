"""Where the lines of a block begin; worked out only when an error asks for a place."""

from __future__ import annotations

from array import array
from itertools import accumulate, compress

from paipa_etl.formats.blocks import split_lines

BLANK = b" \t\r"


def starts_of_lines(data: bytes, *, blanks_count: bool) -> array[int]:
    """The byte at which each line begins; without the blank lines, where they do not count."""
    lines = split_lines(data)
    starts = accumulate(map(len, lines), lambda start, size: start + size + 1, initial=0)
    return array("q", compress(starts, (blanks_count or line.strip(BLANK) for line in lines)))
