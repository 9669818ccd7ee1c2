"""Signals of the command: the first ends the run, Ctrl-C after it ends the process at once."""

from __future__ import annotations

import itertools
import os
import select
import signal
import sys
import types
from contextlib import suppress
from typing import NoReturn, Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOON = 0.01  # seconds after which an interrupt that came at a bad moment is raised
TRIES = 100  # so often at the most: a module of the user's may take for ever to import
LEFT_OVER = "temporary files and uploads may be left over, paipa-etl cleanup removes them"
IN_DOUBT = "an output was being published, and may be there"


class Interrupted(BaseException):
    """A signal asks the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Publication(Protocol):
    """How far publishing is."""

    @property
    def has_begun(self) -> bool:
        """Whether publishing has begun, of all outputs: an interrupt changes nothing any more."""

    @property
    def is_going_on(self) -> bool:
        """Whether an output is being published at this moment."""


class Nothing:
    """There is no output yet."""

    has_begun = is_going_on = False


class Signals:
    """The handlers. The first signal raises ``Interrupted`` in the main thread, once.

    Where that is lost, as in a callback of the cyclic collector, it is raised again. It is not
    raised once publishing has begun, nor when the run is ``over``. SIGINT after the
    first signal ends the process at once, unless the run is over by then; another SIGTERM or
    SIGHUP changes nothing.
    """

    def __init__(self) -> None:
        self.publication: Publication = Nothing()
        self.over = False
        """Whether the run has ended: its exit code is known."""
        self._first: int | None = None
        self._is_late = False
        """Whether an interrupt after the end of the run was ignored; the next one is obeyed."""
        self._raised = False
        self._tries = itertools.count()

    def install(self) -> None:
        """Handle the signals that are not set to be ignored: nohup keeps what it set."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        sys.unraisablehook = self._note_lost

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if number != signal.SIGALRM:
            if self._first is not None:
                if number == signal.SIGINT:
                    self._interrupted_again()
                return
            self._first = number
        assert self._first is not None
        if self.over or self._raised or self.publication.has_begun:
            return
        if is_bad_moment(frame) and next(self._tries) < TRIES:
            self._try_again()
            return
        self._raised = True
        raise Interrupted(self._first)

    def _try_again(self) -> None:
        signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, SOON)

    def _note_lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Python tells of an exception that nobody can catch."""
        if isinstance(lost.exc_value, Interrupted):
            self._raised = False
            self._try_again()
        else:
            sys.__unraisablehook__(lost)

    def _interrupted_again(self) -> None:
        """End the process; after the end of the run, only the next such interrupt does."""
        if self.over and not self._is_late:
            self._is_late = True
        else:
            self._end_at_once()

    def _end_at_once(self) -> NoReturn:
        state = IN_DOUBT if self.publication.is_going_on else LEFT_OVER
        if self.publication.has_begun and not self.publication.is_going_on:
            state = "the output is published"
        _say_at_once(f"paipa-etl: interrupted twice, ended at once: {state}\n")
        os._exit(128 + signal.SIGINT)


def _say_at_once(text: str) -> None:
    """Write to standard error where that does not wait; not through an object that is in use."""
    with suppress(OSError, ValueError):
        if select.select((), (2,), (), 0)[1]:
            os.write(2, text.encode())


def is_bad_moment(frame: types.FrameType | None) -> bool:
    """Whether a finalizer or an import is running, which must not be left in the middle."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
