"""Deliveries: what a stage has done and not handed on yet; in order, bounded, by one at a time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from paipa_etl.records.batch import Batch
from paipa_etl.runners.threaded.ticket import Ticket
from paipa_etl.threads.channel import Abandoned, Channel
from paipa_etl.threads.waiting import Line


class Delivery(NamedTuple):
    """What is to be handed on: batches and their bytes, the tickets that are over, what failed."""

    batches: list[tuple[Batch, int]]
    done: list[Ticket]
    failure: BaseException | None


class Deliveries:
    """Tickets in their order, and the results that wait in them for those before.

    All state is under the lock of the channel that the records come from.
    """

    def __init__(
        self,
        inlet: Channel[Batch],
        outlet: Channel[Batch],
        *,
        ordered: bool,
        max_items: int,
        max_bytes: int,
    ) -> None:
        self.inlet, self.outlet, self.ordered = inlet, outlet, ordered
        self._max_items, self._max_bytes = max_items, max_bytes
        self._held_items = self._held_bytes = 0
        self._tickets: deque[Ticket] = deque()
        """All that are out, in order; those that are complete, where there is none."""
        self._held_back = Line()
        self._delivering = self._ended = self.abandoned = False
        self.failed = False
        """Whether a record has failed, or nothing is wanted any more; then tickets are dropped."""
        self.failure: BaseException | None = None
        """What ends the stage: of several failures, the one that stands first."""

    def deliver(self) -> None:
        """Hand on, in order, what can be; waits for room in the next channel.

        One worker at a time delivers; the others leave it to that one.
        """
        delivery = self._begin_delivery()
        while delivery is not None:
            for batch, size in delivery.batches:
                self.outlet.put(batch, size, len(batch.indices))
            delivery = self._next_delivery(delivery)

    async def deliver_in_loop(self) -> None:
        """The same for a task."""
        delivery = self._begin_delivery()
        while delivery is not None:
            for batch, size in delivery.batches:
                await self.outlet.put_in_loop(batch, size, len(batch.indices))
            delivery = self._next_delivery(delivery)

    def _begin_delivery(self) -> Delivery | None:
        with self.inlet.lock:
            return self._first_delivery()

    def _next_delivery(self, before: Delivery) -> Delivery | None:
        with self.inlet.lock:
            following = self._following_delivery(before)
        self._tell_the_end(before, following)
        return following

    def _tell_the_end(self, before: Delivery, following: Delivery | None) -> None:
        if before.failure is not None:
            self.outlet.finish(before.failure)
        if following is None and self._ended:
            self.outlet.finish(self.failure)

    def end(self, failure: BaseException | None) -> None:
        """No worker is left; behind what is being handed on, the next channel comes to its end."""
        with self.inlet.lock:
            self._ended = True
            self.failure = failure if self.failure is None else self.failure
            if self._delivering:  # the watch does, and ends it afterwards
                return
        self.outlet.finish(self.failure)

    @property
    def is_full(self) -> bool:
        """Whether more results wait than should: no worker begins another batch then."""
        return self._held_items > self._max_items or self._held_bytes > self._max_bytes

    def hold_back(self, ticket: Ticket | None = None) -> None:
        """Wait while too many results wait, unless it is this ticket that they wait for.

        Raises ``Abandoned`` where nothing more of the ticket is wanted.
        """
        if self.is_full:
            self.inlet.until(self._held_back, lambda: self._may_go_on(ticket))

    async def hold_back_in_loop(self, ticket: Ticket | None = None) -> None:
        """The same for a task."""
        if self.is_full:
            await self.inlet.until_in_loop(self._held_back, lambda: self._may_go_on(ticket))

    def check_wanted(self, ticket: Ticket) -> None:
        """Raise ``Abandoned`` where nothing more of a ticket is wanted."""
        if self.failed:
            with self.inlet.lock:
                self._check_wanted(ticket)

    # What follows is called while the lock is held.

    def _first_delivery(self) -> Delivery | None:
        if self._delivering:
            return None
        delivery = self._deliverable()
        self._delivering = delivery is not None
        return delivery

    def _following_delivery(self, before: Delivery) -> Delivery | None:
        for batch, size in before.batches:
            self._held_items -= len(batch.indices)
            self._held_bytes -= size
        for ticket in before.done:
            self.inlet.make_room(ticket.count, ticket.size)
        if self._held_back.turns:
            self._held_back.wake_all()
        following = self._deliverable()
        self._delivering = following is not None
        return following

    def _may_go_on(self, ticket: Ticket | None) -> bool | None:
        if self.inlet.abandoned and not self.failed:
            raise Abandoned
        if ticket is not None:
            self._check_wanted(ticket)
        elif self.failed:
            return True  # the worker has no ticket, and finds the end of the records
        if not self.is_full:
            return True
        # While results are being handed on, those of this ticket would grow without bound.
        if ticket is None or self._delivering:
            return None
        return True if not self.ordered or self._tickets[0] is ticket else None

    def _check_wanted(self, ticket: Ticket) -> None:
        """After a failure only the tickets before it are wanted, which need an order."""
        if self.failed and (self.abandoned or not self.ordered or ticket not in self._tickets):
            raise Abandoned

    def _add(self, ticket: Ticket, batch: Batch, size: int) -> None:
        ticket.ready.append((batch, size))
        self._held_items += len(batch)
        self._held_bytes += size

    def _deliverable(self) -> Delivery | None:
        """What can be handed on now; None: nothing."""
        if not self._tickets:
            return None
        batches: list[tuple[Batch, int]] = []
        done: list[Ticket] = []
        failure: BaseException | None = None
        while self._tickets and failure is None:
            ticket = self._tickets[0]
            if ticket.ready:
                batches += ticket.ready
                ticket.ready = []
            if not ticket.done and self.ordered:
                break
            self._tickets.popleft()
            failure = ticket.failure
            if ticket.done and not ticket.over:  # in no order, it stands here once for each part
                ticket.over = True
                done.append(ticket)
        if not batches and not done:
            return None
        return Delivery(batches, done, failure)
