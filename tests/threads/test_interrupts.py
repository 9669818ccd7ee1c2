"""Interrupts that are held back: none is lost, and none is kept back for ever."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from typing import Any
from unittest.mock import Mock

import pytest

from paipa_etl import Feed, Pipeline, steps
from paipa_etl.threads.interrupts import INTERRUPTS, held_back
from paipa_etl.threads.waiting import Turn


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
from paipa_etl.threads.interrupts import INTERRUPTS, held_back
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


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in INTERRUPTS]


@pytest.mark.parametrize("nth", range(2 * len(INTERRUPTS)))
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_while_handlers_are_exchanged_leaves_all_of_them_restored(
    monkeypatch: pytest.MonkeyPatch, nth: int, after: bool
) -> None:
    """CPython calls a handler before ``signal.signal`` sets another one, or just after it has."""
    before, exchange, calls = handlers(), signal.signal, itertools.count()

    def interrupted(number: int, handler: Any) -> Any:
        this = next(calls) == nth
        if this and not after:
            raise KeyboardInterrupt
        replaced = exchange(number, handler)
        if this:
            raise KeyboardInterrupt
        return replaced

    monkeypatch.setattr(signal, "signal", interrupted)
    with pytest.raises(KeyboardInterrupt), held_back():
        pass
    monkeypatch.undo()
    assert handlers() == before


def test_a_handler_that_sets_another_one_has_the_last_word() -> None:
    """As the first interrupt of the command does: the second one is another."""
    second = Mock()

    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, second)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    before = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is second
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        second.assert_not_called()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


FORKED = """\
import os, signal, sys, threading
from paipa_etl.threads.interrupts import put_off
def handle(number, frame):
    os._exit(9)
signal.signal(signal.SIGTERM, handle)
code = []
def fork():
    child = os.fork()
    if not child:
        signal.raise_signal(signal.{name})
        os._exit(0)
    code.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with put_off(), put_off():
    other = threading.Thread(target=fork)
    other.start()
    other.join()
print(code)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 9), ("SIGHUP", -signal.SIGHUP)])
def test_a_child_that_another_thread_forks_meanwhile_has_its_handlers(name: str, code: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED.replace("{name}", name)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (f"[{code}]\n", "")


EARLY = """\
import os, signal, threading, time
sent, told = os.pipe()
os.register_at_fork(after_in_child=lambda: os.read(sent, 1))  # before anything else in the child
from paipa_etl.threads.interrupts import held_back
code = []
def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    os.write(told, b"x")
    code.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
other = threading.Thread(target=fork)
with held_back():
    other.start()
    time.sleep(0.2)
other.join()
print(code)
"""


def test_a_child_that_is_ended_before_its_first_instruction_ends() -> None:
    """``Process.terminate`` right behind ``start``, while the main thread starts a thread."""
    command = [sys.executable, "-W", "ignore", "-c", EARLY]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (f"[{-signal.SIGTERM}]\n", "")


def test_nothing_is_blocked_in_the_block() -> None:
    """What a thread that starts in it, or a process of that thread, would inherit."""
    before = blocked()
    with held_back():
        assert blocked() == before


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
