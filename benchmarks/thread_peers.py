"""Who takes part in the thread benchmarks: ourselves, the peers, and what a bare queue can do.

A contestant is given a function, how many steps apply it, the threads of each step, and the source;
it gives the results. All of its threads have ended, or are about to, when the last one is out. Each
is used as its manual recommends for speed, and imports what it needs itself.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Function = Callable[[Any], Any]
BOUND = 1024  # records that may wait between two steps, where a peer lets us say so
END = object()


def paipa_etl(function: Function, steps: int, workers: int, source: Iterable[Any]) -> Iterable[Any]:
    from paipa_etl import Pipeline
    from paipa_etl import steps as ready

    return Pipeline(source, [ready.map(function, workers=workers) for _ in range(steps)])


def paipa(function: Function, steps: int, workers: int, source: Iterable[Any]) -> Iterable[Any]:
    """With the larger threshold: beyond its default of 64 a step sleeps for 10 ms."""
    threading.Thread.isAlive = threading.Thread.is_alive  # type: ignore[attr-defined]  # gone in 3.9
    from paipa import Pipeline, SkipEntry, funcstep

    results: list[Any] = []

    def collect(record: Any) -> None:
        results.append(record)
        raise SkipEntry  # what a last step gives goes into a queue that is emptied every 10 ms

    stages = [(funcstep(function), workers)] * steps
    pipeline = Pipeline([*stages, (funcstep(collect), 1)], quiet=True, threshold=BOUND)
    pipeline.put_iterable(source)
    pipeline.run()
    return results


def pypeln(function: Function, steps: int, workers: int, source: Iterable[Any]) -> Iterable[Any]:
    """Without its `ordered`, which holds all results until the last one and takes twice as long."""
    import pypeln as pl

    stage: Any = source
    for _ in range(steps):
        stage = pl.thread.map(function, stage, workers=workers, maxsize=BOUND)
    return iter(stage)


def pyper(function: Function, steps: int, workers: int, source: Iterable[Any]) -> Iterable[Any]:
    """Bounded only where all workers fit into its pool, for it stands still where they do not."""
    from pyper import task

    bound = BOUND if workers == 1 else 0
    pipeline = task(lambda: source, branch=True, throttle=bound)
    for _ in range(steps):
        pipeline = pipeline | task(function, workers=workers, throttle=bound)
    return pipeline()  # type: ignore[no-any-return]


def streamable(
    function: Function, steps: int, workers: int, source: Iterable[Any]
) -> Iterable[Any]:
    """With a buffer for each step of one worker, which is what gives it a thread of its own."""
    from streamable import stream

    flow = stream(source)
    for _ in range(steps):
        flow = (
            flow.map(function).buffer(BOUND)
            if workers == 1
            else flow.map(function, concurrency=workers)
        )
    return flow


def spdl(function: Function, steps: int, workers: int, source: Iterable[Any]) -> Iterable[Any]:
    """Without statistics, with its quicker queue at the end, and in the order of completion."""
    from spdl.pipeline import PipelineBuilder

    builder = PipelineBuilder().add_source(source)
    for _ in range(steps):
        builder = builder.pipe(function, concurrency=workers)
    pipeline = builder.add_sink(BOUND).build(
        num_threads=steps * workers,
        use_thread_output_queue=True,
        task_hook_factory=lambda stage: [],
    )
    with pipeline.auto_stop():
        yield from pipeline


def queue_chain(
    function: Function, steps: int, workers: int, source: Iterable[Any]
) -> Iterable[Any]:
    """By hand, as most people write it: bounded queues, and one more thread for the source."""
    queues = [queue.Queue(BOUND) for _ in range(steps + 1)]
    threads = [threading.Thread(target=fill, args=(queues[0], source, workers))]
    return chained(function, workers, queues, threads)


def bare_chain(
    function: Function, steps: int, workers: int, source: Iterable[Any]
) -> Iterable[Any]:
    """The yardstick: what the interpreter's quickest queue can do; nothing bounds what it holds."""
    queues = [queue.SimpleQueue() for _ in range(steps + 1)]
    fill(queues[0], source, workers)
    return chained(function, workers, queues, [])


def chained(
    function: Function, workers: int, queues: list[Any], threads: list[threading.Thread]
) -> Iterator[Any]:
    """Start the workers between each two queues; give what comes out of the last one."""
    for came, goes in pairwise(queues):
        for _ in range(workers):
            threads.append(threading.Thread(target=work, args=(function, came, goes)))
    for thread in threads:
        thread.start()
    for _ in range(workers):
        yield from iter(queues[-1].get, END)
    for thread in threads:
        thread.join()


def fill(goes: Any, source: Iterable[Any], workers: int) -> None:
    for record in source:
        goes.put(record)
    for _ in range(workers):
        goes.put(END)


def work(function: Function, came: Any, goes: Any) -> None:
    """Pass records on until the end, of which each worker finds one and passes one on."""
    for record in iter(came.get, END):
        goes.put(function(record))
    goes.put(END)


@dataclass(frozen=True)
class Contestant:
    """Someone who takes part, and what has to be known about them."""

    name: str
    run: Callable[[Function, int, int, Iterable[Any]], Iterable[Any]]
    module: str = ""  # what has to be installed for it
    ordered: bool = False  # keeps the order of records, however many workers
    peer: bool = True  # one whom we want to be faster than
    most_threads: int = 0  # in all, whatever it is asked for; 0: as many as it is asked for

    @property
    def key(self) -> str:
        return self.run.__name__


OURS, BARE = "paipa-etl", "bare SimpleQueue"
CONTESTANTS = (
    Contestant(OURS, paipa_etl, "paipa_etl", ordered=True, peer=False),
    Contestant(BARE, bare_chain, peer=False),
    Contestant("queue.Queue by hand", queue_chain),
    Contestant("paipa 0.3", paipa, "paipa"),
    Contestant("pypeln", pypeln, "pypeln"),
    # Its pool is a ThreadPoolExecutor of the default size.
    Contestant("pyper", pyper, "pyper", most_threads=min(32, (os.cpu_count() or 1) + 4)),
    Contestant("streamable", streamable, "streamable", ordered=True),
    Contestant("SPDL", spdl, "spdl.pipeline"),
)
