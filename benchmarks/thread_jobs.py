"""The jobs of the thread benchmarks: what each contestant does, and what must come out of it."""

from dataclasses import dataclass

from jobs import Must
from thread_peers import BARE, OURS, Contestant

BEST = "the best peer"
HAND = "queue.Queue by hand"


@dataclass(frozen=True)
class Limit:
    """The most that a figure of ours may be."""

    figure: str
    most: float

    def __str__(self) -> str:
        return f"{self.figure} at most {self.most:g}"


@dataclass(frozen=True)
class Job:
    """One table: records through steps with threads, or how long the caller waits."""

    name: str
    title: str
    musts: tuple[Must | Limit, ...]
    records: int = 0
    pilot: int = 0  # records of a peer's first run, whose results are looked at one by one
    wait: float = 0  # seconds that a step sleeps; 0: it adds one
    steps: int = 3
    workers: int = 1
    aim: int = 0  # records/s that we hope for beyond the musts
    waits: tuple[tuple[str, str], ...] = ()  # of a job of thread_waits.py: contestant, argument

    def command(self, contestant: Contestant, records: int, how: str) -> list[str]:
        """Give the arguments of thread_run.py for a run over that many records."""
        numbers = (self.wait, self.steps, self.workers, records)
        return ["thread_run.py", contestant.key, *map(str, numbers), how]


JOBS = (
    Job(
        "cheap",
        "Three steps of x + 1, a thread each",
        (Must(BEST, "wall", 12, 12),),
        records=1_000_000,
        pilot=5_000,
        aim=800_000,
    ),
    Job(
        "cheap8",
        "Three steps of x + 1, 8 threads each",
        (Must(BEST, "wall", 7, 7),),
        records=1_000_000,
        pilot=5_000,
        workers=8,
        aim=400_000,
    ),
    Job(
        "wait",
        "Three steps that wait for 10 ms, 64 threads each (no less than 1.0 s)",
        (Must(BARE, "wall", 1.05, 1.05, faster=False), Must(BEST, "wall", 1.3, 1.3)),
        records=6_400,
        pilot=640,
        wait=0.01,
        workers=64,
    ),
    Job(
        "wait500",
        "One step that waits for 50 ms, 500 threads (no less than 1.0 s)",
        (Must(BARE, "wall", 1.1, 1.1, faster=False),),
        records=10_000,
        pilot=1_000,
        wait=0.05,
        steps=1,
        workers=500,
    ),
    Job(
        "wait2000",
        "One step that waits for 0.5 s, 2,000 threads (no less than 2.0 s)",
        (Must(BARE, "wall", 1.1, 1.1, faster=False), Limit("peak MB", 80)),
        records=8_000,
        pilot=2_000,
        wait=0.5,
        steps=1,
        workers=2_000,
    ),
    Job(
        "latency",
        "One record at a time through three idle steps, a thread each",
        (Limit("median ms", 0.4),),
        waits=((OURS, "latency"), (HAND, "latency_by_hand")),
    ),
    Job(
        "end",
        "From the end, an error, an interrupt to the end of all threads; three steps, 8 idle "
        "threads each",
        (Limit("end ms", 50), Limit("error ms", 50), Limit("interrupt ms", 50)),
        waits=((OURS, "end"),),
    ),
)
