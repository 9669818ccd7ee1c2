"""The cyclic collector: whatever it drops, whenever it runs, it waits for no thread and no lock."""

from __future__ import annotations

import gc
import gzip
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_exit import HALF, SHAPES, ran

from paipa_etl import Feed, Pipeline, per_worker, read, steps
from paipa_etl.threads import collector
from paipa_etl.threads.collector import CleanupStack, apart, is_collecting

WITHIN = 20.0  # seconds after which something hangs


class Dropped:
    """Calls something when the collector drops it: it is in a cycle."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.me, self.action = self, action

    def __del__(self) -> None:
        self.action()


def test_a_cleanup_is_called_at_once_outside_of_a_collection() -> None:
    called: list[threading.Thread] = []
    list(Pipeline([1], steps.map(abs, workers=1)))  # the closing thread is there
    apart(lambda: called.append(threading.current_thread()))
    assert called == [threading.current_thread()]


def test_a_cleanup_is_called_by_another_thread_in_a_collection() -> None:
    list(Pipeline([1], steps.map(abs, workers=1)))
    called, done, seen = [], threading.Event(), []

    def clean_up() -> None:
        called.append(threading.current_thread())
        done.set()

    def drop() -> None:
        seen.append(is_collecting())
        apart(clean_up)

    Dropped(drop)
    gc.collect()
    assert done.wait(WITHIN)
    assert seen == [True]
    assert not is_collecting()
    assert called != [threading.current_thread()]


def test_cleanups_go_on_behind_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    list(Pipeline([1], steps.map(abs, workers=1)))
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    done = threading.Event()
    Dropped(lambda: apart(lambda: 1 / 0))
    Dropped(lambda: apart(done.set))
    gc.collect()
    assert done.wait(WITHIN)
    gc.collect()
    assert [one.exc_type for one in told] == [ZeroDivisionError]


# The lock that the thread holds in which the collector runs.
HELD = (
    """
import gc
gc.disable()
"""
    + SHAPES
    + """
def half():
    return [%s]
def left():
    names = {thread.name for thread in threading.enumerate()} - {'paipa-janitor'}
    return {name for name in names if name.startswith('paipa-')}
fifo = os.open('fifo', os.O_RDWR)
class Nothing:
    def __enter__(self): pass
    def __exit__(self, *words): pass
names = ['_active_limbo_lock', '_shutdown_locks_lock']
locks = [getattr(threading, name) for name in names if hasattr(threading, name)]
for lock in (Nothing(), *locks):
    os.write(fifo, b'1\\n')
    cycle()
    with lock:
        gc.collect()
    deadline = time.monotonic() + 20
    while left() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not left(), left()
"""
)


@pytest.mark.parametrize("shape", HALF)
def test_what_is_dropped_ends_while_the_collecting_thread_holds_a_lock(
    tmp_path: Path, shape: str
) -> None:
    """One of those that starting and ending a thread need: the collector may come in between."""
    records = b"".join(b"%d\n" % n for n in range(500_000))
    (tmp_path / "in.jsonl").write_bytes(records)
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(records, 1))
    os.mkfifo(tmp_path / "fifo")
    done = ran(tmp_path, HELD % HALF[shape], None)
    assert (done.returncode, done.stderr) == (0, "")


STARTING = """
import gc
gc.set_threshold(101, 2, 2)
""" + SHAPES + """
def half():
    return [%s]
def start():
    for _ in range(200):
        threads = [threading.Thread(target=list, args=(range(3),)) for _ in range(5)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
starting = threading.Thread(target=start)
starting.start()
while starting.is_alive():
    cycle()
gc.collect()
"""  # fmt: skip


@pytest.mark.parametrize(
    "shape", ["read ahead", "several inputs", "a coroutine", "calls", "threads among generators"]
)
def test_what_is_dropped_while_threads_start_ends(tmp_path: Path, shape: str) -> None:
    records = b"".join(b"%d\n" % n for n in range(500_000))
    (tmp_path / "in.jsonl").write_bytes(records)
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(records, 1))
    done = ran(tmp_path, STARTING % HALF[shape], None)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("workers", [None, 2])
def test_a_feed_is_ended_while_its_lock_is_held(workers: int | None) -> None:
    """By the thread that puts into it, which makes objects meanwhile: the collector comes then."""
    feed = Feed()
    feed.put(1)

    def drop() -> None:
        flow = iter(Pipeline(feed, [steps.map(abs, workers=workers)]))
        assert next(flow) == 1
        kept: list[Any] = [flow]
        kept.append(kept)

    drop()
    with feed._channel.lock:
        gc.collect()
    deadline = time.monotonic() + WITHIN
    while not feed._channel.abandoned and time.monotonic() < deadline:
        time.sleep(0.005)
    assert feed._channel.abandoned


@pytest.mark.parametrize("workers", [None, 2])
def test_resources_of_what_is_dropped_are_released(workers: int | None) -> None:
    """Whatever releasing them takes: locks, threads that are to be joined."""
    released, held = threading.Event(), threading.Lock()

    class Thing:
        def __enter__(self) -> Thing:
            return self

        def __exit__(self, *words: object) -> None:
            with held:
                released.set()

    def use(n: int, *, thing: Thing) -> int:
        return n

    def drop() -> None:
        made = [steps.map(abs, workers=1), steps.map(use, workers=workers)]
        flow = iter(Pipeline(iter(range(10)), made, resources={"thing": per_worker(Thing)}))
        next(flow)
        kept: list[Any] = [flow]
        kept.append(kept)

    drop()
    with held:
        gc.collect()
    assert released.wait(WITHIN)


def test_an_iterator_that_is_just_dropped_is_closed_before_anything_else(tmp_path: Path) -> None:
    """Not by the collector: its threads have ended when the next line is reached."""
    (tmp_path / "in.jsonl").write_text("1\n" * 500_000)

    async def awaited(n: int) -> int:
        return n

    made: list[Callable[[], Any]] = [
        lambda: iter(read(tmp_path / "in.jsonl", read_ahead=True)),
        lambda: iter(Pipeline(range(1000), [steps.map(abs, workers=4)])),
        lambda: iter(Pipeline(range(1000), [steps.map(awaited)])),
    ]
    for make in made:
        threads = {t for t in threading.enumerate() if t.name != "paipa-janitor"}
        for _ in range(20):
            flow = make()
            next(flow)
            del flow
            assert {t for t in threading.enumerate() if t.name != "paipa-janitor"} == threads


@pytest.mark.parametrize("phase", ["start", "stop"])
def test_an_interrupt_in_the_note_of_a_collection_does_not_hide_it(
    phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that raised there made a collection that ended go on for ever, as it seemed.

    Cleanups waited for the next collection then, and without a closing thread a stack called
    itself until the recursion was too deep (seen once in fifty interrupts).
    """
    lost: list[Any] = []
    seen: list[bool] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))

    def raise_once(frame: Any, event: str, argument: Any) -> None:
        is_note = frame.f_code.co_name == "_note_collection"
        if is_note and not lost and frame.f_locals["phase"] == phase:
            raise KeyboardInterrupt

    Dropped(lambda: seen.append(is_collecting()))
    before = sys.gettrace()
    sys.settrace(raise_once)
    try:
        gc.collect()
    finally:
        sys.settrace(before)
    assert lost == [KeyboardInterrupt]
    assert seen == [True]
    assert not is_collecting()


def test_a_stack_in_a_collection_without_a_closing_thread_is_closed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(collector, "_served", False)

    def leave() -> None:
        with CleanupStack() as stack:
            stack.callback(closed.append, 1)

    Dropped(leave)
    gc.collect()
    assert closed == [1]
