"""Attempts: a store's requests, made again where that may help; what is said when it does not."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import NoReturn, TypeVar

from paipa_etl.errors import (
    InputError,
    InputUnavailable,
    OutputError,
    OutputUnavailable,
)
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.run.retries import LONGEST
from paipa_etl.stores import StoreOptions, exists_already
from paipa_etl.stores.pace import RATE, Pace, Watch
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.waking import waker
from paipa_etl.threads.stop import Stop, Stopped

T = TypeVar("T")
REFUSED = 2  # further attempts where nobody has listened yet, and nobody said how many
Kind = type[InputError] | type[OutputError]
UNAVAILABLE: dict[Kind, Kind] = {InputError: InputUnavailable, OutputError: OutputUnavailable}


class Attempts:
    """How often one request has failed; waits before it is made again, or gives up.

    Used by one thread. A stop ends the waits for the network and those between attempts.
    ``clients`` are the run's, whose requests know together which stores have answered.
    """

    def __init__(
        self, location: Location, options: StoreOptions, clients: Clients, stop: Stop, kind: Kind
    ) -> None:
        self._location, self._stop, self._kind = location, stop, kind
        self._retry, self._told = options.retry(), "retries" in options.transport_params
        store = tuple(location.target.split("/", 3)[:3])  # "s3:", "", and the bucket
        self._answered = clients.get(("answered", store), Event, id)
        self.pace: Pace = clients.get(
            ("watch", options.timeout), lambda: Watch(options.timeout), Watch.close
        ).pace()
        self._failed = self._brought = 0

    def call(self, action: Callable[[], T], cut: Stop | None = None) -> T:
        """What a request gives, made as often as it takes; raises ours when it is given up.

        The stop ends a request in progress, too; with ``cut`` only that one does, and the stop
        prevents further attempts.
        """
        with (cut or self._stop).waking(waker()):
            while True:
                self.go_on()
                try:
                    found = self.pace.request(action)
                except StoreFailure as error:
                    failure = error
                else:
                    self._answered.set()
                    return found
                self.failed(failure)

    def go_on(self) -> None:
        """Raises ``Stopped`` where the run has ended."""
        if self._stop.is_set:
            raise Stopped

    def progressed(self, count: int) -> None:
        """So many bytes came."""
        self._brought += count
        self._answered.set()

    def failed(self, failure: StoreFailure) -> None:
        """Wait before the next attempt; raises ours where there is none."""
        self.go_on()
        # Bytes at the least pace are progress, and what fails then fails for the first time. An
        # attempt that brought fewer counts: a byte with each would hold the run for ever.
        if self._brought and self._brought >= RATE * self.pace.seconds:
            self._failed = 0
        self._failed += 1
        if failure.kind != "refused":
            self._answered.set()
        # Nobody has ever listened: that is seldom for a moment, and mostly a mistyped name.
        hopeless = self._failed > REFUSED and not (self._told or self._answered.is_set())
        may = failure.retryable and not hopeless
        seconds = self._retry.delay(failure, self._failed) if may else None
        if seconds is None:
            self.give_up(failure)
        seconds = max(seconds, min(failure.after or 0, LONGEST))
        self._stop.wait(seconds)
        self._brought, self.pace.seconds = 0, seconds  # that it waited is part of the next one

    def give_up(self, failure: StoreFailure) -> NoReturn:
        """Raise ours: it names the location, and says whether another run may do better."""
        raise ours(self._location, failure, self._kind, self._failed) from None


def ours(location: Location, failure: StoreFailure, kind: Kind, failed: int = 1) -> Exception:
    """The error of our own for what a store could not do."""
    times = f" (given up after {failed} attempts)" if failure.retryable and failed > 1 else ""
    if failure.kind == "exists":
        return exists_already(location)
    raised = UNAVAILABLE[kind] if failure.retryable else kind
    return raised(f"{location}: {failure}{times}")
