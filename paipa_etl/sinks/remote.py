"""Uploads: published by completing them, or not at all; several parts at once, bounded."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from paipa_etl.errors import OutputError, PaipaWarning, PlanError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.run.budget import PARTS
from paipa_etl.run.clients import Clients
from paipa_etl.sinks import Target, WriteStore
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.port import FailureKind, ObjectWriter, StoreFailure
from paipa_etl.stores.remote import object_of, open_smart, told_as
from paipa_etl.threads.behind import Task
from paipa_etl.threads.collector import apart
from paipa_etl.threads.stop import Stop

FULL_SIZE_PARTS = 4_800  # parts of the first size: 25 GB; a store takes 10,000
ROUND = 256 << 10  # bytes, of which GCS wants each part to be a multiple
DOUBLED_EVERY = 520  # parts: the largest objects that S3 takes, 5 TiB, end in parts of 5 GiB
DROP_WITHIN = 5.0  # seconds that an abort waits for a beginning, and as many to remove the parts
MAY_HAVE_BEGUN: tuple[FailureKind, ...] = ("silent", "unanswered", "strange")
DROP_WORDS = StoreOptions({"retries": 1, "backoff": 0.1})


def size_of_part(number: int, first: int) -> int:
    """The size of a part: a store takes only so many, so those of huge objects grow.

    >>> [size_of_part(number, 5) for number in (1, 4_800, 4_801, 5_840, 10_000)]
    [5, 5, 10, 20, 5120]
    """
    late = number - FULL_SIZE_PARTS
    doublings: int = -(-late // DOUBLED_EVERY)
    return first << max(doublings, 0)


class UploadTarget:
    """One upload. Keeps the part that grows and those on their way: ``PARTS`` bytes at the most.

    What fits into one part is published by a single request.
    """

    live = False
    cached = False

    def __init__(
        self,
        location: Location,
        writer: ObjectWriter,
        clobber: bool,
        run: Run,
        options: StoreOptions,
    ) -> None:
        self._location, self._writer, self._clobber = location, writer, clobber
        self._stop, self._options, self._clients = run.stops.output, options, run.clients
        share = run.budget.share(PARTS)
        usual = min(writer.part_size, share // 2) // ROUND * ROUND
        self._first = max(writer.least_part, usual)
        self._parallel = min(writer.parallel, share // self._first - 1 if run.background else 0)
        self._part = bytearray()
        self._tasks: deque[Task] = deque()
        self._number = self._size = 0
        self._begun: Task | None = None
        self._cut = Stop()  # ends a beginning in progress, which the end of the run does not
        self._unknown = False  # whether an upload may have begun whose name was never told
        self._touched = False
        self._open = False
        self._attempt(partial(writer.check, clobber))
        self._open = True

    def _attempts(self) -> Attempts:
        return Attempts(self._location, self._options, self._clients, self._stop, OutputError)

    def _attempt(self, action: Callable[[], Any]) -> None:
        self._attempts().call(action)

    def write(self, data: bytes | bytearray) -> None:
        """Add to the upload; waits while all parts that may be on their way are."""
        self._size += len(data)
        view = memoryview(data)
        while view:
            room = size_of_part(self._number + 1, self._first) - len(self._part)
            if room <= 0:
                self._send()
                continue
            self._part += view[:room]
            view = view[room:]

    def _send(self) -> None:
        """Have the part that is full uploaded."""
        self._touched = True
        if self._begun is None:
            self._begin()
        self._number += 1
        part, self._part = self._part, bytearray()
        upload = partial(self._attempt, partial(self._writer.put_part, self._number, part))
        if self._parallel < 1:
            upload()
            return
        if len(self._tasks) >= self._parallel:
            self._tasks.popleft().finish()
        self._tasks.append(Task(upload, self._stop.set))
        self._tasks[-1].start()

    def _begin(self) -> None:
        """Have the upload begun, by a thread that waits for the answer even if the run ends.

        Otherwise the store has an upload whose name nobody knows, and which nobody can abort.
        """
        self._begun = Task(
            partial(self._attempts().call, self._asked_to_begin, self._cut), self._cut.set
        )
        self._begun.start()
        self._begun.finish_unless(self._stop)

    def _asked_to_begin(self) -> None:
        try:
            self._writer.begin()
        except StoreFailure as failure:
            self._unknown = self._unknown or failure.kind in MAY_HAVE_BEGUN
            raise

    def prepare(self) -> None:
        """Have all parts at the store, where there are several."""
        if self._begun is not None and self._part:
            self._send()
        while self._tasks:
            self._tasks.popleft().finish()

    def commit(self) -> None:
        """Publish the object, whole: by the one request that completes it."""
        self.prepare()  # where nobody has; otherwise nothing is left to be done
        self._touched = True
        if self._begun is None:
            self._attempt(partial(self._writer.put, self._part, self._clobber))
        else:
            self._attempt(partial(self._writer.complete, self._size, self._clobber))
        self._open = False

    def abort(self, cause: BaseException) -> None:
        """End what is on its way, and drop the parts."""
        if not self._open:
            return
        self._open = False
        self._stop.set()
        self._part.clear()
        for task in self._tasks:
            task.abort(self._stop)
        if self._begun is not None and not self._begun.ended(DROP_WITHIN):
            self._begun.abort(self._cut)  # what comes of it is a failure that is not answered
        if self._touched and (not self._dropped() or self._unknown):
            self._warn()

    def _dropped(self) -> bool:
        """Whether the parts were removed, within the time for that."""
        stop = Stop()
        attempts = Attempts(self._location, DROP_WORDS, self._clients, stop, OutputError)
        task = Task(partial(attempts.call, self._writer.abort), stop.set)
        task.start()
        if task.ended(DROP_WITHIN):
            with contextlib.suppress(Exception):
                task.finish()
                return True
        task.abort(stop)
        return False

    def _warn(self) -> None:
        advice = "the store forgets it within a week"
        if hasattr(self._writer, "upload_page"):
            advice = f"paipa-etl cleanup {self._location} removes it"
        warnings.warn(f"{self._location}: an upload may be left over: {advice}", PaipaWarning, 3)

    def __del__(self) -> None:
        """A sink that was opened and forgotten leaves nothing behind."""
        if getattr(self, "_open", False) and not sys.is_finalizing():
            apart(partial(self.abort, GeneratorExit()))


class StreamTarget:
    """An upload through smart_open, where its own words ask for that."""

    live = False
    cached = False

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location = location
        opened = partial(open_smart, location, "wb", options, clients)
        self._file: Any = told_as(OutputError, location, opened)

    def write(self, data: bytes | bytearray) -> None:
        """Add to the upload."""
        told_as(OutputError, self._location, partial(self._file.write, data))

    def commit(self) -> None:
        """Complete the upload."""
        told_as(OutputError, self._location, self._file.close)
        self._file = None

    def abort(self, cause: BaseException) -> None:
        """End the upload with nothing published."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # the cause is what the caller must see
                file.__exit__(type(cause), cause, cause.__traceback__)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            apart(partial(self.abort, GeneratorExit()))


def open_upload(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """The target for a URL; what cannot be written is found here, before anything is read."""
    writer = object_of(location, options, run.clients)
    if writer is not None:
        return UploadTarget(location, writer, clobber, run, options)
    if not clobber:
        words = ", ".join(sorted(options.transport_params))
        problem = f"clobber=False does not go with {words}"
        raise PlanError(f"{location}: {problem}", parameter="clobber")
    return StreamTarget(location, options, run.clients)


STORE = WriteStore(open_upload)
