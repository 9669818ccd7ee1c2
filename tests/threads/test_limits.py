"""Too few descriptors, too little memory, no threads: an error, soon, and the output as it was."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND

from paipa_etl import Pipeline, read, steps
from paipa_etl.threads import starting
from paipa_etl.threads.exit import Thread

STEPS = """\
import asyncio
import contextlib
def same(record):
    return record
async def awaited(record):
    await asyncio.sleep(0)
    return record
def passing(records):
    yield from records
"""
# Lines, not JSON: orjson itself ends the process where it gets no memory.
PLANS = {
    "calls": ["in.txt", "out.txt", "--map", "my_steps:same@8"],
    "a coroutine": ["in.txt", "out.txt", "--map", "my_steps:awaited"],
    "tasks": ["in.txt", "out.txt", "--map", "my_steps:awaited@8"],
    "shares": ["in.txt", "out.txt", "--step", "my_steps:passing@4"],
    "codecs": ["in.txt.gz", "out.txt.gz"],
    "codecs and calls": ["in.txt.gz", "out.txt.gz", "--map", "my_steps:same@8"],
}
MIB = 1 << 20


def limited(folder: Path, words: list[str], kind: int, limit: int) -> tuple[int, str]:
    """Run the command under a limit; a result is right, a failure leaves what was there before."""
    target = folder / words[1]
    target.write_bytes(b"old")

    def set_limit() -> None:
        resource.setrlimit(kind, (limit, limit))

    done = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=set_limit,
        timeout=60,
    )
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert "Fatal" not in said
    if done.returncode:
        assert said.startswith("paipa-etl: ")
        assert target.read_bytes() == b"old"
    else:
        assert list(read(target)) == list(read(folder / words[0]))
    assert not list(folder.glob(".*"))
    return done.returncode, said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [f"line {n}" for n in range(20_000)]
    (tmp_path / "my_steps.py").write_text(STEPS)
    for name in ("in.txt", "in.txt.gz"):
        Pipeline(lines, [], tmp_path / name).run()
    return tmp_path


@pytest.mark.parametrize("plan", PLANS)
def test_with_any_number_of_descriptors(folder: Path, plan: str) -> None:
    """From too few to enough; what cannot be opened is said."""
    codes = {}
    for limit in range(5, 14):
        codes[limit], said = limited(folder, PLANS[plan], resource.RLIMIT_NOFILE, limit)
        if codes[limit]:
            assert "Too many open files" in said
            assert codes[limit] in (1, 3, 6)
    assert codes[13] == 0, codes


@pytest.mark.parametrize("plan", PLANS)
def test_with_any_amount_of_memory(folder: Path, plan: str) -> None:
    for megabytes in range(180, 420, 30):
        code, said = limited(folder, PLANS[plan], resource.RLIMIT_AS, megabytes * MIB)
        assert code in (0, 1), said


def test_a_thread_that_finds_hardly_any_memory_ends_the_run() -> None:
    """Its stack fits; what is left is too little to handle an error in."""
    script = """
import re, resource, sys, threading
from pathlib import Path
from paipa_etl import Pipeline, steps
plan = Pipeline(range(100), steps.map(str, workers=2), on_error="skip")
assert len(list(plan)) == 100  # all is imported
threading.stack_size(1 << 18)
size = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (size + (3 << 20), -1))
try:
    list(plan)
except MemoryError as error:
    left = {thread.name for thread in threading.enumerate()} - {"MainThread", "paipa-janitor"}
    assert not left, left
    sys.exit(7)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (7, "")


ONE_LOOP = "asked for an event loop"


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("workers", [None, 3])
@pytest.mark.parametrize("kind", ["run", "iterate", "start", "alone"])
def test_an_event_loop_that_cannot_be_made_is_an_error_of_the_run(
    on_error: str, workers: int | None, kind: str
) -> None:
    """Of no record: none is skipped for it."""
    script = f"""
import os, resource, sys, threading
from paipa_etl import Pipeline, steps
async def awaited(n):
    return n
list(Pipeline([1], steps.map(awaited, workers={workers})))  # all is imported
resource.setrlimit(resource.RLIMIT_NOFILE, (3 + len(os.listdir('/proc/self/fd')) - 4, 50))
step = steps.map(awaited, workers={workers})
plan = Pipeline(range(10), step, on_error={on_error!r})
ways = {{
    'run': plan.run,
    'iterate': lambda: list(plan),
    'start': lambda: plan.start().wait(),
    'alone': lambda: list(step(range(10))),
}}
try:
    ways[{kind!r}]()
except OSError as error:
    assert error.errno == 24, error
    left = {{thread.name for thread in threading.enumerate()}} - {{'MainThread', 'paipa-janitor'}}
    assert not left, left
    sys.exit(7)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if kind == "alone" and workers:  # used alone, a step has no workers
        assert done.returncode == 7
    assert (done.returncode, done.stderr) == (7, "")


async def awaited(n: int) -> int:
    return n


NEED = {
    "calls": lambda path: Pipeline(range(10), steps.map(abs, workers=4)),
    "tasks": lambda path: Pipeline(range(10), steps.map(awaited, workers=4)),
    "a coroutine": lambda path: Pipeline(range(10), steps.map(awaited)),
    "threads among generators": lambda path: Pipeline(range(10), steps.threaded(steps.map(abs))),
    "read ahead": lambda path: read(path, read_ahead=True),
    "several inputs": lambda path: read(path, path, read_ahead=True) | steps.map(str, workers=2),
    "written behind": lambda path: Pipeline(read(path), [], path.parent / "out.txt.gz"),
}  # fmt: skip
KINDS: dict[str, Callable[[Pipeline], Any]] = {
    "run": lambda plan: plan.run(),
    "start": lambda plan: plan.start().wait(),
    "async": lambda plan: asyncio.run(plan.run_async()),
}


class Refusing:
    """The system starts so many threads, and then refuses, or they die before they begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int, dying: bool) -> None:
        self.left, self.dying, self.refused = allowed, dying, 0
        self.name = next(
            name for name in ("_start_joinable_thread", "_start_new_thread")
            if hasattr(threading, name)
        )  # fmt: skip
        self.begin = getattr(threading, self.name)
        monkeypatch.setattr(threading, self.name, self.start)

    def start(self, target: Any, *words: Any, **named: Any) -> Any:
        here = getattr(target, "func", target)
        of_ours = type(getattr(here, "__self__", None)).__module__.startswith("paipa_etl")
        if not of_ours:
            return self.begin(target, *words, **named)
        self.left -= 1
        if self.left >= 0:
            return self.begin(target, *words, **named)
        self.refused += 1
        if self.dying:  # as where there is no memory for its first frame
            return self.begin(int, *words, **named)
        raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("dying", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("need", NEED)
def test_a_thread_that_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need: str, kind: str, dying: bool
) -> None:
    """Whichever of a run's it is. Those that did start have ended."""
    path = tmp_path / "in.txt"
    path.write_text("1\n" * 100)
    list(Pipeline([1], steps.map(abs, workers=1)))  # the janitor is there
    expected = MemoryError if dying else RuntimeError
    before = {*threading.enumerate()}
    for allowed in range(20):
        with monkeypatch.context() as patch:
            refusing = Refusing(patch, allowed, dying)
            with contextlib.suppress(expected):
                KINDS[kind](NEED[need](path))
                break
            assert refusing.refused
        assert not {*threading.enumerate()} - before
    assert not refusing.refused
    assert allowed


def test_a_thread_that_cannot_handle_its_failure_ends_its_run() -> None:
    """What it would have to do takes memory, too."""
    ended = threading.Event()
    attempts = iter([MemoryError, MemoryError])

    def fail() -> None:
        raise MemoryError

    def end() -> None:
        for error in attempts:
            raise error
        ended.set()

    thread = Thread(fail, "failing", end)
    thread.start()
    assert ended.wait(starting.PAUSE * starting.ATTEMPTS * 10)
    thread.join()
    assert isinstance(thread.failure, MemoryError)


def test_what_a_safe_thread_relies_on_is_there() -> None:
    """In the ``threading`` of a Python to come, that may be otherwise."""
    thread = starting.SafeThread(lambda: None, "safe")
    thread.start()
    thread.join()
    assert thread._beginning.is_set()
    assert thread._beginning.first() is None  # nobody holds it: neither does ``threading``
    assert thread not in threading._limbo  # type: ignore[attr-defined]
