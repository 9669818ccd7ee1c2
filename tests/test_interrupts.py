"""Interrupts that are held back: none is lost, and none is kept back for ever."""

from __future__ import annotations

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
            signal.raise_signal(signal.SIGINT)  # for this thread: no other may take it
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert done
    assert signal.SIGINT not in blocked()


ANOTHER = """\
import signal, socket, threading
from paipa_etl.interrupts import held_back
end = threading.Event()
other = threading.Thread(target=end.wait, daemon=True)
other.start()
seen, told = socket.socketpair()  # C tells here that the other thread has got it
told.setblocking(False)
signal.set_wakeup_fd(told.fileno())
try:
    with held_back():
        signal.pthread_kill(other.ident, signal.{name})
        seen.recv(1)
        print('inside', flush=True)
    print('behind', flush=True)
except KeyboardInterrupt:
    restored = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    print('interrupted', restored, blocked, flush=True)
"""


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [("SIGINT", "inside\ninterrupted True set()\n", 0), ("SIGTERM", "inside\n", -signal.SIGTERM)],
)
def test_what_another_thread_is_given_comes_behind_the_block(
    name: str, said: str, code: int
) -> None:
    """The kernel gives it to any thread that has not blocked it, and the main thread handles it."""
    command = [sys.executable, "-c", ANOTHER.replace("{name}", name)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == (said, code)


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
