"""Make the pictures of the README: the live table and the page of one real run.

    python docs/pictures.py            # into docs/, from fixtures/events.jsonl.gz
    python docs/pictures.py FOLDER

Needs rich, playwright and Debian's chromium (``pip install '.[test]'``).
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from rich.console import Console

from paipa_etl import Pipeline, Report, read, steps
from paipa_etl.debugger import Debugger
from paipa_etl.debugger.live import drawn

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "fixtures" / "events.jsonl.gz"
WIDTH = 128  # columns of the table
PAGE = {"width": 1_100, "height": 900}
WORDS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def ok(record: Any) -> bool:
    """Whether a request was answered."""
    return bool(record["status"] < 400)


def clean(record: Any) -> Any:
    """Work of the processor."""
    record["words"] = sorted(str(record))[:9]
    return record


def enrich(record: Any) -> Any:
    """What asks somebody else, and waits."""
    time.sleep(0.004)
    return record


def run() -> Report:
    """The run that is pictured, in the current directory."""
    source = read(SAMPLE.name) | steps.filter(ok) | steps.map(clean) | steps.map(enrich, workers=16)
    return Pipeline(source, [], "out.jsonl.zst").run(debugger=Debugger())


def table(report: Report, path: Path) -> None:
    """The live table, as rich draws it."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(drawn(report.view, WIDTH))
    console.print(str(report.view.verdict), markup=False, highlight=False)
    command = "paipa-etl events.jsonl.gz out.jsonl.zst --filter … --map … --map …@16 --debug"
    console.save_svg(str(path), title=command)


def page(report: Report, path: Path) -> None:
    """The top of the page, as a browser shows it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=WORDS)
        tab = browser.new_page(viewport=PAGE)
        tab.set_content(report.to_html())
        tab.screenshot(path=path)
        browser.close()


def main() -> None:
    """Make both."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        shutil.copy(SAMPLE, work)
        report = run()
    table(report, folder / "live-table.svg")
    page(report, folder / "page.png")


if __name__ == "__main__":
    main()
