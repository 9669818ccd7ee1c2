"""Something that is done every so often beside a run, by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paipa_etl.threads.exit import Thread
from paipa_etl.threads.starting import join, surely


class Ticking:
    """Calls something every so many seconds, until it is ended."""

    def __init__(self, action: Callable[[], None], seconds: float, name: str) -> None:
        self._action, self._seconds = action, min(seconds, threading.TIMEOUT_MAX)
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread = Thread(self._work, name, self.ring)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _work(self) -> None:
        while not self._bell.acquire(timeout=self._seconds):
            self._action()

    def end(self) -> None:
        """End, and wait for a call that is going on."""
        surely(self.ring)
        join(self._thread)

    def ring(self) -> None:
        """Have it end, without waiting for that."""
        if self._bell.locked():
            self._bell.release()
