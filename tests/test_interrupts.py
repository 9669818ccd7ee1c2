"""Interrupts that are held back: none is lost, and none is kept back for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from paipa_etl import Feed, Pipeline, steps
from paipa_etl.interrupts import held_back
from paipa_etl.turns import Turn


def blocked() -> set[signal.Signals]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))  # type: ignore[arg-type]


def test_an_interrupt_comes_behind_the_block() -> None:
    done = []

    def interrupt() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert done
    assert signal.SIGINT not in blocked()


def test_an_interrupt_that_another_thread_is_given_comes_behind_the_block() -> None:
    """The kernel gives it to any thread that has not blocked it, and the main thread handles it."""
    done = []
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()

    def interrupt() -> None:
        with held_back():
            signal.pthread_kill(other.ident or 0, signal.SIGINT)
            time.sleep(0.05)
            done.append(1)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    finally:
        end.set()
        other.join()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in blocked()


def test_what_has_no_handler_ends_the_process_behind_the_block() -> None:
    code = (
        "import os, signal, threading\n"
        "from paipa_etl.interrupts import held_back\n"
        "end = threading.Event()\n"
        "threading.Thread(target=end.wait, daemon=True).start()\n"
        "with held_back():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('inside', flush=True)\n"
        "print('behind', flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "inside\n"
    assert ended.returncode == -signal.SIGTERM


def test_an_interrupt_that_is_raised_on_the_way_in_leaves_nothing_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It came just before: the call that blocks is the one that raises it, having blocked."""
    mask = signal.pthread_sigmask

    def interrupted(how: int, signals: object) -> object:
        before = mask(how, signals)  # type: ignore[arg-type]
        if signals and how == signal.SIG_BLOCK:
            raise KeyboardInterrupt
        return before

    monkeypatch.setattr(signal, "pthread_sigmask", interrupted)
    with pytest.raises(KeyboardInterrupt), held_back():
        raise AssertionError("not reached")
    monkeypatch.undo()
    assert signal.SIGINT not in blocked()


def test_a_signal_that_another_thread_was_given_ends_a_wait() -> None:
    """It wakes nobody: only that thread's system call, if it is in one."""

    def take() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=take)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Turn().wait()
    thread.join()


def test_a_wait_of_the_main_thread_is_woken_at_once() -> None:
    feed = Feed()
    flow = iter(Pipeline(feed, [steps.map(abs, workers=2)]))
    threading.Timer(0.01, feed.put, (1,)).start()
    assert next(flow) == 1
    flow.close()
