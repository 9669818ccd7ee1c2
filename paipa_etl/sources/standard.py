"""Standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator

from paipa_etl.location import STANDARD, Location
from paipa_etl.run import Run
from paipa_etl.sources import ReadStore, register
from paipa_etl.sources.local import reading
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.descriptors import read_pieces
from paipa_etl.stores.port import Entry

STDIN = 0


def pieces(location: Location, run: Run, options: StoreOptions) -> Generator[bytes, None, None]:
    """What comes on standard input, as it comes; the descriptor stays open."""
    with reading(location):
        yield from read_pieces(STDIN, run.reading_stop)


def stat_input(location: Location, run: Run, options: StoreOptions) -> Entry:
    """The size of standard input, where it is a file."""
    try:
        status = os.fstat(STDIN)
    except OSError:
        return Entry(location)
    return Entry(location, status.st_size if stat.S_ISREG(status.st_mode) else None)


register(ReadStore((STANDARD,), pieces, stat_input, once=True))
