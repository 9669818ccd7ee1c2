"""Window: what the workers of a stage have taken and not handed on yet, in its order.

Every state change stands under the lock of the channel that the records come from: to
take a batch and to have its place in the order are one thing. Results wait in the window
for those before them; it is bounded, and holds workers back instead of growing. Starts
no thread and calls no code of the user's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from operator import length_hint
from typing import Any

from paipa_etl.records.batch import Batch
from paipa_etl.runners.threaded.delivery import Deliveries
from paipa_etl.runners.threaded.ticket import Ticket
from paipa_etl.threads.channel import Channel, Finished

Collect = Callable[[Batch, list[Any], bool], Batch]
"""From records, and one result for each, to the batch that goes on; some may be gaps."""


class Window(Deliveries):
    """The order of a stage, between the channel it takes from and the one it gives to."""

    def __init__(
        self,
        inlet: Channel[Batch],
        outlet: Channel[Batch],
        collect: Collect,
        *,
        ordered: bool,
        max_items: int,
        max_bytes: int,
    ) -> None:
        super().__init__(inlet, outlet, ordered=ordered, max_items=max_items, max_bytes=max_bytes)
        self._collect = collect
        self._returned: deque[Ticket] = deque()
        """Records that a worker had taken and not begun, for whoever is idle."""
        self.shared: set[Ticket] = set()
        """Tickets of several records, of which some may be taken back."""

    def take(self, most: int) -> Ticket:
        """Take up to so many records; raises what the channel's ``take`` raises."""
        with self.inlet.lock:
            ticket = self._try_take(most)
        if ticket is not None:
            return ticket
        return self.inlet.until(self.inlet.takers, lambda: self._try_take(most))

    async def take_in_loop(self) -> Ticket:
        """The same for a task, one record at a time."""
        with self.inlet.lock:
            ticket = self._try_take(1)
        if ticket is not None:
            return ticket
        return await self.inlet.until_in_loop(self.inlet.takers, lambda: self._try_take(1))

    def _try_take(self, most: int) -> Ticket | None:
        if self._returned:
            return self._take_returned()
        if self.failed:
            raise Finished
        try:
            parcel = self.inlet.try_take(most)
        except Finished:
            if self.shared:
                return None  # a worker that is held up may have some left for this one
            raise
        if parcel is None:
            return None
        ticket = Ticket(*parcel)
        if self.ordered:
            self._tickets.append(ticket)
        if parcel.weight > 1:
            self.shared.add(ticket)
        return ticket

    def _take_returned(self) -> Ticket:
        """One record of those that were taken back, for its worker may be held up by it as well."""
        ticket = self._returned.popleft()
        if ticket.count > 1:
            rest = self._cut(ticket, list(islice(ticket.records, 1, None)))
            ticket.records = iter((ticket.batch.records or [])[:1])
            self._returned.appendleft(rest)
            if self.inlet.takers.turns:
                self.inlet.takers.wake()
        return ticket

    def finish(self, ticket: Ticket) -> bool:
        """All of the ticket's records are done; false where one has no result.

        Then its function raised ``StopIteration``, which ended the loop over them unseen.
        """
        with self.inlet.lock:
            return self._finish(ticket)

    def _finish(self, ticket: Ticket) -> bool:
        if ticket.collected + len(ticket.results) < ticket.count:
            return False
        self._collect_results(ticket)
        self._complete(ticket)
        return True

    def exchange(self, ticket: Ticket, most: int) -> Ticket | None:
        """``finish`` a ticket, ``deliver`` and ``take`` the next; None where a result is missing.

        The same as one after the other, in fewer turns at the lock, for which many workers
        wait when each has one record.
        """
        following: Ticket | None = None
        with self.inlet.lock:
            if not self._finish(ticket):
                return None
            delivery = self._first_delivery()
            if delivery is None:
                following = self._take_if_room(most)
        while delivery is not None:
            before = delivery
            for batch, size in before.batches:
                self.outlet.put(batch, size, len(batch.indices))
            with self.inlet.lock:
                delivery = self._following_delivery(before)
                if delivery is None and before.failure is None and not self._ended:
                    following = self._take_if_room(most)
            self._tell_the_end(before, delivery)
        if following is None:
            self.hold_back()
            following = self.take(most)
        return following

    def _take_if_room(self, most: int) -> Ticket | None:
        return None if self.is_full else self._try_take(most)

    def fail(self, ticket: Ticket, error: BaseException) -> None:
        """The record in flight ends the stage: those before it still go on, none behind it."""
        with self.inlet.lock:
            self._collect_results(ticket)
            ticket.failure = error
            self.failed = True
            if not self.ordered:
                self.failure = error if self.failure is None else self.failure
            elif ticket in self._tickets:
                self.failure = error
                while self._tickets[-1] is not ticket:
                    self._tickets.pop()
            self._returned = deque(t for t in self._returned if t in self._tickets)
            self._complete(ticket)
            self._held_back.wake_all()
        self.inlet.abandon()

    def part(self, ticket: Ticket, records: list[Any]) -> None:
        """Some of what the record in flight gives, while there is more to come of it.

        Raises ``Abandoned`` where nothing more of it is wanted.
        """
        self.check_wanted(ticket)
        index = ticket.batch.indices[ticket.collected + len(ticket.results)]
        made = ticket.batch.made(records, [index] * len(records))
        size = made.size
        with self.inlet.lock:
            self._collect_results(ticket)
            self._add(ticket, made, size)
            if not self.ordered:
                self._tickets.append(ticket)

    def append(self, batch: Batch) -> None:
        """What a worker gives for no record, behind all that are out."""
        ticket = Ticket(batch, 0, 0)
        with self.inlet.lock:
            if self.ordered:
                self._tickets.append(ticket)
            self._add(ticket, batch, batch.size)
            self._complete(ticket)

    def give_back(self, ticket: Ticket) -> None:
        """The worker ends: what it has not begun is for the others."""
        with self.inlet.lock:
            self._take_back(ticket)

    def abandon(self) -> None:
        """Nothing of it is wanted any more: wake everybody."""
        self.inlet.abandon()
        with self.inlet.lock:
            self.failed = self.abandoned = True
            self._returned.clear()
            self._held_back.wake_all()

    def rescue(self) -> bool:
        """Take from workers that stand still what they have done, and what they have not begun.

        Called from time to time: a worker whose record in flight is the one of last time
        is held up by it, and idle siblings could take the rest. True: there is something
        to deliver.
        """
        found = False
        with self.inlet.lock:
            for ticket in list(self.shared):
                unbegun = length_hint(ticket.records)
                if unbegun != ticket.seen:
                    ticket.seen = unbegun
                    continue
                if ticket.results and self.outlet.takers.turns:
                    self._collect_results(ticket)
                    found = True
                    if not self.ordered:
                        self._tickets.append(ticket)
                if unbegun and self.inlet.takers.turns:
                    self._take_back(ticket)
        return found

    # What follows is called while the lock is held.

    def _collect_results(self, ticket: Ticket) -> None:
        """Make a batch of the results so far. The worker may add more at any moment."""
        count = len(ticket.results)
        results = ticket.results[:count]
        del ticket.results[:count]
        start = ticket.collected
        ticket.collected += count
        whole = not start and count == len(ticket.batch)
        part = ticket.batch if whole else ticket.batch.part(start, start + count)
        made = self._collect(part, results, ticket.gaps)
        if len(made):
            self._add(ticket, made, made.size)

    def _complete(self, ticket: Ticket) -> None:
        ticket.done = True
        self.shared.discard(ticket)
        if not self.shared and self.inlet.is_empty:
            self.inlet.takers.wake_all()
        if not self.ordered:
            self._tickets.append(ticket)

    def _take_back(self, ticket: Ticket) -> None:
        """Put what the worker has not begun behind it in the order, for others to take."""
        rest = list(ticket.records)  # none of them can be had twice, not even at this moment
        if not rest:
            return
        self._returned.append(self._cut(ticket, rest))
        self.inlet.takers.wake()

    def _cut(self, ticket: Ticket, rest: list[Any]) -> Ticket:
        """The last records of a ticket as one of their own, behind it."""
        kept = ticket.count - len(rest)
        share = ticket.size * kept // ticket.count
        behind = Ticket(ticket.batch.part(kept), len(rest), ticket.size - share)
        if self.ordered:
            self._tickets.insert(self._tickets.index(ticket) + 1, behind)
        ticket.count, ticket.size = kept, share
        return behind
