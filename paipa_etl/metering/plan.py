"""What a watch is told about the plan of a run: names to display, and facts beside them.

A name may hold any text; nobody reads facts out of it.
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
    """0: it runs in the thread of its neighbours."""
    paced: bool = False
    """Whether it waits in order to keep a rate that the user set."""


@dataclass(frozen=True)
class Plan:
    """The source, the steps and the sink of a plan."""

    source: str
    steps: tuple[PlanStep, ...]
    sink: str
    sink_codec: str = ""
    """The name of the codec of the output; empty where it is not compressed."""
    transfers: int = 1
    """How many runs of it go on at once."""

    def shown(self) -> Plan:
        """The same with names that are safe on a terminal."""
        safe = tuple(replace(step, name=shown(step.name, NAME)) for step in self.steps)
        source, sink = shown(self.source, NAME), shown(self.sink, NAME)
        return replace(self, source=source, steps=safe, sink=sink)
