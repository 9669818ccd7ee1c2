"""Live sources and runs in the background: bounded, ended in order, no failure swallowed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paipa_etl import Feed, FeedClosed, Pipeline, PlanError, steps
from paipa_etl.threads.stop import Stopped

WORKERS = [None, 3]


def plan(workers: int | None) -> list[Any]:
    return [steps.map(lambda n: n * 2, workers=workers)]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is so; a hang guard, not a measurement."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_feed_is_read_while_it_is_put_into(workers: int | None) -> None:
    feed, out = Feed(), list[int]()
    with Pipeline(feed, plan(workers), out).start() as run:
        for n in range(3000):
            feed.put(n)
        assert run.alive
    assert out == [n * 2 for n in range(3000)]
    assert run.report.balanced
    assert not run.alive


def test_what_is_put_before_the_run_and_finished_is_all_read() -> None:
    feed = Feed()
    feed.put_all(range(10))
    feed.finish()
    assert list(Pipeline(feed, plan(2))) == [n * 2 for n in range(10)]


@pytest.mark.parametrize(
    ("words", "record", "most"), [({"limit": 5}, 0, 5), ({"max_bytes": 50}, b"x" * 10, 5)]
)
def test_put_waits_when_the_feed_is_full(words: dict[str, Any], record: Any, most: int) -> None:
    feed, pulled = Feed(**words), list[int]()

    def many() -> Iterator[Any]:
        for n in range(most + 20):
            pulled.append(n)
            yield record

    thread = threading.Thread(target=lambda: (feed.put_all(many()), feed.finish()))
    thread.start()
    wait_for(lambda: len(pulled) > most)
    time.sleep(0.05)
    assert len(pulled) == most + 1  # lazily: the one that waits for room, and no other
    assert len(list(Pipeline(feed))) == most + 20
    thread.join()


def test_many_threads_may_put() -> None:
    feed = Feed(limit=7)
    threads = [threading.Thread(target=feed.put_all, args=(range(k, 4000, 4),)) for k in range(4)]
    for thread in threads:
        thread.start()
    with Pipeline(feed, plan(3), out := []).start():
        for thread in threads:
            thread.join()
    assert sorted(out) == [n * 2 for n in range(4000)]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("how", ["limit", "failure", "finish", "never begun"])
def test_whoever_puts_is_told_of_the_end(tmp_path: Path, workers: int | None, how: str) -> None:
    def fail(n: int) -> int:
        raise KeyError(n)

    made = {
        "failure": [steps.map(fail, workers=workers)],
        "limit": [*plan(workers), steps.limit(3)],
    }
    sink = tmp_path / "no" / "out.jsonl" if how == "never begun" else tmp_path / "out.jsonl"
    feed = Feed(limit=4)
    run = Pipeline(feed, made.get(how, plan(workers)), sink).start()
    if how == "finish":
        feed.finish()
    with pytest.raises(FeedClosed, match="takes no more records"):
        feed.put_all(range(10**6))
    if how in ("failure", "never begun"):
        with pytest.raises(Exception, match=r"0|does not exist"):
            run.wait()
    else:
        run.wait()


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("begun", [False, True])
def test_what_was_put_before_a_stop_is_carried_through(workers: int | None, begun: bool) -> None:
    for _ in range(20):
        feed, out = Feed(), list[int]()
        with Pipeline(feed, plan(workers), out).start() as run:
            feed.put_all(range(100))
            if begun:
                wait_for(lambda: run.report.read)
            run.stop()
            with pytest.raises(FeedClosed):
                feed.put(1)
        assert out == [n * 2 for n in range(100)]
        assert (run.report.read, run.report.written, run.report.left_over) == (100, 100, 0)


@pytest.mark.parametrize("workers", WORKERS)
def test_every_put_that_was_accepted_before_a_stop_is_written(workers: int | None) -> None:
    feed, accepted = Feed(limit=8), list[int]()

    def numbers() -> Iterator[int]:
        for n in range(10**6):
            yield n
            accepted.append(n)  # it was put: the next one is asked for

    def put() -> None:
        with pytest.raises(FeedClosed):
            feed.put_all(numbers())

    thread = threading.Thread(target=put)
    with Pipeline(feed, plan(workers), out := []).start() as run:
        thread.start()
        wait_for(lambda: len(accepted) > 1000)
        run.stop()
        thread.join()
    assert out == [n * 2 for n in accepted]
    assert run.report.balanced


@pytest.mark.parametrize("workers", WORKERS)
def test_a_put_that_waits_for_room_is_told_of_a_stop(workers: int | None) -> None:
    feed, go_on, refused = Feed(limit=2), threading.Event(), threading.Event()

    def put() -> None:
        with pytest.raises(FeedClosed):
            feed.put_all(range(100))
        refused.set()

    def wait(n: int) -> int:
        go_on.wait(20)
        return n

    thread = threading.Thread(target=put)
    held = [steps.map(wait, workers=workers and 1, queue=1)] if workers else [steps.map(wait)]
    with Pipeline(feed, held, out := []).start() as run:
        thread.start()
        wait_for(lambda: feed._channel.statistics().items == 2 and feed._channel._givers.turns)
        run.stop()
        assert refused.wait(20), "while the steps are held up"
        go_on.set()
        thread.join()
    assert out == list(range(run.report.read))
    assert run.report.written == run.report.read >= 2


def test_a_feed_is_read_once() -> None:
    feed = Feed()
    feed.finish()
    assert list(Pipeline(feed)) == []
    with pytest.raises(PlanError, match="only once"):
        list(Pipeline(feed))


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", [queue.Queue, queue.PriorityQueue, queue.LifoQueue])
def test_any_queue_is_a_source(workers: int | None, kind: type[queue.Queue[int]]) -> None:
    waiting = kind()
    for n in range(5):
        waiting.put(n)
    with Pipeline(waiting, plan(workers), out := []).start():
        waiting.join()  # what was taken is told to be done
    assert sorted(out) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_queue_that_stays_empty_can_be_stopped_and_run_again(workers: int | None) -> None:
    waiting: queue.Queue[int] = queue.Queue(maxsize=2)
    pipeline = Pipeline(waiting, plan(workers), out := [])
    for expected in ([2], [2, 4]):
        run = pipeline.start()
        waiting.put(len(expected))
        waiting.join()
        run.stop()
        run.wait()
        assert out == expected


def test_a_simple_queue_is_refused() -> None:
    with pytest.raises(PlanError, match="Feed"):
        Pipeline(queue.SimpleQueue())


@pytest.mark.parametrize("workers", WORKERS)
def test_iterables_of_iterables_are_pulled_lazily(workers: int | None) -> None:
    pulled: list[int] = []

    def pages() -> Iterator[Iterator[int]]:
        for page in range(100):
            pulled.append(page)
            yield iter(range(page * 10, page * 10 + 10))

    made = [steps.flatten(), *plan(workers), steps.limit(15)]
    assert list(Pipeline(pages, made)) == [n * 2 for n in range(15)]
    assert workers or len(pulled) == 2


@pytest.mark.parametrize("workers", WORKERS)
def test_an_endless_source_runs_until_it_is_stopped(tmp_path: Path, workers: int | None) -> None:
    def endless() -> Iterator[int]:
        n = 0
        while True:
            yield n
            n += 1

    target = tmp_path / "out.jsonl"
    run = Pipeline(endless, plan(workers), target).start()
    wait_for(lambda: run.report.written > 1000)
    with pytest.raises(TimeoutError):
        run.wait(0.01)
    run.stop()
    report = run.wait()
    numbers = [int(line) for line in target.read_text().splitlines()]
    assert numbers == [n * 2 for n in range(report.written)]
    assert report.balanced


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_in_the_block_aborts_and_stays_itself(
    tmp_path: Path, workers: int | None
) -> None:
    target, feed = tmp_path / "out.jsonl", Feed()
    target.write_text("old")
    run = Pipeline(feed, plan(workers), target).start()

    def block() -> None:
        with run:
            feed.put(1)
            raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        block()
    assert not hasattr(caught.value, "__notes__")
    assert not run.alive
    assert target.read_text() == "old"


@pytest.mark.parametrize("workers", WORKERS)
def test_a_failure_in_the_background_is_never_swallowed(workers: int | None) -> None:
    failing = Pipeline([0], [steps.map(lambda n: 1 // n, workers=workers)], [])
    with pytest.raises(ZeroDivisionError) as caught, failing.start():
        pass
    assert "record 1" in caught.value.__notes__[0]
    run = failing.start()
    with pytest.raises(ZeroDivisionError):
        run.wait()

    def block() -> None:
        with failing.start() as run:
            wait_for(lambda: not run.alive)
            raise KeyError("mine")

    with pytest.raises(KeyError) as both:
        block()
    assert "ZeroDivisionError" in both.value.__notes__[0]


@pytest.mark.parametrize("workers", WORKERS)
def test_an_abort_publishes_nothing(tmp_path: Path, workers: int | None) -> None:
    target, feed = tmp_path / "out.jsonl", Feed()
    run = Pipeline(feed, plan(workers), target).start()
    feed.put(1)
    wait_for(lambda: run.report.read)
    run.abort()
    with pytest.raises(Stopped):
        run.wait()
    assert not target.exists()


@pytest.mark.parametrize("workers", WORKERS)
def test_a_pipeline_runs_again_after_a_failure(workers: int | None) -> None:
    failing = [True]

    def fail(n: int) -> int:
        if failing[0]:
            raise KeyError(n)
        return n

    pipeline = Pipeline(range(5), [steps.map(fail, workers=workers)], out := [])
    with pytest.raises(KeyError):
        pipeline.run()
    failing[0] = False
    pipeline.run()
    assert out == [0, 1, 2, 3, 4]
