"""The port: the few functions that a store of objects is to the reader, the writer, the lister.

No client library is known here, and nothing is retried by a store: it says what failed, and
whether that may pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from paipa_etl.location import Location

Part = bytes | bytearray
CHUNK = 1 << 18  # bytes that a body gives at a time, at the most
PIECE = 1 << 16  # bytes that are taken off a socket at a time, at the most


FailureKind = Literal[
    "",  # none of these
    "missing",
    "denied",
    "changed",  # it is not the object that it was
    "exists",  # it was to be created
    "beyond",  # it has no such bytes
    "refused",  # no server listens at the address
    "silent",  # no answer in time, or a rate below the minimum
    "unanswered",  # the store may have carried the request out
    "strange",  # the answer is not one of such a store, or is cut off
    "moved",  # the store redirects the request
]


class StoreFailure(Exception):
    """A failed request to a store. Handlers read its fields, never its text.

    ``status`` is the HTTP status of the store's answer, None where there was none. ``code`` is
    the store's own name of the error, such as ``NoSuchKey`` or ``SlowDown``; empty where it
    gave none. ``retryable``: it may pass, and is tried again, not before ``after`` seconds
    where the store said so.
    """

    def __init__(
        self,
        problem: str,
        *,
        status: int | None = None,
        code: str = "",
        retryable: bool = False,
        after: float | None = None,
        kind: FailureKind = "",
    ) -> None:
        super().__init__(problem)
        self.status, self.code = status, code
        self.retryable, self.after = retryable, after
        self.kind: FailureKind = kind


@dataclass(frozen=True)
class Entry:
    """An object, as a listing or a look at it tells.

    ``stamp`` changes with its content (an ETag, a generation); ``modified`` is in
    seconds since the epoch.
    """

    location: Location
    size: int | None = None
    stamp: str | None = None
    modified: float | None = None


def _nothing_open() -> None:
    """Close an answer that holds no connection."""


@dataclass
class Body:
    """The answer to a request for bytes: ``chunks`` are those from ``start`` to ``end``.

    ``end`` is what was promised, where it was; ``size`` and ``stamp`` are the whole
    object's. ``ranges`` says that another part of it can be asked for; without ``size``, that
    this is a part of nobody knows how much. Closing the body gives the connection up, or back
    where all chunks were taken.
    """

    chunks: Iterator[bytes]
    start: int = 0
    end: int | None = None
    size: int | None = None
    stamp: str | None = None
    ranges: bool = True
    release: Callable[[], object] = _nothing_open
    """Closes the answer. Needed beside ``chunks.close()``, which runs no code of a generator of
    which nothing was taken."""
    begun: bytes = b""
    """What was taken of the chunks already."""

    def begin(self) -> None:
        """Take the first chunk: what an answer says of itself counts when bytes of it have come.

        The head of one that was cut may end in the middle of a number.
        """
        if self.size == 0:
            return
        try:
            self.begun = next(self.chunks, b"")
        except BaseException:
            self.close()
            raise
        if not self.begun and (self.size or self.end):
            self.close()
            raise StoreFailure("the answer was cut before its first byte", retryable=True)

    def close(self) -> None:
        """Take no more of it."""
        try:
            close = getattr(self.chunks, "close", None)
            if close is not None:
                close()
        finally:
            release, self.release = self.release, _nothing_open  # an answer keeps its client alive
            release()


def no_such(container: str, failure: StoreFailure) -> StoreFailure:
    """The failure for a bucket or a container that a look at it did not find."""
    problem = f"there is no such {container}"
    return StoreFailure(problem, status=failure.status, code=failure.code, kind="missing")


def nothing(found: Entry, failure: StoreFailure) -> Body:
    """The answer for an empty object: it has no first byte that could be asked for.

    Raises the failure that said so where a look at the object says something else.
    """
    if found.size != 0:
        raise failure
    return Body(iter(()), 0, 0, 0, found.stamp)


class ObjectReader(Protocol):
    """One object that can be read; every method may be called by several threads."""

    def stat(self) -> Entry:
        """What is known of the object, without reading it."""

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """Ask for the bytes from ``start`` to before ``stop``, of the object of that stamp only."""


class ObjectLister(Protocol):
    """A store whose objects can be listed."""

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """A page of the objects whose URL begins with a prefix, sorted, and where the next begins.

        ``more`` is None for the first page; after the last one, None is given. Unless ``deep``,
        those in folders behind the prefix may be left out.
        """


@dataclass(frozen=True)
class Upload:
    """An upload that was begun and neither completed nor aborted."""

    name: str
    location: Location
    begun: float | None
    """In seconds since the epoch."""


class ObjectWriter(Protocol):
    """One object that can be written; ``put_part`` may be called by several threads.

    ``part_size`` is the size of its first parts, in bytes, ``least_part`` the smallest
    that it takes, ``parallel`` how many may be on their way at once.
    """

    part_size: int
    least_part: int
    parallel: int

    def check(self, clobber: bool) -> None:
        """Refuse what cannot be written: no such bucket, or an object that is to stay."""

    def put(self, data: Part, clobber: bool) -> None:
        """Publish a small object whole."""

    def begin(self) -> None:
        """Begin an upload of parts."""

    def put_part(self, number: int, data: Part) -> None:
        """Upload one part; numbers begin with 1. A part that is put again replaces itself."""

    def complete(self, size: int, clobber: bool) -> None:
        """Publish the parts as one object; raises unless it is whole."""

    def abort(self) -> None:
        """Drop the parts."""


class UploadLister(Protocol):
    """A store that tells which uploads were left over."""

    def upload_page(self, prefix: str, more: Any) -> tuple[list[Upload], Any]:
        """A page of the uploads to URLs that begin with a prefix, and where the next begins."""

    def drop(self, upload: Upload) -> None:
        """Remove one."""
