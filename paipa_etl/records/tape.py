"""Tape: where each record of a block begins and ends, found when the block was cut."""

from __future__ import annotations

from array import array


class Tape:
    """Byte offsets in a block; one entry for each record.

    Keeps 16 bytes for each record. ``deepest`` is how deep the brackets of any record nest.
    No data class: each takes half a millisecond to make, and every run loads this module.
    """

    __slots__ = ("deepest", "ends", "starts")

    def __init__(self, starts: array[int], ends: array[int], deepest: int = 0) -> None:
        self.starts, self.ends, self.deepest = starts, ends, deepest

    def __len__(self) -> int:
        return len(self.starts)
