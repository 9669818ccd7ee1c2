"""The interpreter's exit: nothing that is left unfinished holds it up, or makes a noise."""

# ruff: noqa: E501 (programs of one line)

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("workers", [None, 4])
def test_a_thread_of_the_users_is_left_to_finish(tmp_path: Path, workers: int | None) -> None:
    script = (
        "plan = Pipeline(range(300), [steps.map(work, workers=workers)], 'out.jsonl')\n"
        "threading.Thread(target=plan.run).start()\n"
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
