"""Threads: hand-over is bounded, every end wakes the other, and each ends with its run."""

from __future__ import annotations

import dis
import itertools
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from paipa_etl.threads.ahead import read_ahead
from paipa_etl.threads.behind import WriteBehind
from paipa_etl.threads.channel import Abandoned, Channel, Finished
from paipa_etl.threads.starting import surely
from paipa_etl.threads.stop import Stop
from paipa_etl.threads.waiting import Line, Turn


def started(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_channel_holds_its_limit_or_one_larger_item() -> None:
    channel: Channel[int | None] = Channel(10)
    held: list[int] = []
    most = 0

    def give() -> None:
        for size in (4, 4, 4, 50, 4, 6):
            channel.put(size, size)
            held.append(size)
        channel.put(None, 0)
        channel.finish()

    thread = started(give)
    taken = []
    for _ in range(7):
        taken.append(channel.get())
        most = max(most, channel._bytes)
    with pytest.raises(Finished):
        channel.get()
    thread.join()
    assert taken == [4, 4, 4, 50, 4, 6, None]
    assert most <= 50


def test_an_abandoned_channel_wakes_the_giver() -> None:
    channel: Channel[bytes] = Channel(1)
    outcome: list[str] = []

    def give() -> None:
        try:
            while True:
                channel.put(b"xx", 2)
        except Abandoned:
            outcome.append("abandoned")

    thread = started(give)
    channel.get()
    channel.abandon()
    thread.join(10)
    assert outcome == ["abandoned"]


def test_a_failure_comes_behind_the_last_item() -> None:
    channel: Channel[int] = Channel(10)
    channel.put(1, 1)
    channel.finish(KeyError("cause"))
    assert channel.get() == 1
    with pytest.raises(KeyError, match="cause"):
        channel.get()


def test_reading_ahead_closes_the_generator_in_the_thread_that_ran_it() -> None:
    threads: list[threading.Thread] = []

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            threads.append(threading.current_thread())

    ahead: Any = read_ahead(source(), len, stop := Stop(), Channel(1 << 20), stop.set)  # type: ignore[arg-type]
    next(ahead)
    ahead.close()
    assert [thread.name for thread in threads] == ["paipa-read-ahead"]
    assert not threads[0].is_alive()


def test_reading_ahead_raises_what_the_generator_raised() -> None:
    def source() -> Iterator[bytes]:
        yield b"1"
        raise ZeroDivisionError

    ahead = read_ahead(source(), len, stop := Stop(), Channel(1 << 20), stop.set)  # type: ignore[arg-type]
    assert next(ahead) == b"1"
    with pytest.raises(ZeroDivisionError):
        next(ahead)


class Full:
    def write(self, data: bytes) -> None:
        raise OSError("full")

    def pause(self) -> None: ...
    def finish(self) -> None: ...


def flood(behind: WriteBehind) -> None:
    for _ in range(1000):
        behind.write(b"x" * 100_000)


def test_writing_behind_raises_what_the_output_raised() -> None:
    behind = WriteBehind(Full(), Stop().set)
    with pytest.raises(OSError, match="full"):
        flood(behind)
    behind.abort()
    behind = WriteBehind(Full(), Stop().set)
    behind.write(b"x")
    with pytest.raises(OSError, match="full"):
        behind.finish()


@pytest.mark.parametrize("first", ["set", "fileno"])
def test_a_stop_wakes_a_wait_in_poll(first: str) -> None:
    stop = Stop()
    if first == "set":
        stop.set()
    descriptor = stop.fileno()
    stop.set()
    assert select.select([descriptor], [], [], 10)[0] == [descriptor]
    stop.close()


def test_a_stop_calls_what_waits_elsewhere() -> None:
    stop = Stop()
    reader, writer = os.pipe()
    with stop.waking(lambda: os.close(writer)):
        thread = started(stop.set)
        assert os.read(reader, 1) == b""
        thread.join()
    os.close(reader)


def test_an_output_that_was_made_and_never_used_has_no_thread() -> None:
    threads = threading.active_count()
    behind = WriteBehind(Full(), Stop().set)  # an interrupt right here leaves nobody to abort it
    assert threading.active_count() == threads
    behind.abort()


class Interrupt(BaseException):
    """Stands for what a signal's handler raises."""


def interrupted_at(at: int, work: Callable[[], object]) -> bool:
    """Do some work, interrupted where the interpreter looks for a signal for the nth time.

    It looks behind a call, at a function's beginning and at a loop's turn. False: it
    was not looked for so often.
    """
    looks = itertools.count()
    before: dict[FrameType, str] = {}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(("channel.py", "waiting.py", "threading.py")):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            last = before.get(frame, "")
            before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last.startswith(("CALL", "RESUME", "JUMP_BACKWARD")) and next(looks) == at:
                raise Interrupt
        return trace

    # Python 3.12 gives opcode events only if a frame asks for them before settrace is called.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def ended(work: Callable[[], object], waits: Line) -> threading.Thread:
    """A thread that works until its end of the channel ends, once it waits."""

    def until_the_end() -> None:
        with suppress(Finished, Abandoned):
            while True:
                work()

    thread = started(until_the_end)
    while not waits.turns:
        assert thread.is_alive()
    return thread


@pytest.mark.parametrize("end", ["put", "get", "abandon"])
def test_an_interrupt_at_any_moment_of_a_hand_over_leaves_nobody_waiting(end: str) -> None:
    for at in itertools.count():
        channel: Channel[int] = Channel(10)
        if end == "put":
            other = ended(channel.get, channel.takers)
            work: Callable[[], object] = lambda c=channel: c.put(1, 1)  # type: ignore[misc]  # noqa: E731
        else:
            other = ended(lambda c=channel: c.put(1, 6), channel._givers)  # type: ignore[misc]
            work = channel.get if end == "get" else lambda c=channel: surely(c.abandon)  # type: ignore[misc]
        interrupted = interrupted_at(at, work)
        if end != "abandon":
            channel.abandon()
        other.join(5)
        assert not other.is_alive(), f"the other end waits for ever behind look {at}"
        if not interrupted:
            break
    assert at > 3  # a channel that gives no look proves nothing


def test_a_waiter_that_is_interrupted_passes_its_turn_on() -> None:
    line = Line()
    first, second = Turn(), Turn()
    line.turns += [first, second]
    line.wake()
    assert first.wait(0)
    line.leave(first)  # woken, then interrupted
    assert second.wait(0)
    assert not line.turns
