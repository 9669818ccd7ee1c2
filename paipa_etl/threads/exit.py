"""The janitor: no thread of a run outlives the threads of the user's, at the interpreter's exit.

The interpreter joins all threads that are not daemons before it calls ``atexit`` functions, so
a run that nobody waits for would keep it from exiting. The janitor is a thread that waits for
the main thread and then ends every thread of ours whose user is gone. The closing thread
calls what the cyclic collector hands over. Both start before the first thread of a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep

from paipa_etl.threads import collector, forks
from paipa_etl.threads.interrupts import held_back
from paipa_etl.threads.starting import SafeThread, insist, join, require_room

NAME = "paipa-janitor"  # of both
AGAIN = 0.1  # seconds after which a thread that should end is told so once more

_lock = forks.lock()
_live: dict[Thread, None] = {}
_janitor: threading.Thread | None = None


class Thread(SafeThread):
    """A thread of a run. It ends with the interpreter, and its failure ends its run.

    ``end`` makes the target return soon: it is called at the interpreter's exit, more than
    once, and when the target raises, which then is the thread's ``failure``. A target handles
    its errors itself; where there is no memory for that, this is what ends the run.
    """

    def __init__(self, target: Callable[[], object], name: str, end: Callable[[], object]) -> None:
        super().__init__(target, f"paipa-{name}")
        self.end = end
        self.user: threading.Thread = self
        """The thread of the user's that this one works for; threads of ours work for the same."""
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start it, known to the janitor; raises what the system has against it."""
        here = threading.current_thread()
        self.user = here.user if isinstance(here, Thread) else here
        with held_back():
            with _lock:
                _prepare()
                _live[self] = None
            try:
                super().start()
            except BaseException:
                self._leave()
                raise

    def run(self) -> None:
        """Call the target."""
        try:
            require_room()
            super().run()
        except BaseException as error:
            self.failure = error
            insist(self.end)
        finally:
            self._leave()

    def _leave(self) -> None:
        with _lock:
            _live.pop(self, None)
        self.end = _nothing  # which may hold the run

    def is_waited_for(self) -> bool:
        """Whether the interpreter waits for the thread of the user's that this one works for."""
        main = threading.main_thread()
        return self.user is not main and self.user.is_alive() and not self.user.daemon


def prepare() -> None:
    """Have the janitor and the closing thread there."""
    with held_back(), _lock:
        _prepare()


def _nothing() -> None:
    """Nothing is to be ended."""


def _prepare() -> None:
    global _janitor
    if _janitor is not None and _janitor.is_alive():
        return
    SafeThread(collector.serve, NAME, daemon=False).start()
    collector.begin_serving()
    try:
        janitor = SafeThread(_serve, NAME, daemon=False)
        janitor.start()
    except BaseException:
        collector.end_serving()
        raise
    _janitor = janitor


def _serve() -> None:
    threading.main_thread().join()
    while live := _unended():
        for thread in live:
            if not thread.is_waited_for():
                with suppress(Exception):  # it is called again
                    insist(thread.end)
        begun = [thread for thread in live if thread.is_alive()]
        join(begun[0], AGAIN) if begun else sleep(AGAIN)


def _unended() -> list[Thread]:
    """The threads to look after; where there are none, the janitor's work is over."""
    global _janitor
    with _lock:
        live = [t for t in _live if (t.ident is None or t.is_alive()) and not t.daemon]
        if not live:
            _janitor = None
            collector.end_serving()
    return live


def _after_fork() -> None:
    """All of these threads are the parent's."""
    global _janitor
    _janitor = None
    _live.clear()


forks.in_child(_after_fork)
