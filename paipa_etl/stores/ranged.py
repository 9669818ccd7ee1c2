"""The ranged reader: an object's bytes in order, fetched in ranges side by side, never a mixture.

One request gives the first range, the size and the stamp; the others are pinned to that
stamp. Each is continued where it was cut. What has no stamp, or no ranges, is one stream.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import chain

from paipa_etl.errors import InputError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.run.budget import RANGES
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.pace import Pace
from paipa_etl.stores.port import CHUNK, Body, ObjectReader, StoreFailure
from paipa_etl.stores.waking import waker
from paipa_etl.threads.ahead import side_by_side
from paipa_etl.threads.collector import CleanupStack, apart
from paipa_etl.threads.stop import Stop

RANGE = 2 << 20  # bytes of a request: at 50 MB/s 40 ms, twice a usual latency
SMALL = 1 << 19  # bytes, below which ranges are not worth a request each
Bytes = Generator[bytes, None, None]


def ranged(reader: ObjectReader, location: Location, run: Run, options: StoreOptions) -> Bytes:
    """Yield the bytes of an object, in order; keeps ``RANGES`` bytes, or the run's share of them.

    Raises ``InputError`` where it changes meanwhile, is shorter than promised, or
    cannot be read; ``InputUnavailable`` where that may pass.
    """
    budget = run.budget.share(RANGES) if run.background else RANGE
    length = min(RANGE, max(budget // 2, SMALL))
    stop = Stop()  # of this input: the run may read others after it
    fetch = Fetch(reader, location, options, run.clients, stop)
    with run.stops.reading.waking(stop.set), CleanupStack() as stack:
        body = fetch.first(length)
        stack.callback(body.close)
        size = fetch.size
        if body.end is None or size is None or body.end >= size or not body.ranges:
            yield from fetch.pieces(0, size, body)
            return
        rest = range(body.end, size, length)
        jobs = chain(
            (fetch.pieces(0, body.end, body),),
            (fetch.pieces(at, min(at + length, size)) for at in rest),
        )
        if budget < 2 * length:
            for job in jobs:
                yield from job
            return
        width = budget // length
        with closing(side_by_side(jobs, len, stop, width, length, run.end)) as pieces:
            yield from pieces


class Fetch:
    """One object as it was when it was first asked for; several threads fetch parts of it."""

    def __init__(
        self,
        reader: ObjectReader,
        location: Location,
        options: StoreOptions,
        clients: Clients,
        stop: Stop,
    ) -> None:
        self._reader, self._location, self._options = reader, location, options
        self._clients, self._stop = clients, stop
        self._ranges = True
        self._stamp: str | None = None
        self.size: int | None = None

    def _attempts(self) -> Attempts:
        return Attempts(self._location, self._options, self._clients, self._stop, InputError)

    def first(self, length: int) -> Body:
        """The answer with the first bytes; all of them, where parts do not add up to a whole.

        That is where a part cannot be pinned, and where nobody says of how much it is one.
        """
        body = self._attempts().call(lambda: self._answer(0, length))
        whole = body.size is not None and body.end is not None and body.end >= body.size
        if body.ranges and not whole and (body.stamp is None or body.size is None):
            body.close()
            body = self._attempts().call(lambda: self._answer(0, 0))
        self.size, self._stamp, self._ranges = body.size, body.stamp, body.ranges
        return body

    def _answer(self, start: int, stop: int) -> Body:
        body = self._reader.read_range(start, stop, self._stamp)
        if body.start > start or (body.ranges and body.start != start):
            body.close()
            raise StoreFailure(f"the store answered with bytes from {body.start:,}, not {start:,}")
        if not stop and body.ranges and (body.size is None or body.end != body.size):
            body.close()
            raise StoreFailure("the store gives a part where everything was asked for")
        if body.end is not None:  # a live stream is given as it comes
            body.chunks = _gathered(body.chunks)
        body.begin()
        return body

    def pieces(self, at: int, stop: int | None, body: Body | None = None) -> Bytes:
        """The bytes from ``at`` to before ``stop``, or to the end where nobody knows it.

        ``body`` is the answer, where it was asked for already.
        """
        attempts = self._attempts()
        with self._stop.waking(waker()):
            while True:
                failure = None
                try:
                    attempts.go_on()
                    body = body or attempts.pace.request(partial(self._ask, at, stop))
                    for chunk in _from(body, at, attempts.pace):
                        at += len(chunk)
                        attempts.progressed(len(chunk))
                        yield chunk
                    _check_end(at, stop)
                except StoreFailure as error:
                    failure = error
                finally:
                    if body is not None:
                        apart(body.close)
                        body = None
                if failure is None:
                    return
                if at and self._stamp is None:
                    problem = f"{failure}; what has no ETag cannot be continued"
                    failure = StoreFailure(problem, status=failure.status, code=failure.code)
                attempts.failed(failure)

    def _ask(self, at: int, stop: int | None) -> Body:
        """The answer to a request for a part, if it is one of the object that was begun."""
        start = at if self._ranges else 0
        body = self._answer(start, stop or 0)
        if body.stamp != self._stamp or body.size != self.size:
            body.close()
            raise StoreFailure("changed while it was read", kind="changed")
        return body


def _from(body: Body, at: int, pace: Pace) -> Bytes:
    """The chunks of an answer from an offset on: one without ranges begins at the beginning."""
    skipped = at - body.start
    following = partial(next, body.chunks, b"")
    pace.body(known=body.end is not None)
    for chunk in chain(
        (body.begun,) if body.begun else (), iter(partial(pace.call, following), b"")
    ):
        if skipped >= len(chunk):
            skipped -= len(chunk)
            continue
        yield chunk[skipped:] if skipped else chunk
        skipped = 0


def _gathered(chunks: Iterator[bytes]) -> Bytes:
    """Chunks, small ones put together. Those before a silence are asked for again."""
    held: list[bytes] = []
    size = 0
    failure = None
    try:
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= CHUNK:
                yield b"".join(held)
                held, size = [], 0
    except StoreFailure as error:
        failure = error
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    if held and (failure is None or failure.kind != "silent"):
        yield b"".join(held)
    if failure is not None:
        raise failure


def _check_end(at: int, stop: int | None) -> None:
    if stop is not None and at < stop:
        raise StoreFailure(f"the answer ended {stop - at:,} bytes too early", retryable=True)
    if stop is not None and at > stop:
        raise StoreFailure(f"the answer was {at - stop:,} bytes too long")
