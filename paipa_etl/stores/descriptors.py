"""Reading from and writing to a descriptor that may keep one waiting: pipes, terminals, files."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator

from paipa_etl.stop import Stop, Stopped

TRIP = 1 << 19  # bytes a read from a file: threads hand over little and often otherwise
LIVE_TRIP = 1 << 18  # bytes a read from a pipe may give; it gives what is there
SILENCE = 10  # milliseconds without a byte, after which what was read is shown


def read_pieces(descriptor: int, stop: Stop) -> Iterator[bytes]:
    """Yield what a descriptor gives until its end; an empty piece when it is silent.

    A stop ends the wait for a byte with ``Stopped``.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        while piece := os.read(descriptor, TRIP):
            yield piece
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(stop.fileno(), select.POLLIN)
    while True:
        if not poll.poll(SILENCE):
            yield b""
            poll.poll()
        if stop.is_set:
            raise Stopped
        try:
            piece = os.read(descriptor, LIVE_TRIP)
        except BlockingIOError:  # the descriptor's other owner made it so
            continue
        if not piece:
            return
        yield piece


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write all of the bytes, however many writes that takes."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # a non-blocking pipe is full: wait for room
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
