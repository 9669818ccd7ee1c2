"""Reporters that write lines: aligned ones for logs, and JSON, an object a line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from paipa_etl.debugger.reporter import Reporter
from paipa_etl.metrics.view import StepView, View

Column = tuple[str, Callable[[StepView, View], str]]


def seconds(value: float | None) -> str:
    """A time in a few characters.

    >>> [seconds(value) for value in (None, 0, 0.00000012, 0.0123, 0.9996, 5000)]
    ['', '0', '120ns', '12.3ms', '1.00s', '5,000s']
    """
    if value is None:
        return ""
    if not value:
        return "0"
    for unit, factor in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1.0)):
        if value * factor < 999.5:
            return f"{value * factor:.3g}{unit}" if unit != "s" else f"{value:.2f}s"
    return f"{value:,.0f}s"


def size(value: float | None) -> str:
    """A number of bytes in a few characters.

    >>> [size(value) for value in (None, 0, 999, 2_500_000, -3_000_000_000)]
    ['', '0', '999B', '2.5MB', '-3.0GB']
    """
    if value is None:
        return ""
    if not value:
        return "0"
    for unit, factor in (("B", 1), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if abs(value) < 1000 * factor or unit == "GB":
            return f"{value / factor:.0f}{unit}" if unit == "B" else f"{value / factor:.1f}{unit}"
    raise AssertionError


def cut(text: str, width: int) -> str:
    """A text that is no wider.

    >>> cut("map(something_long)", 10)
    'map(somet…'
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def spelled(text: str, encoding: str | None) -> str:
    """A text in what an encoding has, as wide as it was: what it lacks would be told in escapes.

    >>> spelled("12 µs, a long n…", "ascii")
    '12 us, a long n.'
    """
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        plain = text.translate({ord("µ"): "u", ord("…"): "."})
        return plain.encode(encoding, "replace").decode(encoding)


COLUMNS: list[Column] = [
    ("step", lambda step, view: cut(step.name, 40)),
    ("in", lambda step, view: f"{step.records_in:,}"),
    ("out", lambda step, view: f"{step.records_out:,}"),
    ("rec/s", lambda step, view: f"{step.records_out / view.seconds:,.0f}" if view.seconds else ""),
    ("time", lambda step, view: seconds(step.seconds)),
    ("share", lambda step, view: f"{step.share(view.seconds):.0%}"),
    ("cpu", lambda step, view: seconds(step.cpu)),
    ("waits in", lambda step, view: seconds(step.waited_in)),
    ("waits out", lambda step, view: seconds(step.waited_out)),
    ("median", lambda step, view: seconds(step.median)),
    ("p99", lambda step, view: seconds(step.p99)),
    ("queue", lambda step, view: queue_of(step, view)),
    ("memory", lambda step, view: size(step.memory_growth)),
]
ERRORS: list[Column] = [
    ("skipped", lambda step, view: f"{step.skipped:,}"),
    ("retried", lambda step, view: f"{step.retried:,}"),
]


def queue_of(step: StepView, view: View) -> str:
    """The records that wait before a step, and the most that did."""
    queue = view.queue_before(step)
    return "" if queue is None else f"{queue.records:,}/{queue.peak:,}"


def columns_of(view: View) -> list[Column]:
    """The columns of a table: those for errors only where there are any."""
    columns = list(COLUMNS)
    if any(step.workers for step in view.steps):
        columns.insert(1, ("workers", lambda step, view: str(step.workers or "")))
    if any(step.skipped or step.retried for step in view.steps):
        columns += ERRORS
    for name in view.source.counters:
        columns += _counter(name)
    return columns


def _counter(name: str) -> list[Column]:
    """The columns of one of the user's counters: in all, and for each record."""
    return [
        (name, lambda step, view: f"{step.counters.get(name, 0):,}"),
        (f"{name}/rec", lambda step, view: f"{step.per_record(name):.2g}"),
    ]


def table(view: View, columns: list[Column] | None = None) -> list[list[str]]:
    """A table as texts: the names of the columns, then a row for source, steps and sink."""
    columns = columns or columns_of(view)
    rows = [[text(step, view) for _, text in columns] for step in view.steps]
    return [[name for name, _ in columns], *rows]


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if not place else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class LogLines(Reporter):
    """Aligned lines, every so many seconds and at the end, then with the verdict."""

    def __init__(self, file: TextIO | None = None, every: float = 5.0) -> None:
        self._file, self.every = file, every

    def update(self, view: View) -> None:
        """The table as it is now."""
        self._write(view, [])

    def finish(self, view: View) -> None:
        """The table, and what it means."""
        self._write(view, str(view.verdict).splitlines())

    def _write(self, view: View, more: list[str]) -> None:
        head = f"{view.seconds:.1f} s, cpu {view.cpu:.1f} s, {size(view.memory)} resident"
        lines = [head, *aligned(table(view)), *more]
        # Looked up now: whoever replaces it means the lines too. One write: no other comes between.
        file = sys.stderr if self._file is None else self._file
        print(spelled("\n".join(lines), file.encoding), file=file, flush=True)


class JsonLines(Reporter):
    """A JSON object for each time it is told, without the samples; ``"finished"`` in the last."""

    def __init__(self, file: TextIO | None = None, every: float = 5.0) -> None:
        self._file, self.every = file, every

    def update(self, view: View) -> None:
        """The run as it is now."""
        import json  # here: most runs that are looked at are not told of in JSON

        told = view.to_dict()
        del told["samples"], told["machine"]
        file = sys.stderr if self._file is None else self._file
        print(json.dumps(told, ensure_ascii=False), file=file, flush=True)

    finish = update
