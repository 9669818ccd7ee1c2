"""Standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator

from paipa_etl.location import STANDARD, Location
from paipa_etl.sources import ReadStore, register
from paipa_etl.sources.local import reading
from paipa_etl.stop import Stop
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import read_pieces

STDIN = 0


def pieces(location: Location, stop: Stop, options: StoreOptions) -> Generator[bytes, None, None]:
    """What comes on standard input, as it comes; the descriptor stays open."""
    with reading(location):
        yield from read_pieces(STDIN, stop)


def size(location: Location) -> int | None:
    """The size of standard input, where it is a file."""
    try:
        status = os.fstat(STDIN)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


register(ReadStore((STANDARD,), pieces, size, once=True))
