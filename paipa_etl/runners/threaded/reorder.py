"""ReorderBuffer: what the workers of a stage have taken and not handed on yet, in its order.

A worker takes a **ticket**: a batch, and its place in the order. It leaves the results in the
ticket. Whoever completes the first ticket hands on all that are complete. Results wait for those
before them; the buffer is bounded, and holds workers back instead of growing.

All state is under the lock of the channel that the records come from: to take a batch and to
have its place in the order are one thing. Nothing here starts a thread or calls code of the
user's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from operator import length_hint
from typing import Any, NamedTuple

from paipa_etl.failures import InFlight
from paipa_etl.records.batch import Batch
from paipa_etl.records.channel import BatchChannel
from paipa_etl.threads.channel import Abandoned, Finished
from paipa_etl.threads.waiting import Line

Collect = Callable[[Batch, list[Any], bool], Batch]
"""From records, and one result for each, to the batch that goes on; some may be gaps."""


class Ticket:
    """A batch that one worker has taken, and its place in the order.

    ``records`` hands each record out once, whoever asks: the worker, or the watch that
    takes back what the worker has not begun. Each record begun has one entry in
    ``results`` when it is done, so the next one in flight is known by their number.
    """

    __slots__ = (
        "batch",
        "collected",
        "count",
        "done",
        "failure",
        "gaps",
        "over",
        "ready",
        "records",
        "results",
        "seen",
        "size",
        "stopped",
        "waited",
    )

    def __init__(self, batch: Batch, count: int, size: int) -> None:
        self.batch, self.count, self.size = batch, count, size
        self.records: Iterator[Any] = iter(batch.records or ())
        self.results: list[Any] = []
        self.collected = 0
        """How many records' results have left ``results`` already."""
        self.ready: list[tuple[Batch, int]] = []
        """What waits to be handed on, and its bytes."""
        self.gaps = False
        """Whether some of the results stand for a record that is gone."""
        self.done = self.over = False
        self.stopped = False
        """Whether the record in flight raised ``StopIteration``."""
        self.waited = 0.0
        """Seconds of its time that were waits for those who take what it gives."""
        self.failure: BaseException | None = None
        self.seen = -1
        """How many records the watch saw unbegun when it last looked."""

    def in_flight(self) -> InFlight:
        """Where the record in flight came from."""
        return self.batch.at(self.collected + len(self.results))


class Delivery(NamedTuple):
    """What is to be handed on: batches and their bytes, the tickets that are over, what failed."""

    batches: list[tuple[Batch, int]]
    done: list[Ticket]
    failure: BaseException | None


class ReorderBuffer:
    """The order of a stage, between the channel it takes from and the one it gives to.

    Holds at most ``max_items`` records and ``max_bytes`` bytes of results, and those of the
    tickets that workers have in hand.
    """

    def __init__(
        self,
        inlet: BatchChannel,
        outlet: BatchChannel,
        collect: Collect,
        *,
        ordered: bool,
        max_items: int,
        max_bytes: int,
    ) -> None:
        self.inlet, self.outlet, self.ordered = inlet, outlet, ordered
        self._collect = collect
        self._max_items, self._max_bytes = max_items, max_bytes
        self._held_items = self._held_bytes = 0
        self._tickets: deque[Ticket] = deque()
        """All that are out, in order; those that are complete, where there is none."""
        self._returned: deque[Ticket] = deque()
        """Records that a worker had taken and not begun, for whoever is idle."""
        self.shared: set[Ticket] = set()
        """Tickets of several records, of which some may be taken back."""
        self._held_back = Line()
        self._delivering = self._ended = self.abandoned = False
        self.failed = False
        """Whether a record has failed, or nothing is wanted any more; then tickets are dropped."""
        self.failure: BaseException | None = None
        """What ends the stage: of several failures, the one that stands first."""

    # Taking records, and handing results in.

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
                self.outlet.put_batch(batch, size)
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

    # Handing results on.

    def deliver(self) -> None:
        """Hand on, in order, what can be; waits for room in the next channel.

        One worker at a time delivers; the others leave it to that one.
        """
        delivery = self._begin_delivery()
        while delivery is not None:
            for batch, size in delivery.batches:
                self.outlet.put_batch(batch, size)
            delivery = self._next_delivery(delivery)

    async def deliver_in_loop(self) -> None:
        """The same for a task."""
        delivery = self._begin_delivery()
        while delivery is not None:
            for batch, size in delivery.batches:
                await self.outlet.put_batch_in_loop(batch, size)
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
