"""The live table in a real terminal: drawn, resized, narrow, interrupted, without colour."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import COMMAND, SAMPLE

from paipa_etl import Pipeline, steps
from paipa_etl.debugger import Debugger, LiveTable

SLOW = "import time\ndef enrich(record):\n    time.sleep(0.02)\n    return record\n"


NUMBERS = count()


class Terminal:
    """tmux, with one window of our own.

    Each has a server, and so a name, of its own: one that is still ending takes no new session.
    """

    def __init__(self, folder: Path, width: int, height: int = 24, **variables: str) -> None:
        tmux, socket = servers.needs("tmux", "tmux"), f"paipa-{os.getpid()}-{next(NUMBERS)}"
        self._tmux = [tmux, "-L", socket, "-f", "/dev/null"]
        self._folder, self._size = folder, (width, height)
        self._variables = {"TERM": "xterm-256color", **variables}
        self._begun = False

    def run(self, *words: str) -> str:
        """What a command of tmux's prints; it must not fail."""
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, check=False, cwd=self._folder, text=True
        )
        assert done.returncode == 0, f"tmux {' '.join(words)}: {done.stderr or done.returncode}"
        return done.stdout

    def start(self, *words: str) -> None:
        """Run the command; its exit code is shown behind it."""
        told = " ".join(f"'{word}'" for word in (*COMMAND, *words))
        set_up = " ".join(f"{name}={value}" for name, value in self._variables.items())
        command = f"env -u COLUMNS -u LINES {set_up} {told}; echo code $?; exec cat"
        width, height = map(str, self._size)
        self.run("new-session", "-d", "-x", width, "-y", height, command)
        self._begun = True

    def end(self) -> None:
        """End the server, where it was started."""
        if self._begun:
            self._begun = False
            self.run("kill-server")

    def screen(self, *words: str) -> str:
        """What is on the screen, and what has left it at the top."""
        return self.run("capture-pane", "-p", "-S", "-200", *words)

    def until(self, seen: Callable[[str], bool]) -> str:
        """The screen, when it is as it should be."""
        deadline = time.monotonic() + 30
        while not seen(screen := self.screen()):
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)
        return screen


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Terminals, of any width."""
    (tmp_path / "slow.py").write_text(SLOW)
    opened: list[Terminal] = []

    def open_terminal(width: int, **variables: str) -> Terminal:
        opened.append(Terminal(tmp_path, width, **variables))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.end()


def test_one_terminal_follows_the_other_at_once(terminal: Any) -> None:
    """A server that is told to end is still there for a moment."""
    for _ in range(20):
        here = terminal(80)
        here.start("--version")
        assert here.run("display-message", "-p", "#{window_width}").strip() == "80"
        here.end()


def test_what_tmux_refuses_is_told(terminal: Any) -> None:
    with pytest.raises(AssertionError, match="tmux no-such-command: "):
        terminal(80).run("no-such-command")


def words(limit: int = 150) -> list[str]:
    run = (str(SAMPLE), "out.jsonl", "--map", "slow.py:enrich@2", "--limit", str(limit))
    return [*run, "--debug"]


def drawn(screen: str) -> bool:
    return "map(enrich" in screen and "share" in screen


def test_it_is_drawn_and_stays_with_the_verdict(terminal: Any) -> None:
    here = terminal(140)
    here.start(*words())
    first = here.until(drawn)
    assert "what to do" not in first
    here.until(lambda screen: screen != first and drawn(screen))
    last = here.until(lambda screen: "code 0" in screen)
    assert last.count("waits in") == 1, "drawn over itself, not one below the other"
    assert "it waits" in last
    assert "what to do: more workers" in last
    assert here.screen("-e").count("\x1b[") > 2


def test_it_follows_the_size_of_the_window(terminal: Any) -> None:
    here = terminal(140)
    here.start(*words())
    here.until(lambda screen: drawn(screen) and "waits in" in screen)
    here.run("resize-window", "-x", "50")

    def is_narrow(screen: str) -> bool:
        heads = [line for line in screen.splitlines() if "share" in line]
        return bool(heads) and "waits in" not in heads[-1]

    narrow = here.until(is_narrow)
    assert max(map(len, narrow.splitlines())) <= 50
    here.until(lambda screen: "code 0" in screen)


def test_a_narrow_window_has_what_matters(terminal: Any) -> None:
    here = terminal(32)
    here.start(*words(60))
    here.until(lambda screen: "map(enrich" in screen and "share" in screen)
    last = here.until(lambda screen: "code 0" in screen)
    assert "out" in last


def test_interrupted_it_leaves_the_terminal_as_it_was(terminal: Any) -> None:
    here = terminal(120)
    here.start(*words(5_000))
    here.until(drawn)
    here.run("send-keys", "C-c")
    last = here.until(lambda screen: "code 130" in screen)
    assert "interrupted before the end of the run" in last
    assert "Traceback" not in last
    assert here.run("display-message", "-p", "#{cursor_flag}").strip() == "1", "the cursor is back"


def test_without_colour(terminal: Any) -> None:
    here = terminal(120, NO_COLOR="1")
    here.start(*words(60))
    here.until(lambda screen: "code 0" in screen)
    assert not any(f"\x1b[{code}m" in here.screen("-e") for code in (31, 32, 33, 34, 36, 93))
    assert drawn(here.screen())


def test_a_terminal_without_all_characters_is_drawn_over_as_well(terminal: Any) -> None:
    """What it lacks was told in escapes, which made the lines longer than the window."""
    here = terminal(80, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    here.start(*words())
    last = here.until(lambda screen: "code 0" in screen)
    assert last.count("share") == 1, "drawn over itself, not one below the other"
    assert "\\x" not in last
    assert "\\u" not in last
    assert "what to do" in last


def test_a_terminal_that_cannot_be_drawn_on_gets_lines(terminal: Any) -> None:
    here = terminal(200, TERM="dumb")
    here.start(*words(60))
    last = here.until(lambda screen: "code 0" in screen)
    assert drawn(last)
    assert "resident" in last


def test_without_a_terminal_or_rich_it_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setitem(sys.modules, "rich.console", None)
    for file in (io.StringIO(), Tty()):
        Pipeline(range(5), [steps.map(str)], []).run(debugger=Debugger([LiveTable(file)]))
        assert "resident" in file.getvalue()
        assert "\x1b" not in file.getvalue()
