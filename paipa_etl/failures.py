"""Failures: what went wrong with one record and where, and the one decision what that means.

A decoder or an encoder knows no input names and no record numbers: it reports a ``Fault``.
A runner, which numbers the blocks of an input in order, completes it to a ``Failure``.
``ErrorPolicy.decide`` is the only place where it is decided what a bad record means.
Messages are made from a failure at the very end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

from paipa_etl.errors import BadRecord, PlanError, describe, note, shown

KEPT = 5  # failures of skipped records that are kept for the report
KEPT_RAW = 1024  # raw bytes of each of them


@dataclass(frozen=True, slots=True)
class Place:
    """Where one record came from; counts from 1, except ``offset``.

    ``line`` is a physical line: blank lines count. ``offset`` counts decoded bytes of the
    input. What is not known is None: records of an iterable have a number only.
    """

    record: int
    input: str | None = None
    line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        text = f"record {self.record:,}"
        if self.input is not None:
            text += f" of {self.input}"
        known = [f"line {self.line:,}"] if self.line is not None else []
        known += [f"byte {self.offset:,}"] if self.offset is not None else []
        return f"{text} ({', '.join(known)})" if known else text


class InFlight(NamedTuple):
    """Where the record came from that a thread works on, and its raw bytes; None: not known."""

    place: Place | None
    raw: bytes | None = None


class Fault(NamedTuple):
    """A record of a block that could not be decoded: ``at`` is its index, and why."""

    at: int
    error: BadRecord
    raw: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """One record that failed; ``stage`` is the step or "the sink", empty for decoding.

    ``raw`` is the record's bytes in the input, where they are known.
    """

    error: BaseException
    stage: str = ""
    place: Place | None = None
    raw: bytes | None = None
    attempts: int = 1

    @property
    def where(self) -> str:
        """The stage and the place, as a note of the error says them."""
        return ", ".join(str(part) for part in (self.stage, self.place) if part)

    def raise_error(self) -> NoReturn:
        """Raise the error: a decoding error with its place, any other as itself with a note."""
        error = self.error
        if not self.stage and isinstance(error, BadRecord):
            raise error.at(self.place, self.raw) from None
        note(error, self.where)
        raise error

    def kept(self) -> Failure:
        """The failure in bounded memory: no traceback, and not all raw bytes."""
        error: BaseException | None = self.error
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            error = error.__context__ if error.__cause__ is None else error.__cause__
        return replace(self, raw=self.raw and self.raw[:KEPT_RAW])

    def __str__(self) -> str:
        error = self.error
        if not self.stage and isinstance(error, BadRecord):
            return shown(str(error.at(self.place, self.raw)), 2_000)
        return f"{self.where}: {describe(error)}" if self.where else describe(error)


class ErrorPolicy:
    """Decides on every failed record: of decoding, of a step's function, of encoding.

    ``fail`` raises the error; ``skip`` counts the record and goes on. The first few
    failures are kept, so that a report can name them.
    """

    ACTIONS = ("fail", "skip")

    def __init__(self, action: str = "fail") -> None:
        if action not in self.ACTIONS:
            raise PlanError(f"on_error is one of {', '.join(self.ACTIONS)}, not {action!r}")
        self.action = action
        self.failures: list[Failure] = []
        self._settled: list[BaseException] = []

    @property
    def fails(self) -> bool:
        """Whether the first failed record ends the run."""
        return self.action == "fail"

    def settle(self, error: BaseException) -> None:
        """Note that an error ends the run, or a part of it: nobody else decides on it."""
        if not self.is_settled(error):
            self._settled.append(error)

    def is_settled(self, error: BaseException) -> bool:
        """Whether somebody further up has decided on this very error."""
        return any(error is settled for settled in self._settled)

    def decide(self, failure: Failure) -> None:
        """Raise the error of the failure, saying where; or return: then the record is skipped."""
        if self.fails:
            self.fail(failure)
        if len(self.failures) < KEPT:
            self.failures.append(failure.kept())

    def fail(self, failure: Failure) -> NoReturn:
        """Raise the error of the failure, whatever the policy is; notes where, once."""
        if self.is_settled(failure.error):
            raise failure.error
        try:
            failure.raise_error()
        except BaseException as error:
            self.settle(error)
            raise
