"""Something that is done every so often beside a run, by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paipa_etl.background.threads import join, start, surely


class Ticking:
    """Calls something every so many seconds, until it is ended."""

    def __init__(self, action: Callable[[], None], seconds: float, name: str) -> None:
        self._action, self._seconds = action, seconds
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread = threading.Thread(target=self._work, name=f"paipa-{name}")

    def start(self) -> None:
        """Begin."""
        start(self._thread)

    def _work(self) -> None:
        while not self._bell.acquire(timeout=self._seconds):
            self._action()

    def end(self) -> None:
        """End, and wait for a call that is going on."""
        surely(self._ring)
        if self._thread.ident is not None:
            join(self._thread)

    def _ring(self) -> None:
        if self._bell.locked():
            self._bell.release()
