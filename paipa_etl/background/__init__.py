"""Threads: reading ahead, writing behind, event loops, and what every thread of a run has.

Each thread belongs to a run and ends with it, or with the interpreter.
"""

from paipa_etl.background.ahead import AHEAD, Ahead, read_ahead, side_by_side
from paipa_etl.background.behind import BEHIND, Task, WriteBehind
from paipa_etl.background.janitor import Thread, prepare
from paipa_etl.background.loop import EventLoop
from paipa_etl.background.threads import first_of, join, surely
from paipa_etl.background.ticking import Ticking

__all__ = [
    "AHEAD",
    "BEHIND",
    "Ahead",
    "EventLoop",
    "Task",
    "Thread",
    "Ticking",
    "WriteBehind",
    "first_of",
    "join",
    "prepare",
    "read_ahead",
    "side_by_side",
    "surely",
]
