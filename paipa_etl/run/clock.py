"""Clock: the time that steps wait by, so that a test can replace it by one that only counts."""

from __future__ import annotations

import time

from paipa_etl.threads.stop import Stop


class Clock:
    """Seconds from some moment on, and waiting for more of them to pass."""

    def now(self) -> float:
        """The seconds."""
        return time.perf_counter()

    def wait(self, seconds: float, stop: Stop) -> None:
        """Wait for some seconds; raises ``Stopped`` as soon as the run ends."""
        stop.wait(seconds)

    async def sleep(self, seconds: float) -> None:
        """The same for a coroutine, which is cancelled when the run ends."""
        import asyncio

        await asyncio.sleep(seconds)
