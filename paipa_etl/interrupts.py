"""Interrupts: holding signals back while something must not be left half done."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held_back() -> Generator[None, None, None]:
    """Have interrupts come behind the block. Threads that it starts never get any."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Each call handles what came before it: one that raises must not leave them blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
