"""What fails in the tests of errors, and how long a run may take to say so."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from paipa_etl import steps

COUNT, AT = 60, 30
SOON = 2.0  # seconds


class Trouble:
    """Fails on one record; named as plans name an instance."""

    def __init__(self) -> None:
        self.error = KeyError("the one")
        self.calls = 0

    def __call__(self, n: int) -> Any:
        if n == AT:
            self.fail()
        return n or True

    def fail(self, *_: Any) -> Any:
        self.calls += 1
        raise self.error

    def items(self, n: int) -> Iterator[int]:
        self(n)
        yield n

    async def later(self, n: int) -> Any:
        return self(n)

    def checked(self, records: Iterable[int]) -> Iterator[int]:
        for record in records:
            self(record)
            yield record

    def source(self) -> Iterator[int]:
        yield from range(AT)
        self.fail()

    def resource(self, *, fails: str) -> Any:
        if fails == "setup":
            self.fail()
        yield None
        self.fail()


BEFORE = b"before\n"


def pause(_: object) -> None:
    time.sleep(0.001)


def paced(made: list[Any], pace: str) -> list[Any]:
    """Steps with all queues full when it happens, or with all of them empty."""
    slow = steps.tap(pause)
    return [*made, slow] if pace == "full" else [slow, *made]


@contextmanager
def soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON
