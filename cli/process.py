"""What the command sets for its whole process: the collector's pace, the allocator's thrift."""

from __future__ import annotations

import gc

from paipa_etl import Pipeline
from paipa_etl.schemes import LOCAL, STANDARD

GENERATION = 50_000  # objects between two looks of the cyclic collector: records hold no cycles
LARGE = 1 << 20  # bytes from which a buffer goes back to the system when it is no longer needed
ARENAS = 2  # heaps for small buffers, which threads share
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # glibc's malloc.h


def settle(pipeline: Pipeline) -> None:
    """Before a run: what is loaded stays, records hold no cycles, parts of uploads come and go."""
    gc.freeze()
    gc.set_threshold(GENERATION, 20, 100)
    places = [*getattr(pipeline.source, "locations", ()), getattr(pipeline.sink, "location", None)]
    if any(place is not None and place.scheme not in (LOCAL, STANDARD) for place in places):
        _be_thrifty()


def _be_thrifty() -> None:
    """Have the C library give large buffers back.

    glibc's malloc takes larger and larger ones from a heap of the thread that asks, as those
    before were given back, and keeps what it has once taken: a fifth more than a run needs, and
    more the longer it is.
    """
    try:
        import ctypes

        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGE)
        library.mallopt(M_ARENA_MAX, ARENAS)
    except (ImportError, OSError, AttributeError):
        return  # another C library has other habits
