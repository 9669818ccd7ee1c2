"""Run a command line as child processes and tell what it cost.

Wall time is from the first start to the last end. CPU time is user plus system time of every
process of the pipeline and of the children they waited for, as the kernel accounts for them when
they are reaped. Peak memory is the sum over the pipeline of each process's largest resident size
(of a process with children: the largest of them).

The kernel's own figure for that, ru_maxrss, starts at the size of this process, of which a child
is a copy before it becomes another program. Where it says no more than that, the high-water mark
in /proc counts, read twenty times a second.
"""

import os
import re
import resource
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
EVERY = 0.05  # seconds between two looks at /proc


@dataclass(frozen=True)
class Cost:
    """What one run took; `failed` is empty when every process ended with 0."""

    wall: float  # seconds
    cpu: float  # seconds
    peaks: tuple[float, ...]  # MB, of each process of the pipeline
    codes: tuple[int, ...]  # how each process ended; below zero, by which signal
    failed: str
    said: str  # the end of what was written to standard error

    @property
    def peak(self) -> float:
        return sum(self.peaks)


def run(command: str, places: Mapping[str, str], folder: Path, patience: float = 1800) -> Cost:
    """Run a pipeline such as `zcat {source} | jq -c . > {out}` and wait for all of it.

    `places` fill the braces after the line has been split, so paths may hold anything.
    """
    argvs, out = parsed(command, places)
    with open(folder / "stderr", "w+b") as log, open(out or os.devnull, "wb") as stdout:
        began = time.perf_counter()
        children = started(argvs, stdout, log)
        with marks(children) as seen, deadline(children, patience):
            usages = [reaped(child) for child in children]
        wall = time.perf_counter() - began
        log.seek(max(0, log.tell() - 2000))
        said = log.read().decode(errors="replace").strip()
    return Cost(
        wall,
        sum(usage.ru_utime + usage.ru_stime for usage in usages),
        tuple(peak(u, seen.get(child.pid, 0)) for u, child in zip(usages, children, strict=True)),
        tuple(child.returncode for child in children),
        ", ".join(
            f"{Path(argv[0]).name} ended with {child.returncode}"
            for argv, child in zip(argvs, children, strict=True)
            if child.returncode
        ),
        said,
    )


def parsed(command: str, places: Mapping[str, str]) -> tuple[list[list[str]], str]:
    """Split a command line into its processes and the file after `>`, if any."""
    argvs: list[list[str]] = [[]]
    out = ""
    words = iter(shlex.split(command))
    for word in words:
        if word == "|":
            argvs.append([])
        elif word == ">":
            out = next(words).format(**places)
        else:
            argvs[-1].append(word.format(**places))
    return argvs, out


def started(
    argvs: list[list[str]], stdout: IO[bytes], log: IO[bytes]
) -> list[subprocess.Popen[bytes]]:
    """Start the processes of a pipeline, each reading what the one before it writes."""
    children: list[subprocess.Popen[bytes]] = []
    for argv in argvs:
        feed = children[-1].stdout if children else subprocess.DEVNULL
        target = stdout if argv is argvs[-1] else subprocess.PIPE
        children.append(subprocess.Popen(argv, stdin=feed, stdout=target, stderr=log))
        if not isinstance(feed, int) and feed is not None:
            feed.close()  # or its writer would never learn that the reader has gone
    return children


def reaped(child: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for a child and give what it and the children it waited for have used."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage


def peak(usage: resource.struct_rusage, seen: int) -> float:
    """Give a process's largest resident size in MB, from the more exact of the two figures."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = usage.ru_maxrss if usage.ru_maxrss > own or not seen else seen
    return best * RSS_UNIT / 1e6


@contextmanager
def marks(children: list[subprocess.Popen[bytes]]) -> Iterator[dict[int, int]]:
    """Note each process's high-water mark (KB, by process id) while the block runs."""
    seen: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            for child in (child for child in children if child.returncode is None):
                seen[child.pid] = max(seen.get(child.pid, 0), high_water(child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def high_water(pid: int) -> int:
    """Read a process's high-water mark, or 0 where it has gone or there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


@contextmanager
def deadline(children: list[subprocess.Popen[bytes]], patience: float) -> Iterator[None]:
    """Kill what still runs after `patience` seconds, or when the block is interrupted."""

    def kill() -> None:
        for child in children:
            if child.returncode is None:
                child.kill()

    timer = threading.Timer(patience, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        kill()
