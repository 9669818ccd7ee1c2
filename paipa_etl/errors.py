"""The exceptions of this package, and how an exception is shown.

::

    PaipaError
    ├── PlanError               the plan cannot be run as it is written        exit 2
    │   └── MissingDependency   an optional package is not installed
    ├── InputError              input missing, denied, cut or damaged          exit 3
    │   ├── BrokenInput         its records cannot be told apart; names line and byte
    │   ├── DamagedInput        its bytes do not decode; names the byte
    │   └── InputUnavailable    given up on, and worth trying again later      exit 75
    ├── OutputError             the output could not be written or published   exit 6
    │   └── OutputUnavailable   given up on, and worth trying again later      exit 75
    ├── BadRecord               one record cannot be decoded or encoded        exit 1
    ├── ChangedRecord           a filter or tap changed the record it was given exit 1
    ├── FeedClosed              a feed takes no more records                   exit 1
    ├── ForkedChild             a forked child goes on with its parent's run   exit 1
    └── StuckWorker             a step does not return though its run ended    exit 1

An exception that a step raises is never wrapped: it surfaces as itself, with a
note that says where. ``Skip`` is no error: a function raises it to drop a record.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

SHOWN = 120  # bytes of a record or a name that an error message quotes


class PaipaError(Exception):
    """Every error of our own; ``exit_code`` is what the command line ends with."""

    exit_code = 1
    parameter: str | None = None
    """The keyword argument that may help; the command line adds its option."""

    def __init__(self, *args: Any, parameter: str | None = None) -> None:
        super().__init__(*args)
        if parameter is not None:
            self.parameter = parameter

    def __reduce__(self) -> tuple[Any, ...]:
        """Survives pickling, whatever its class takes to be made."""
        return (_unpickled, (type(self), self.args), self.__dict__)


def _unpickled(kind: type[PaipaError], args: tuple[Any, ...]) -> PaipaError:
    error = kind.__new__(kind)
    error.args = args
    return error


class PlanError(PaipaError, ValueError):
    """The plan cannot be run as it is written; nothing was read or written."""

    exit_code = 2


class MissingDependency(PlanError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional package: pip install 'paipa-etl[{extra}]'")


class InputError(PaipaError):
    """An input is missing, denied, cut, damaged or changed."""

    exit_code = 3


class DamagedInput(InputError):
    """Encoded bytes that do not decode, or end too early; ``byte`` counts encoded bytes."""

    def __init__(self, problem: str, byte: int, location: str = "") -> None:
        self.problem, self.byte, self.location = problem, byte, location
        super().__init__(problem, byte, location)

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return f"{where}{self.problem} (at byte {self.byte:,})"


class BrokenInput(InputError):
    """An input whose records cannot be told apart from a byte on; ``byte`` counts decoded bytes."""

    def __init__(self, problem: str, line: int, byte: int, location: str = "") -> None:
        self.problem, self.line, self.byte, self.location = problem, line, byte, location
        super().__init__(problem, line, byte, location)

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return f"{where}line {self.line:,}, byte {self.byte:,}: {self.problem}"


class InputUnavailable(InputError):
    """A remote input that failed in ways that pass: given up on, and worth trying again later."""

    exit_code = 75


class OutputError(PaipaError):
    """The output could not be opened, written or published; a previous one is untouched."""

    exit_code = 6


class OutputUnavailable(OutputError):
    """A remote output that failed in ways that pass: given up on, and worth trying again later."""

    exit_code = 75


class BadRecord(PaipaError, ValueError):
    """One record that cannot be decoded or encoded.

    ``problem`` says why, ``place`` where the record came from and ``raw`` what its bytes
    are, where they are known (of a record that could not be decoded).
    """

    def __init__(
        self,
        problem: str,
        place: object = None,
        raw: bytes | None = None,
        *,
        parameter: str | None = None,
    ) -> None:
        self.problem, self.place, self.raw = problem, place, raw
        super().__init__(problem, place, raw, parameter=parameter)

    def at(self, place: object, raw: bytes | None) -> BadRecord:
        """The same error with its place and the record's bytes."""
        return type(self)(self.problem, place, raw, parameter=self.parameter)

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place is not None else ""
        return f"{where}{self.problem}" + (f": {shown(self.raw)}" if self.raw is not None else "")


class ChangedRecord(PaipaError):
    """The function of a ``filter`` or ``tap`` changed its record; the change is not written."""

    def __init__(self) -> None:
        super().__init__(
            "filter and tap pass records on as they came: the function changed its record, and "
            "the change would not be written (map is for changes)"
        )


class StuckWorker(PaipaError):
    """A step's code does not return although its run has ended; the output was aborted.

    ``stacks`` tells where it is. Its thread lives on and holds up the interpreter's exit
    until that code returns. What ended the run is the ``__cause__``.
    """

    def __init__(self, names: list[str], seconds: float, stacks: str) -> None:
        super().__init__(
            f"{', '.join(names)}: still in a step {seconds:g} s after the run ended; "
            f"the output was aborted"
        )
        self.stacks = stacks


class FeedClosed(PaipaError):
    """A feed takes no more records: it was finished, or the run that read it has ended."""


class ForkedChild(PaipaError):
    """A forked child goes on with a run, or a sink, of its parent process.

    Only the process that began it reads on, writes and publishes.
    """

    def __init__(self, what: object, process: int) -> None:
        problem = f"belongs to process {process}, and this is a child forked from it"
        super().__init__(f"{what} {problem}: only that process reads on, writes and publishes")


class PaipaWarning(UserWarning):
    """Something that is not as it was said to be, and was dealt with."""


class Word(Exception):
    """What threads of ours tell one another by raising it; of a user's code it means nothing."""


class Skip(Exception):
    """Raised by a function of a step to drop the record it was given, counted as filtered."""


def shown(value: object, limit: int = SHOWN) -> str:
    """A short form of a value that is safe on a terminal: control characters escaped, cut.

    >>> shown("a" + chr(27) + "[2J") == "a" + chr(92) + "x1b[2J"
    True
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        text = bytes(value[: 4 * limit]).decode("utf-8", "backslashreplace")
    else:
        try:
            text = value if isinstance(value, str) else repr(value)
        except Exception as error:  # a repr of the user's own may fail, and must not hide the cause
            text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    safe = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit]
    )
    kept = safe.encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore")
    return kept + ("…" if len(text) > limit or kept != safe else "")


def print_traceback(error: BaseException) -> None:
    """Print an exception with its traceback to standard error."""
    import traceback  # here: most runs fail without one

    try:
        traceback.print_exception(error)
    except Exception:  # that module asks for the truth of an exception, which may raise
        traceback.print_tb(error.__traceback__)


class Note(str):
    """A note of this package, as distinct from the notes that a user's own code adds."""

    __slots__ = ()


def note(error: BaseException, where: str) -> None:
    """Say where an error happened, in place of what was said in an earlier run."""
    with suppress(Exception):  # an error that takes no notes is raised without one
        notes = getattr(error, "__notes__", [])
        notes[:] = [text for text in notes if not isinstance(text, Note)]
        error.add_note(Note(f"in {where}"))


def never_stop(error: Exception, name: str) -> Exception:
    """The error, or what stands for one that would end a stream: ``StopIteration`` (PEP 479)."""
    if not isinstance(error, (StopIteration, Word)):
        return error
    wrapped = RuntimeError(f"{name} raised {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


def describe(error: BaseException) -> str:
    """An error on one line, as the command line shows it: kind, message, where.

    >>> error = KeyError("name"); note(error, "map(f), record 3 of in.jsonl")
    >>> describe(error)
    "KeyError: 'name' (in map(f), record 3 of in.jsonl)"
    """
    try:
        message = shown(str(error), 2_000)
    except Exception as failure:  # an exception of the user's own whose __str__ raises
        message = f"<its message raised {type(failure).__name__}>"
    kind = "" if isinstance(error, PaipaError) else type(error).__name__
    text = f"{kind}: {message}" if kind and message else kind or message
    notes = getattr(error, "__notes__", ())
    places = [text for text in notes if isinstance(text, Note)] if isinstance(notes, list) else []
    where = shown("; ".join(places), 1_500)
    return f"{text} ({where})" if where else text
