"""Retry: when a failed call is made again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paipa_etl.errors import PlanError, Skip, shown
from paipa_etl.threads.stop import Stopped

JITTER = 0.2  # of a delay, more or less: workers that failed together do not come back together
LONGEST = 60.0  # seconds between two attempts

RetryOn = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], Any]
OnRetry = Callable[[Exception, int, float], Any]


@dataclass(frozen=True)
class Retry:
    """Up to ``times`` further attempts, ``backoff`` seconds after the first and twice as long each.

    Nothing moves on meanwhile: the record keeps its worker and its place in the order.
    """

    times: int
    backoff: float = 0.1
    on: RetryOn = Exception
    hook: OnRetry | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.times, int) or self.times < 0:
            raise PlanError(f"retries is a whole number from 0, not {shown(self.times)}")
        if self.backoff < 0:
            raise PlanError(f"backoff is a number of seconds from 0, not {shown(self.backoff)}")
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(kind, type) for kind in kinds) and not callable(self.on):
            raise PlanError(f"retry_on takes exception types or a predicate, not {shown(self.on)}")

    def __str__(self) -> str:
        """The options as ``map`` takes them, without those that keep their defaults.

        >>> str(Retry(3, on=(OSError, ValueError)))
        'retries=3, retry_on=(OSError, ValueError)'
        """
        texts = [f"retries={self.times}"]
        if self.backoff != Retry.backoff:
            texts.append(f"backoff={self.backoff:g}")
        if isinstance(self.on, tuple):
            texts.append(f"retry_on=({', '.join(map(_name, self.on))})")
        elif self.on is not Exception:
            texts.append(f"retry_on={_name(self.on)}")
        if self.hook is not None:
            texts.append(f"on_retry={_name(self.hook)}")
        return ", ".join(texts)

    def delay(self, error: Exception, attempt: int) -> float | None:
        """The seconds to wait after a failed attempt (the first is 1); None: no other follows."""
        if attempt > self.times or isinstance(error, (Skip, Stopped)) or not self._wanted(error):
            return None
        seconds: float = min(self.backoff * 2 ** (attempt - 1), LONGEST)
        seconds *= 1 + random.uniform(-JITTER, JITTER)
        if self.hook is not None:
            self.hook(error, attempt, seconds)
        return seconds

    def _wanted(self, error: Exception) -> bool:
        if isinstance(self.on, (type, tuple)):
            return isinstance(error, self.on)
        return bool(self.on(error))


def _name(called: object) -> str:
    return str(getattr(called, "__name__", type(called).__name__))
