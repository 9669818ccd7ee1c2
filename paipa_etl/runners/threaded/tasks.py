"""A step whose function is a coroutine function: its workers are tasks of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import Any

from paipa_etl.errors import never_stop
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.runners.threaded.reorder import Ticket
from paipa_etl.runners.threaded.stage import CallStage
from paipa_etl.steps.calls import retrying_in_loop
from paipa_etl.steps.expanding import CHUNK, in_parts
from paipa_etl.threads.channel import Abandoned, Finished
from paipa_etl.threads.stop import Stopped


class TaskStage(CallStage):
    """Tasks of the run's event loop that await a coroutine for each record, one at a time."""

    def prepare(self) -> None:
        """Have one thread start the tasks and wait for them."""
        self.group.add(self._work_in_loop, f"{self.count.name}-tasks", "starts the step's tasks")

    def _work_in_loop(self) -> None:
        try:
            self.group.run.loop.call(self._tasks())
        except (Abandoned, Stopped):
            self.cut_off()
            self.outlet.finish(self._failure)
        except BaseException as error:  # there is no loop for the tasks
            self.ended_by(error)
            self.outlet.finish(error)

    async def _tasks(self) -> None:
        parts = [self.count.part() for _ in range(self.workers.count)]
        await asyncio.gather(*map(self._task, parts))

    async def _task(self, part: StepCount) -> None:
        run = self.group.run.branch()
        try:
            with run.resources.lent(self.step.function, self.count) as lent:
                called = self.step.at_once_in_loop(lent, run.stops.run)
                function = retrying_in_loop(called, self.step.retry, run, part)
                await self._serve(function, run, part)
        except Finished:
            pass
        except (Abandoned, Stopped):
            self.cut_off()
        except asyncio.CancelledError:
            self.cut_off()
            raise
        except BaseException as error:
            self.ended_by(error)
        finally:
            self.leave()

    async def _serve(
        self, function: Callable[[Any], Awaitable[Any]], run: Run, part: StepCount
    ) -> None:
        told = run.observer.worker(self.count)
        while True:
            ticket = await self.buffer.take_in_loop()
            run.cursor.follow(partial(self.in_flight, ticket))
            began = perf_counter()
            try:
                await self._await_result(function, ticket, run, part)
            except (Abandoned, Stopped):
                raise
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                self.fail(ticket, error, run)
                await self.buffer.deliver_in_loop()
                return
            told(perf_counter() - began, ticket.count)
            part.entered += ticket.count
            await self.buffer.deliver_in_loop()
            await self.buffer.hold_back_in_loop()

    async def _await_result(
        self,
        function: Callable[[Any], Awaitable[Any]],
        ticket: Ticket,
        run: Run,
        part: StepCount,
    ) -> None:
        try:
            record = next(ticket.records)
            result = await function(record)
            if self.step.expands:
                ticket.results.append(await self._last_items(ticket, result))
            else:
                ticket.results.append(self.step.call(lambda _: result, part)(record))
        except Exception as error:
            self.decide(never_stop(error, part.name), ticket, run, part)
        self.buffer.finish(ticket)

    async def _last_items(self, ticket: Ticket, items: Iterable[Any]) -> list[Any]:
        """The last items of a record; where there are many, the others are handed on before."""
        last: list[Any] = []
        with closing(in_parts(items)) as parts:
            for following in parts:
                self.buffer.check_wanted(ticket)
                if len(last) + len(following) > CHUNK:
                    await self._give_items_in_loop(ticket, last)
                    last = following
                else:
                    last += following
                await asyncio.sleep(0)  # other tasks go on, however fast the items come
        return last

    async def _give_items_in_loop(self, ticket: Ticket, records: list[Any]) -> None:
        self.count.expanded += len(records)
        self.buffer.part(ticket, records)
        await self.buffer.deliver_in_loop()
        await self.buffer.hold_back_in_loop(ticket)


def _is_cancelled() -> bool:
    """Whether this task was; where only what it awaits was, that is a failure of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
