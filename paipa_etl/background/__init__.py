"""The one room beside the runners that starts threads: ahead of takers, behind givers, for loops.

Each thread belongs to a run and ends with it: closing its taking end joins it.
"""

from paipa_etl.background.ahead import AHEAD, Ahead, read_ahead, side_by_side
from paipa_etl.background.behind import BEHIND, Task, WriteBehind
from paipa_etl.background.loop import EventLoop
from paipa_etl.background.threads import join, start, surely
from paipa_etl.background.ticking import Ticking

__all__ = [
    "AHEAD",
    "BEHIND",
    "Ahead",
    "EventLoop",
    "Task",
    "Ticking",
    "WriteBehind",
    "join",
    "read_ahead",
    "side_by_side",
    "start",
    "surely",
]
