"""The plan of a run as the debugger needs it: names to display, and facts in typed fields.

A name may hold any text; no code reads facts out of a name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from paipa_etl.errors import shown

NAME = 200  # bytes of a name that are shown


@dataclass(frozen=True)
class PlanStep:
    """One step of a plan."""

    name: str
    workers: int = 0
    """0: the step runs in the thread of the steps around it."""
    paced: bool = False
    """Whether the step waits to keep a rate that the user set."""


@dataclass(frozen=True)
class Plan:
    """The source, the steps and the sink of a plan."""

    source: str
    steps: tuple[PlanStep, ...]
    sink: str
    sink_codec: str = ""
    """The name of the codec of the output; empty where it is not compressed."""
    transfers: int = 1
    """How many runs of the plan are active at the same time."""

    def shown(self) -> Plan:
        """The same with names that are safe on a terminal."""
        safe = tuple(replace(step, name=shown(step.name, NAME)) for step in self.steps)
        source, sink = shown(self.source, NAME), shown(self.sink, NAME)
        return replace(self, source=source, steps=safe, sink=sink)
