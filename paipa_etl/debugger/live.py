"""A live table in the terminal, drawn by rich; lines where rich or the terminal is missing."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from paipa_etl.debugger.lines import LogLines, aligned, columns_of, size, spelled, table
from paipa_etl.debugger.reporter import Reporter
from paipa_etl.metrics.view import View

# What is left out first where the terminal is narrow.
SPARE = ("memory", "p99", "waits out", "waits in", "cpu", "rec/s", "queue", "in", "median", "time")
NAME = 12  # columns of the screen that a step's name keeps at least


class LiveTable(Reporter):
    """A table that is redrawn four times a second, and stays when the run is over.

    Needs rich (``pip install 'paipa-etl[rich]'``) and a terminal; without, it is ``LogLines``.
    """

    every = 0.25

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self._live: Any = None
        self._lines: LogLines | None = None

    def begin(self, view: View) -> None:
        """Take the last lines of the terminal."""
        file = sys.stderr if self._file is None else self._file
        console = _console(file)
        if console is None:
            self._lines = LogLines(self._file)
            self.every = self._lines.every
            return
        from rich.live import Live

        self._live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")
        self._live.start()
        console.show_cursor(True)  # whatever ends this process must not leave it hidden

    def update(self, view: View) -> None:
        """Draw it anew."""
        if self._lines is not None:
            self._lines.update(view)
        elif self._live is not None:
            self._draw(view)

    def finish(self, view: View) -> None:
        """Leave the last table, and the verdict below."""
        if self._lines is not None:
            self._lines.finish(view)
        elif self._live is not None:
            self._draw(view)
            self._live.stop()
            console = self._live.console
            said = spelled(str(view.verdict), console.encoding)
            console.print(said, markup=False, highlight=False)

    def _draw(self, view: View) -> None:
        console = self._live.console
        self._live.update(drawn(view, console.width, console.encoding), refresh=True)


def _console(file: TextIO) -> Any:
    """Rich's console on a terminal; None where there is no terminal that can be drawn on."""
    if not file.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(file=file, highlight=False)
    return None if console.is_dumb_terminal else console


def fitted(view: View, width: int) -> list[list[str]]:
    """The table with as many columns as fit; names of steps are cut where that is not enough."""
    columns = columns_of(view)
    for name in ("", *SPARE):
        columns = [column for column in columns if column[0] != name]
        rows = table(view, columns)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rest = sum(widths[1:]) + 2 * (len(widths) - 1)
        if rest + min(widths[0], NAME) <= width:
            break
    room = max(width - rest, 1)
    return [[row[0] if len(row[0]) <= room else row[0][: room - 1] + "…", *row[1:]] for row in rows]


def drawn(view: View, width: int, encoding: str = "utf-8") -> Any:
    """The table as rich draws it: what is at work most stands out."""
    from rich.text import Text

    rows = fitted(view, width)
    most = max(range(len(view.steps)), key=lambda place: view.steps[place].share(view.seconds))
    head = f"{view.seconds:.1f} s, {view.counts['read']:,} read, {view.counts['written']:,} written"
    lines = [Text(f"{head}, {size(view.memory)}"[:width], style="dim")]
    for place, line in enumerate(aligned(rows)):
        style = "bold" if not place else ("bold yellow" if place - 1 == most else "")
        line = spelled(line, encoding)
        lines.append(Text(line, style=style, no_wrap=True, overflow="crop"))
    return Text("\n").join(lines)
