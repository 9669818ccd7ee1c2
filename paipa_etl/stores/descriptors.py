"""Descriptors that may not be ready (pipes, terminals, sockets), and the names that stand for them.

``/dev/stdout``, ``/dev/fd/3`` and ``/proc/self/fd/3`` name an open descriptor of this process.
Opening such a name again would begin at the start of a file and ignore what the descriptor's
owner has read or written so far, so the descriptor itself is used.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import stat
from collections.abc import Iterator

from paipa_etl.location import Location
from paipa_etl.schemes import LOCAL, OBJECT, STANDARD
from paipa_etl.threads.stop import Stop, Stopped

TRIP = 1 << 19  # bytes a read from a file: threads hand over little and often otherwise
LIVE_TRIP = 1 << 18  # bytes a read from a pipe may give; it gives what is there
SILENCE = 10  # milliseconds without a byte, after which what was read is shown
STDIN, STDOUT = 0, 1
FIRST_FREE = 3  # duplicates get no number of a standard stream, even where that is closed
MAX_LINKS = 40  # symbolic links that are followed, as many as the kernel does

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_FOLDER = re.compile(r"(?:/dev|/proc/(?:\d+/task/)?(?P<task>\d+))/fd")
_STANDARD_NAMES = {0: "standard input", 1: "standard output", 2: "standard error"}


class Readiness:
    """Waits until a descriptor is ready for an event of ``poll``, or until a stop is set."""

    def __init__(self, descriptor: int, event: int, stop: Stop | None = None) -> None:
        self._stop = stop
        self._poll = select.poll()
        self._poll.register(descriptor, event)
        if stop is not None:
            self._poll.register(stop.fileno(), select.POLLIN)

    def wait(self, milliseconds: int | None = None) -> bool:
        """Wait, at most so long; returns whether the descriptor is ready. Raises ``Stopped``."""
        found = self._poll.poll(milliseconds)
        if self._stop is not None and self._stop.is_set:
            raise Stopped
        return bool(found)

    def silence(self) -> Iterator[bytes]:
        """Wait for as long as it takes; yields one empty piece if that is longer than SILENCE."""
        if not self.wait(SILENCE):
            yield b""
            self.wait()


def read_pieces(descriptor: int, stop: Stop | None = None) -> Iterator[bytes]:
    """Yield what a descriptor gives until its end; an empty piece when it is silent.

    A stop ends the wait for a byte with ``Stopped``.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        while piece := os.read(descriptor, TRIP):
            yield piece
        return
    readable = Readiness(descriptor, select.POLLIN, stop)
    while True:
        yield from readable.silence()
        try:
            piece = os.read(descriptor, LIVE_TRIP)
        except BlockingIOError:  # non-blocking, and another reader was faster
            continue
        if not piece:
            return
        yield piece


def write_all(descriptor: int, data: bytes | bytearray, stop: Stop | None = None) -> None:
    """Write all of the bytes, however many writes that takes.

    A stop ends the wait for room in a non-blocking pipe with ``Stopped``.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            Readiness(descriptor, select.POLLOUT, stop).wait()


def borrowed(number: int, *, writing: bool) -> int:
    """A duplicate of an open descriptor, for the caller to close. It shares the offset.

    Raises ``OSError`` where the descriptor is closed, or is not open for that direction.
    """
    name = _STANDARD_NAMES.get(number, f"descriptor {number}")
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError as error:
        raise OSError(error.errno, f"{name} is closed") from error
    if mode == (os.O_RDONLY if writing else os.O_WRONLY):
        direction = "reading" if writing else "writing"
        raise OSError(errno.EBADF, f"{name} is open for {direction} only")
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)


def named_descriptor(path: str) -> int | None:
    """The number of this process's descriptor that a path names; None for any other path.

    Symbolic links are followed one by one: what the kernel tells of the last one is the name of
    the file behind the descriptor, which is not the descriptor.

    >>> named_descriptor("/dev/fd/2"), named_descriptor("/dev/null")
    (2, None)
    """
    found = _descriptor_in_path(path)
    return found[1] if found and found[0] else None


def names_foreign_descriptor(path: str) -> bool:
    """Whether a path names a descriptor of another process, such as ``/proc/1/fd/1``."""
    found = _descriptor_in_path(path)
    return found is not None and not found[0]


def _descriptor_in_path(path: str) -> tuple[bool, int] | None:
    """Whether the descriptor that a path names is of this process, and its number."""
    for _ in range(MAX_LINKS):
        folder, name = os.path.split(path)
        if _NUMBER.fullmatch(name):
            match = _FOLDER.fullmatch(os.path.realpath(folder))
            if match:
                task = match["task"]
                return task is None or os.path.isdir(f"/proc/self/task/{task}"), int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except OSError:  # no link
            return None
    return None


def file_descriptor(file: object) -> int | None:
    """The descriptor of a file object; None where it has none."""
    try:
        number = file.fileno()  # type: ignore[attr-defined]
    except Exception:  # not there, not supported, closed: each library has its own error
        return None
    return number if isinstance(number, int) and number >= 0 else None


def descriptor_of(location: Location, standard: int) -> int | None:
    """The open descriptor that a location is read from or written to; None where it has none.

    ``standard`` is the one that ``-`` stands for: standard input or standard output.
    """
    if location.scheme == STANDARD:
        return standard
    if location.scheme == LOCAL:
        return named_descriptor(location.target)
    return file_descriptor(location.file) if location.scheme == OBJECT else None
