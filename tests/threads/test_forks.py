"""Forked children: they leave alone what their parent made, end soon, and publish nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from warnings import catch_warnings

import pytest
import servers
from conftest import ROOT, Command
from servers import Place
from test_signals import temporary

from paipa_etl import Pipeline, read

RECORDS = b"".join(b"%d\n" % n for n in range(60_000))
PUBLISHED = b"".join(b"%d\n" % n for n in range(60_000))

SCRIPT = """\
import gc, multiprocessing, os, subprocess, sys, warnings
from pathlib import Path
import paipa_etl
from paipa_etl import Feed, Pipeline, per_run, per_step, per_worker
from paipa_etl import StoreOptions, read, steps, write
warnings.filterwarnings("ignore", "This process .*multi-threaded", DeprecationWarning)
parent = os.getpid()

class Own(Exception):
    pass

def leave():
    '''How the child leaves the step, or the block.'''
    how = {how!r}
    if how == "exit":
        sys.exit(7)
    if how == "raise":
        raise Own("of the child")
    gc.collect()

def ended(child):
    '''The child ends by itself, and soon; its exit code.'''
    import signal
    signal.alarm(40)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(0)
    return code

codes = []
def fork(record=None):
    if record not in (None, 40_000):
        return record
    child = os.fork()
    if child == 0:
        leave()
        return record
    codes.append(ended(child))
    return record

async def fork_later(record):
    return fork(record)

def forking(records):
    for record in records:
        fork(record)
        yield record

def forking_source():
    for n in range(60_000):
        yield fork(n)

def many(record):
    fork(record)
    yield record

{what}

if os.getpid() != parent:
    print("the child went on to the end", file=sys.stderr)
    sys.exit(9)
assert os.path.exists("out.jsonl"), os.listdir()
print(*codes, flush=True)
"""
RUN = "Pipeline({source}, [{steps}], {sink}).run()"
SINKS = {"plain": "'out.jsonl'", "compressed": "write('out.jsonl', to='jsonl.gz')"}
PLACES = {
    "map": ("'in.jsonl'", "steps.map(fork)"),
    "filter": ("'in.jsonl'", "steps.filter(lambda n: fork(n) or True)"),
    "generator": ("'in.jsonl'", "forking"),
    "flat map": ("'in.jsonl'", "steps.flat_map(many)"),
    "source": ("forking_source", ""),
    "workers": ("'in.jsonl'", "steps.map(fork, workers=3)"),
    "generator with workers": ("'in.jsonl'", "steps.parallel(forking, workers=3)"),
    "behind workers": ("'in.jsonl'", "steps.map(int, workers=3), forking"),
    "coroutine": ("'in.jsonl'", "steps.map(fork_later)"),
    "coroutine with workers": ("'in.jsonl'", "steps.map(fork_later, workers=3)"),
    "threaded part": ("'in.jsonl'", "steps.threaded([steps.map(fork)])"),
}
BLOCKS = {
    "write block": """
with write("out.jsonl") as out:
    for n in range(60_000):
        out.write(n)
    fork()
""",
    "write block, compressed": """
with write("out.jsonl", to="jsonl.zst") as out:
    for n in range(60_000):
        out.write(n)
    fork()
""",
    "child writes": """
with write("out.jsonl") as out:
    for n in range(60_000):
        out.write(n)
    fork()
    if os.getpid() != parent:
        out.write("of the child")
""",
    "started": """
with Pipeline("in.jsonl", [steps.map(abs)], "out.jsonl").start() as run:
    fork()
""",
    "fed": """
feed = Feed()
with Pipeline(feed, [steps.map(abs, workers=2)], "out.jsonl").start() as run:
    for n in range(60_000):
        feed.put(n)
    fork()
""",
    "iterated": """
with write("out.jsonl") as out:
    for n in read("in.jsonl"):
        out.write(n)
        fork(n)
""",
    "iterated ahead": """
with write("out.jsonl") as out:
    for n in read("in.jsonl", read_ahead=True):
        out.write(n)
        fork(n)
""",
    "iterated with workers": """
with write("out.jsonl") as out:
    for n in Pipeline("in.jsonl", [steps.map(abs, workers=2)]):
        out.write(n)
        fork(n)
""",
}
HOWS = {"exit": 7, "raise": 1, "go on": 1}


def content(tmp_path: Path) -> bytes:
    """The output without its codec."""
    sink = bytearray()
    with catch_warnings(action="ignore"):  # its name does not tell the codec
        Pipeline(read(tmp_path / "out.jsonl"), [], sink).run()
    return bytes(sink)


def carried_out(tmp_path: Path, what: str, how: str, **environment: str) -> tuple[list[int], str]:
    """The exit codes of the children, and what was written to standard error."""
    (tmp_path / "in.jsonl").write_bytes(RECORDS)
    script = SCRIPT.format(how=how, what=what)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not temporary(tmp_path)
    return [*map(int, done.stdout.split())], done.stderr


CASES = [("plain", place, how) for place in PLACES for how in HOWS]
CASES += [("compressed", place, how) for place in ("map", "workers") for how in HOWS]


@pytest.mark.parametrize(("sink", "place", "how"), CASES)
def test_a_child_of_a_run(tmp_path: Path, sink: str, place: str, how: str) -> None:
    source, made = PLACES[place]
    what = RUN.format(source=source, steps=made, sink=SINKS[sink])
    codes, said = carried_out(tmp_path, what, how)
    assert content(tmp_path) == PUBLISHED
    assert len(codes) == 1
    # The child of a coroutine ends before its event loop goes on.
    assert codes == ([1] if "coroutine" in place else [HOWS[how]]), said
    if how == "go on" and "coroutine" not in place:
        assert "a child forked from it" in said


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_child_of_a_block(tmp_path: Path, block: str, how: str) -> None:
    codes, said = carried_out(tmp_path, BLOCKS[block], how)
    assert content(tmp_path) == PUBLISHED
    assert codes == [HOWS[how]], said
    if how == "go on":
        assert "a child forked from it" in said


# Resources, other ways to fork, locks


def test_resources_are_released_by_the_parent_alone(tmp_path: Path) -> None:
    what = """
def made(name):
    def resource():
        yield name
        with open("released", "a") as file:
            print(name, os.getpid() == parent, file=file)
    return resource
def work(n, *, a, b, c):
    return fork(n)
for workers in (None, 2):
    codes.clear()
    Pipeline(
        "in.jsonl",
        [steps.map(work, workers=workers)],
        "out.jsonl",
        resources={"a": per_run(made("run")), "b": per_step(made("step")),
                   "c": per_worker(made("worker"))},
    ).run()
"""
    for how in HOWS:
        carried_out(tmp_path, what, how)
        released = (tmp_path / "released").read_text().splitlines()
        each = ["run True", "step True", "worker True"]
        assert sorted(released) == sorted([*each, *each, "worker True"])
        (tmp_path / "released").unlink()


OTHERS = {
    "multiprocessing": """
context = multiprocessing.get_context("fork")
def child_work():
    gc.collect()
    Pipeline("in.jsonl", [steps.map(abs, workers=2)], "of_child.jsonl").run()
    leave()
def fork(record):
    if record == 40_000:
        child = context.Process(target=child_work)
        child.start()
        child.join(40)
        assert child.exitcode is not None
        codes.append(child.exitcode)
        assert os.path.getsize("of_child.jsonl") == os.path.getsize("in.jsonl")
    return record
""",
    "preexec_fn": """
def fork(record):
    if record == 40_000:
        words = [sys.executable, "-c", "raise SystemExit(7)"]
        codes.append(subprocess.run(words, preexec_fn=gc.collect, timeout=40).returncode)
    return record
""",
}


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("workers", [None, 3])
def test_other_ways_to_fork(tmp_path: Path, other: str, how: str, workers: int | None) -> None:
    run = f"Pipeline('in.jsonl', [steps.map(fork, workers={workers})], 'out.jsonl').run()"
    codes, said = carried_out(tmp_path, OTHERS[other] + run, how)
    assert content(tmp_path) == PUBLISHED
    usual = {"exit": 7, "raise": 1, "go on": 0}[how]
    assert codes == [7 if other == "preexec_fn" else usual], said


@pytest.mark.parametrize("how", HOWS)
def test_many_forks_while_threads_hold_locks(tmp_path: Path, how: str) -> None:
    """A lock that another thread holds is never released in the child, unless it is made anew."""
    what = """
def fork_often(record):
    if record % 1_000 == 0:
        child = os.fork()
        if child == 0:
            leave()
            return record
        codes.append(ended(child))
    return record
step = [steps.map(abs, workers=4), steps.map(fork_often, workers=4), steps.map(abs, workers=4)]
Pipeline("in.jsonl", step, "out.jsonl").run()
"""
    codes, said = carried_out(tmp_path, what, how)
    assert content(tmp_path) == PUBLISHED
    assert codes == [HOWS[how]] * 60, said


def test_a_lock_that_another_thread_holds_is_free_in_the_child(tmp_path: Path) -> None:
    what = """
import threading
from paipa_etl.threads import forks
lock, held, end = forks.lock(), threading.Event(), threading.Event()
def hold():
    with lock:
        held.set()
        end.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(3 if lock.acquire(timeout=20) else 4)
codes.append(ended(child))
assert lock.locked()
end.set()
thread.join()
open("out.jsonl", "w").close()
"""
    codes, said = carried_out(tmp_path, what, "exit")
    assert codes == [3], said


def test_every_lock_that_outlives_a_call_is_free_in_a_child() -> None:
    """The others are bells: one thread waits for them, and none of a child's does."""
    bells = {
        "threads/waiting.py": 1,
        "threads/stop.py": 1,
        "runners/threaded/thread_group.py": 1,
        "threads/ticking.py": 1,
        "threads/starting.py": 1,
        "threads/interrupts.py": 1,  # held by the thread that forks
    }
    made = re.compile(r"(?<!asyncio\.)\bR?Lock\(\)")
    folder = ROOT / "paipa_etl"
    counts = {
        str(path.relative_to(folder)): len(made.findall(path.read_text()))
        for path in folder.rglob("*.py")
    }
    assert {name: count for name, count in counts.items() if count} == {
        **bells,
        "threads/forks.py": 2,
    }


def test_the_lock_of_a_temporary_file_outlives_a_child(tmp_path: Path) -> None:
    what = """
from paipa_etl.stores.cleaning import LocalFiles
with write("out.jsonl") as out:
    out.write(1)
    child = os.fork()
    if child == 0:
        sys.exit(0)
    codes.append(ended(child))
    assert LocalFiles().upload_page(os.path.realpath("out.jsonl"), None) == ([], None)
"""
    codes, said = carried_out(tmp_path, what, "exit")
    assert codes == [0], said


# Uploads, the command


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        yield place


UPLOADS = {
    "s3": ("s3", "", {}),
    "boto3": (
        "s3",
        "from paipa_etl.stores import s3_fast\ns3_fast.FastS3Object._made = lambda self: None\n",
        {},
    ),
    "smart_open": ("s3", "", {"multipart_upload": True}),
    "fsspec": ("memory", "", {}),
}


@pytest.mark.parametrize("how", ["exit", "go on"])
@pytest.mark.parametrize("records", [1_000, 60_000], ids=["one request", "parts"])
@pytest.mark.parametrize("engine", UPLOADS)
def test_a_child_of_an_upload(
    moto: Place, tmp_path: Path, engine: str, records: int, how: str
) -> None:
    scheme, before, words = UPLOADS[engine]
    url = f"{scheme}://kit/forked-{engine}.jsonl"
    what = f"""{before}
with write({url!r}, options=StoreOptions({words!r})) as out:
    for n in range({records}):
        out.write(str(n) * 20)
    fork()
assert list(read({url!r})) == [str(n) * 20 for n in range({records})]
open("out.jsonl", "w").close()
"""
    codes, said = carried_out(tmp_path, what, how, **moto.environment)
    assert codes == [HOWS[how]], said
    assert moto.leftovers() == []


FORKING = """\
import os, sys
def fork(record):
    if record == 40_000:
        child = os.fork()
        if child == 0:
            HOW
            return record
        with open("code", "w") as file:
            file.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    return record
"""
WAYS = {"sys.exit(7)": 7, "sys.exit(0)": 0, "raise KeyError(1)": 1, "pass": 1}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workers", ["", "@3"])
@pytest.mark.parametrize("output", ["out.jsonl", "out/{stem}.jsonl"])
def test_a_child_of_the_command(
    tmp_path: Path, paipa: Command, way: str, workers: str, output: str
) -> None:
    (tmp_path / "in.jsonl").write_bytes(RECORDS)
    (tmp_path / "forking.py").write_text(FORKING.replace("HOW", way))
    words = ["in.jsonl", output, "--map", f"forking:fork{workers}", "--report", "report.json"]
    done = paipa(*words)
    assert done.returncode == 0, done.stderr
    made = tmp_path / ("out.jsonl" if output == "out.jsonl" else "out/in.jsonl")
    assert made.read_bytes() == PUBLISHED
    assert json.loads((tmp_path / "report.json").read_text())["written"] == 60_000
    assert int((tmp_path / "code").read_text()) == WAYS[way]
    if way == "pass":
        assert b"a child forked from it" in done.stderr


def test_a_child_reads_a_feed_that_nobody_read_before(tmp_path: Path) -> None:
    """As where a server makes its plan, and then forks what serves."""
    what = """
feed, out = Feed(), []
feed.put(1)
plan = Pipeline(feed, [steps.map(abs, workers=2)], out)
def serve():
    feed.put(2)
    feed.finish()
    plan.run()
    sys.exit(3 if out == [1, 2] else 4)
child = multiprocessing.get_context("fork").Process(target=serve)
child.start()
child.join(40)
codes.append(child.exitcode)
open("out.jsonl", "w").close()
"""
    codes, said = carried_out(tmp_path, what, "exit")
    assert codes == [3], said
