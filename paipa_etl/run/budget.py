"""The memory of a run: what each hand-over may hold, in bytes."""

from __future__ import annotations

from paipa_etl.records.channel import MAX_BYTES
from paipa_etl.threads.ahead import AHEAD
from paipa_etl.threads.behind import BEHIND

MAX_MEMORY = 256 << 20  # bytes: the sum of what all hand-overs of a run may hold
RANGES = 16 << 20  # bytes of a remote input that are fetched side by side
PARTS = 20 << 20  # bytes of a remote output: the part that grows, and those on their way


class Budget:
    """How many bytes all hand-overs of a run may hold together, and the share of each."""

    def __init__(self, max_memory: int = MAX_MEMORY) -> None:
        self.max_memory = max_memory
        self._scale = 1.0

    def divide(self, stages: int) -> None:
        """Divide the memory among the hand-overs of a plan with so many steps that have workers.

        Each has a channel before it, results that wait, and perhaps a channel behind it. Ranges
        and parts are those of a remote input and a remote output.
        """
        usual = AHEAD + RANGES + BEHIND + PARTS + MAX_BYTES * (1 + 3 * stages)
        self._scale = min(1.0, self.max_memory / usual)

    def share(self, usual: int) -> int:
        """The bytes that a hand-over may hold, of those that it usually holds."""
        return max(int(usual * self._scale), 1)
