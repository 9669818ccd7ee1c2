"""A step that does not return: reported with its stack, the output aborted, the command ended."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from test_signals import running, temporary, wait_for

from paipa_etl import Pipeline, StuckWorker, steps
from paipa_etl.runners.threaded import thread_group

STEPS = """\
import time
from pathlib import Path
from paipa_etl.runners.threaded import thread_group
thread_group.GRACE = 0.5
def stay(record):
    if record == 1:
        Path('staying').touch()
        time.sleep(1000)
    while not Path('staying').exists():
        time.sleep(0.01)
    raise KeyError(record)
def wait(record):
    Path('staying').touch()
    time.sleep(1000)
"""


@pytest.mark.parametrize("end", ["failure", "limit"])
def test_the_library_says_who_stays_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(thread_group, "GRACE", 0.3)
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    go_on, staying = threading.Event(), threading.Event()

    def stay_here(n: int) -> int:
        if n == 1:
            staying.set()
            go_on.wait(60)
        elif n == 0:
            staying.wait(60)
            if end == "failure":
                raise KeyError(n)
        return n

    made: list[Any] = [steps.map(stay_here, workers=2), steps.limit(1)]
    try:
        with pytest.raises(StuckWorker, match="still in a step") as caught:
            Pipeline([0, 1], made, target).run()
    finally:
        go_on.set()
    assert "stay_here" in caught.value.stacks
    assert "stay_here" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError) == (end == "failure")
    assert target.read_text() == "old"
    assert not list(tmp_path.glob(".*"))


def test_the_command_ends_at_once_with_the_cause(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "my_steps.py").write_text(STEPS)
    (tmp_path / "out.jsonl").write_text("old")
    (tmp_path / "in.jsonl").write_text("1\n2\n")
    done = paipa("in.jsonl", "out.jsonl", "--map", "my_steps:stay@2", timeout=30)
    assert done.returncode == 1
    assert b"in stay" in done.stderr
    assert b"KeyError: 2" in done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert not temporary(tmp_path)


def test_an_interrupt_does_not_wait_for_it_for_ever(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("1\n2\n")
    with running(tmp_path, "in.jsonl", "out.jsonl", "--map", "stuck_steps:wait@2") as process:
        (tmp_path / "stuck_steps.py").write_text(STEPS)
        wait_for((tmp_path / "staying").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr
        assert b"in wait" in process.stderr.read()
    assert (tmp_path / "out.jsonl").read_bytes() == b"old"
    assert not temporary(tmp_path)
