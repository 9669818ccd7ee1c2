"""Rule ``fuse``: the leading steps that treat each record on its own become one block task."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from paipa_etl.steps.contract import Step

if TYPE_CHECKING:
    from paipa_etl.steps.functions import FunctionStep


@dataclass(frozen=True)
class BlockTask:
    """The record-local part of a plan as data: what becomes of the records of one block.

    Can be pickled where its steps can. ``runners/block_task.py`` carries it out.
    """

    steps: tuple[FunctionStep, ...]

    @property
    def preserving(self) -> bool:
        """Whether every record that leaves it is as it came."""
        return all(step.preserving for step in self.steps)

    @property
    def expands(self) -> bool:
        """Whether one record may become many."""
        return any(step.expands for step in self.steps)

    def __str__(self) -> str:
        return " + ".join(["decode", *map(str, self.steps)])


def fuse(steps: tuple[Step, ...]) -> tuple[BlockTask, tuple[Step, ...]]:
    """The block task of the leading steps, and the steps that follow it."""
    leading = tuple(takewhile(is_record_local, steps))
    return BlockTask(leading), steps[len(leading) :]  # type: ignore[arg-type]


def is_record_local(step: Step) -> bool:
    """Whether a block task can carry out the step: a function is called on each record."""
    return step.record_local and step.workers is None
