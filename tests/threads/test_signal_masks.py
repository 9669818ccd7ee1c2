"""Signals and threads: user code has the mask of the process, and no interrupt is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND
from test_signals import SAID, wait_for

STEPS = """\
import asyncio, multiprocessing, os, signal, subprocess, sys
from pathlib import Path
def mask(process='self'):
    lines = Path(f'/proc/{process}/status').read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith('SigBlk'))
def own_and_childs():
    child = subprocess.Popen(['sleep', '60'])
    try:
        found = [mask(f'self/task/{__import__("threading").get_native_id()}'), mask(child.pid)]
    finally:
        child.terminate()
    assert child.wait(30) == -signal.SIGTERM
    return found
def call(record):
    return own_and_childs()
def share(records):
    for record in records:
        yield own_and_childs()
async def awaited(record):
    child = await asyncio.create_subprocess_exec('sleep', '60')
    found = [mask(f'self/task/{__import__("threading").get_native_id()}'), mask(child.pid)]
    child.terminate()
    assert await asyncio.wait_for(child.wait(), 30) == -signal.SIGTERM
    return found
def nap():
    import time
    time.sleep(60)
def spawned(record):
    child = multiprocessing.get_context('fork').Process(target=nap)
    child.start()
    found = [mask(f'self/task/{__import__("threading").get_native_id()}'), mask(child.pid)]
    child.terminate()
    child.join(30)
    assert child.exitcode == -signal.SIGTERM, child.exitcode
    return found
"""
WHERE = {
    "a worker": "steps.map(call, workers=2)",
    "a worker that forks": "steps.map(spawned, workers=1)",  # multiprocessing is not for several
    "a generator's share": "steps.parallel(share, workers=2)",
    "the feeding thread": "[steps.map(call), steps.map(str, workers=2)]",
    "between two stages": "[steps.map(abs, workers=2), share, steps.map(str, workers=2)]",
    "an event loop": "steps.map(awaited)",
    "tasks": "steps.map(awaited, workers=2)",
    "threads among generators": "steps.threaded(steps.map(call, workers=2))",
}


def masks(tmp_path: Path, script: str) -> set[str]:
    """What a script prints of the masks in it."""
    (tmp_path / "my_steps.py").write_text(STEPS)
    script = f"import signal\nfrom my_steps import *\nfrom paipa_etl import *\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.replace("'", " ").replace("[", " ").replace("]", " ").split()) - {","}


@pytest.mark.parametrize("blocked", ["", "signal.SIGUSR1"])
@pytest.mark.parametrize("where", WHERE)
def test_children_of_a_step_have_the_mask_of_the_process(
    tmp_path: Path, where: str, blocked: str
) -> None:
    """So ``terminate()`` ends them."""
    script = f"""
signal.pthread_sigmask(signal.SIG_BLOCK, [{blocked}])
print(mask())
for found in Pipeline([1, 2], {WHERE[where]}): print(found)
"""
    assert masks(tmp_path, script) == {f"{(1 << 9) if blocked else 0:016x}"}


OBJECTS = """
class File:
    lines = 3
    def read(self, n):
        call(None)
        self.lines -= 1
        return b"1\\n" if self.lines else b""
    def write(self, data):
        call(None)
        return len(data)
class Shown(debugger.Reporter):
    every = 0.01
    def update(self, view):
        call(None)
def make():
    call(None)
    yield 1
def use(record, *, thing):
    call(None)
    return record
def slowly(record):
    import time
    time.sleep(0.2)
    return record
USE = steps.map(use, workers=1)
def call(record, called=call):
    print(*called(record))
print(mask())
"""
OF_THE_USERS = {
    "a file object that is read ahead": "list(read(File(), read_ahead=True))",
    "a file object that is written": "Pipeline(['1'], [], write(File(), to='txt.gz')).run()",
    "a reporter": "Pipeline([1], steps.map(slowly)).run(debugger=Debugger([Shown()]))",
    "a resource": "list(Pipeline([1], USE, resources={'thing': per_worker(make)}))",
    "a run in the background": "Pipeline([1], steps.map(call), []).start().wait()",
    "a run for an event loop": "asyncio.run(Pipeline([1], steps.map(call)).run_async())",
}


@pytest.mark.parametrize("where", OF_THE_USERS)
def test_whatever_else_of_the_users_is_called_has_it_too(tmp_path: Path, where: str) -> None:
    script = f"from paipa_etl import debugger\nfrom paipa_etl.debugger import Debugger\n{OBJECTS}\n"
    assert masks(tmp_path, script + OF_THE_USERS[where]) == {f"{0:016x}"}


CHILDREN = """\
import subprocess
from pathlib import Path
def child(record):
    with subprocess.Popen(['sleep', '600']) as process:
        Path(f'child{process.pid}').touch()
    return record
"""


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("words", [["--map", "kids:child@4"], ["--map", "kids:child"]])
@pytest.mark.parametrize("group", range(2))
def test_ctrl_c_ends_the_children_of_steps_too(
    tmp_path: Path, words: list[str], group: int
) -> None:
    """The terminal sends it to all of them, and none has it blocked; ten times in a row."""
    running = []
    for k in range(5):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "kids.py").write_text(CHILDREN)
        (folder / "in.jsonl").write_bytes(b"1\n2\n3\n4\n")
        process = subprocess.Popen(
            [*COMMAND, "in.jsonl", "out.jsonl", *words],
            cwd=folder,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        running.append((process, folder))
    try:
        for process, folder in running:
            most = 4 if "@" in words[-1] else 1
            wait_for(lambda f=folder, n=most: len(list(f.glob("child*"))) >= n)  # type: ignore[misc]
            os.killpg(process.pid, signal.SIGINT)
        for process, folder in running:
            assert process.wait(20) == 130
            assert process.stderr
            assert process.stderr.read() == SAID
            children = [int(path.name.removeprefix("child")) for path in folder.glob("child*")]
            wait_for(lambda c=children: not any(map(is_alive, c)))  # type: ignore[misc]
            assert not list(folder.glob("out*"))
    finally:
        for process, _ in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stderr:
                process.stderr.close()


# Where the main thread waits; another thread is given the interrupt meanwhile.
WAITS = {
    "for a worker": "next(iter(Pipeline(Feed(), steps.map(abs, workers=2))))",
    "for a record of a queue": "next(iter(Pipeline(queue.Queue(), [])))",
    "for a coroutine": "list(Pipeline([1], steps.map(forever)))",
    "for tasks": "list(Pipeline([1], steps.map(forever, workers=2)))",
    "for what is read ahead": "list(read('fifo', read_ahead=True))",
    "for a run in the background": "Pipeline(Feed(), []).start().wait()",
    "for another attempt": "list(Pipeline([1], steps.map(fail, retries=1, backoff=60)))",
    "for a batch to fill": "list(Pipeline(Feed(), steps.batch(2, within=60)))",
}


@pytest.mark.parametrize("where", WAITS)
def test_an_interrupt_that_another_thread_was_given_ends_the_wait(
    tmp_path: Path, where: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"""
import asyncio, os, queue, signal, threading, time
from paipa_etl import *
async def forever(n):
    await asyncio.sleep(600)
def fail(n):
    raise ValueError
held = os.open('fifo', os.O_RDWR)
def give():
    while True:  # the first one may come too early
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
giver = threading.Thread(target=give, daemon=True)
try:
    giver.start()
    {WAITS[where]}
except KeyboardInterrupt:
    print('interrupted', flush=True)
    os._exit(7)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (7, "interrupted\n", "")
