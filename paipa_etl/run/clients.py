"""Clients: what stores keep open for a run: connections, sessions, made once and shared."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from paipa_etl.threads import forks

T = TypeVar("T")


class Clients:
    """Made when first asked for, by one thread at a time; closed together."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._made: dict[Hashable, Any] = {}
        self._closers: list[Callable[[], Any]] = []
        forks.own(self)

    def get(self, key: Hashable, make: Callable[[], T], close: Callable[[T], Any]) -> T:
        """What was made for a key, by this call or an earlier one."""
        with self._lock:
            if key not in self._made:
                made = make()
                self._made[key] = made
                self._closers.append(lambda: close(made))
            found: T = self._made[key]
            return found

    def disown(self) -> None:
        """In a forked child: the connections are the parent's."""
        forks.keep((self._made, self._closers))
        self._made, self._closers = {}, []

    def close(self) -> None:
        """Close all of them, the last one first."""
        with self._lock:
            closers, self._closers = self._closers, []
            self._made.clear()
        for close in reversed(closers):
            with contextlib.suppress(Exception):  # the connection is gone: so much the better
                close()
