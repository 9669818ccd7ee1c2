"""The interpreter's exit: nothing that is left unfinished holds it up, or makes a noise."""

# ruff: noqa: E501 (programs of one line)

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BEGIN = """\
import asyncio, itertools, os, sys, threading, time
from paipa_etl import Feed, Pipeline, steps
def same(n):
    return n
def work(n):
    time.sleep(0.001)
    return n
def endless():
    yield from itertools.count()
workers = {workers}
"""
SCRIPTS = {
    "an iteration held in a global": ("flow = iter(Pipeline(endless, [steps.map(same, workers=workers)])); next(flow)", 0),
    "a started run of an endless source": ("run = Pipeline(endless, [steps.map(work, workers=workers)], 'out.jsonl').start(); time.sleep(0.1)", 0),
    "a started run of a feed that is never finished": ("feed = Feed(); run = Pipeline(feed, [steps.map(same, workers=workers)], 'out.jsonl').start(); feed.put(1)", 0),
    "a dropped pipeline": ("next(iter(Pipeline(endless, [steps.map(same, workers=workers)])))", 0),
    "an exit in a step": ("Pipeline([1], [steps.map(lambda n: sys.exit(7), workers=workers)], 'out.jsonl').run()", 7),
    "an exit without a word in a step": ("Pipeline(endless, [steps.map(lambda n: os._exit(9) if n == 50 else n, workers=workers)], 'out.jsonl').run()", 9),
    "a daemon of the user's": ("threading.Thread(target=Pipeline(endless, [steps.map(work, workers=workers)], 'out.jsonl').run, daemon=True).start(); time.sleep(0.2)", 0),
    "in an event loop": ("""
async def main():
    async for n in Pipeline(endless, [steps.map(same, workers=workers)]):
        if n > 100:
            break
asyncio.run(main())""", 0),
}  # fmt: skip
KILLED = {"an exit without a word in a step", "a daemon of the user's"}  # in mid-run, by Python


def ran(tmp_path: Path, script: str, workers: int | None) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(BEGIN.format(workers=workers) + script)
    command = [sys.executable, "-W", "error", "-X", "faulthandler", str(path)]
    return subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("workers", [None, 4])
@pytest.mark.parametrize("case", SCRIPTS)
def test_what_is_unfinished_ends_with_the_interpreter(
    tmp_path: Path, case: str, workers: int | None
) -> None:
    script, code = SCRIPTS[case]
    done = ran(tmp_path, script, workers)
    assert (done.returncode, done.stderr) == (code, "")
    assert not (tmp_path / "out.jsonl").exists()
    for left in tmp_path.glob(".*.paipa-tmp"):
        assert case in KILLED, left
        left.unlink()


# What has threads of its own, half consumed: each expression gives an iterator.
HALF = {
    "read ahead": "iter(read('in.jsonl', read_ahead=True))",
    "read ahead, compressed": "iter(read('in.jsonl.gz', read_ahead=True))",
    "read ahead of a FIFO that stays open": "iter(read('fifo', read_ahead=True))",
    "several inputs": "iter(read('in.jsonl', 'in.jsonl.gz', read_ahead=True))",
    "a coroutine": "iter(Pipeline(endless, [steps.map(awaited)]))",
    "a coroutine used alone": "steps.map(awaited)(endless())",
    "tasks": "iter(Pipeline(endless, [steps.map(awaited, workers=4)]))",
    "calls": "iter(Pipeline(endless, [steps.map(same, workers=4)]))",
    "a generator's shares": "iter(Pipeline(endless, [steps.parallel(passing, workers=4)]))",
    "threads among generators":
        "combine_pipeline(endless(), [passing, steps.threaded(steps.map(same, workers=2))])",
    "a feed": "iter(Pipeline(fed(), [steps.map(same, workers=2)]))",
    "a batch within a time": "iter(Pipeline(endless, [steps.batch(2, within=60)]))",
    "ranges of a remote object": "iter(read(served()))",
}  # fmt: skip
SHAPES = r"""
import http.server, re
from paipa_etl import combine_pipeline, read
async def awaited(n):
    await asyncio.sleep(0)
    return n
def passing(records):
    yield from records
def fed():
    feed = Feed()
    feed.put(1)
    return feed
class Ranges(http.server.BaseHTTPRequestHandler):
    body = b'1\n' * 8_000_000
    def do_GET(self):
        first, last = map(int, re.findall('[0-9]+', self.headers['Range']))
        part = self.body[first:last + 1]
        self.send_response(206)
        self.send_header('ETag', '"1"')
        self.send_header('Content-Length', str(len(part)))
        self.send_header('Content-Range', f'bytes {first}-{first + len(part) - 1}/{len(self.body)}')
        self.end_headers()
        try:
            self.wfile.write(part)
        except OSError:
            pass
    def log_message(self, *words):
        pass
def served():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Ranges)
    server.handle_error = lambda request, address: None  # it cannot go on at the exit
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}/object.jsonl'
def begun():
    flows = half()
    for flow in flows:
        next(flow)
    return flows
def cycle():
    kept = [begun()]
    kept.append(kept)
"""
# Where it is when the interpreter ends; ``half()`` makes one.
PLACES = {
    "held in a global": "flow = begun()",
    "held by a thread that has ended": """
flows = []
thread = threading.Thread(target=lambda: flows.append(begun()))
thread.start()
thread.join()""",
    "held by a worker of a pool": """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
flow = pool.submit(begun).result()""",
    "in an unreachable cycle": "gc.disable(); cycle()",
    "in an unreachable cycle of a thread that has ended": """
gc.disable()
thread = threading.Thread(target=cycle)
thread.start()
thread.join()""",
    "left by a thread that ends after the main one": """
def late():
    threading.main_thread().join()
    globals()['flow'] = begun()
threading.Thread(target=late).start()""",
    "held where the main thread fails": "flow = begun(); sys.exit(3)",
}


# Python 3.12.0 and 3.12.1 start no thread once the main thread has ended (cpython#113964).
LATE = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2), reason="threads start no thread then"
)
# Each shape alone in two places, and all of them together in each place.
TOGETHER = f"[{', '.join(HALF.values())}]"
ALONE = ("held in a global", "in an unreachable cycle of a thread that has ended")
CASES: list[Any] = [(shape, place) for shape in HALF for place in ALONE] + [
    pytest.param("", place, marks=[LATE] if "after the main" in place else []) for place in PLACES
]


@pytest.mark.parametrize(("shape", "place"), CASES)
def test_what_is_half_consumed_ends_with_the_interpreter(
    tmp_path: Path, shape: str, place: str
) -> None:
    """Silently, wherever it is kept, and whichever thread made it."""
    records = b"".join(b"%d\n" % n for n in range(500_000))
    (tmp_path / "in.jsonl").write_bytes(records)
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(records, 1))
    os.mkfifo(tmp_path / "fifo")
    held = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        os.write(held, b"1\n2\n")
        half = f"def half():\n    return {f'[{HALF[shape]}]' if shape else TOGETHER}\n"
        done = ran(tmp_path, f"import gc\n{SHAPES}\n{half}{PLACES[place]}\n", None)
    finally:
        os.close(held)
    assert done.stderr == ""
    assert done.returncode == (3 if "sys.exit" in PLACES[place] else 0)


@LATE
@pytest.mark.parametrize("workers", [None, 4])
def test_what_works_for_a_thread_of_the_users_goes_on_with_it(
    tmp_path: Path, workers: int | None
) -> None:
    """Runs in a step's workers too, where the main thread has ended long ago."""
    (tmp_path / "in.jsonl").write_text("".join(f"{n}\n" for n in range(50)))
    script = """
from paipa_etl import read
def inner(n):
    time.sleep(0.01)
    return sum(read('in.jsonl', read_ahead=True) | steps.map(work, workers=2))
def whole():
    threading.main_thread().join()
    Pipeline(range(20), [steps.map(inner, workers=workers)], 'out.jsonl').run()
threading.Thread(target=whole).start()
"""
    done = ran(tmp_path, script, workers)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.jsonl").read_text().split() == [str(sum(range(50)))] * 20


def test_a_run_that_another_thread_waits_for_ends_with_the_thread_that_began_it(
    tmp_path: Path,
) -> None:
    """Or the one that waits would wait for ever, and the interpreter for that one."""
    script = """
started = []
def begin():
    started.append(Pipeline(Feed(), [steps.map(same, workers=2)], 'out.jsonl').start())
def wait():
    try:
        started[0].wait()
    except Exception:
        pass
beginner = threading.Thread(target=begin)
beginner.start()
beginner.join()
threading.Thread(target=wait).start()
"""
    done = ran(tmp_path, script, None)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("workers", [None, 4])
def test_a_child_of_a_fork_ends_by_itself(tmp_path: Path, workers: int | None) -> None:
    """It has none of the threads, and must not disturb its parent's."""
    script = """
import signal
from paipa_etl import read
flow = iter(Pipeline(endless, [steps.map(same, workers=workers)]))
ahead = iter(read('in.jsonl', read_ahead=True))
fifo = iter(read('fifo', read_ahead=True))
assert next(flow) == 0 and next(ahead) == 0 and next(fifo) == 1
signal.alarm(20)
child = os.fork()
if not child:
    signal.alarm(10)
    assert list(Pipeline(range(5), [steps.map(same, workers=workers)])) == [0, 1, 2, 3, 4]
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
assert [next(flow) for _ in range(100)] == list(range(1, 101))
assert [next(ahead) for _ in range(100)] == list(range(1, 101))
os.write(held, b"2\\n")
assert next(fifo) == 2
"""
    (tmp_path / "in.jsonl").write_text("".join(f"{n}\n" for n in range(500_000)))
    os.mkfifo(tmp_path / "fifo")
    begin = "held = os.open('fifo', os.O_RDWR)\nos.write(held, b'1\\n')\n"
    done = ran(tmp_path, begin + script, workers)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("workers", [None, 4])
def test_a_thread_of_the_users_is_left_to_finish(tmp_path: Path, workers: int | None) -> None:
    script = (
        "plan = Pipeline(range(300), [steps.map(work, workers=workers)], 'out.jsonl')\n"
        "threading.Thread(target=plan.run).start()\n"
        "while workers and 'paipa-watch' not in [t.name for t in threading.enumerate()]:\n"
        "    time.sleep(0.001)\n"
    )
    done = ran(tmp_path, script, workers)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.jsonl").read_text().split() == [str(n) for n in range(300)]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_it_works_in_children_of_multiprocessing(tmp_path: Path, method: str) -> None:
    script = f"""
import multiprocessing
def total(n):
    return sum(Pipeline(range(n), [steps.map(same, workers=3)]))
if __name__ == "__main__":
    assert total(10) == 45
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(total, [10, 100]) == [45, 4950]
"""
    done = ran(tmp_path, script, 2)
    assert (done.returncode, done.stderr) == (0, "")
