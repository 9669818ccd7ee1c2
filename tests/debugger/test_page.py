"""The page, in a real browser: no error, the JSON's figures, by keyboard, readable, on a phone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import ROOT, SAMPLE

from paipa_etl import Pipeline, Report, read, steps
from paipa_etl.debugger import Debugger
from paipa_etl.debugger.lines import seconds

pytestmark = pytest.mark.keeps_descriptors

# A browser that asks nobody for anything.
WORDS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]

CONTRASTS = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parse(color).map((c) => {
      c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if ((parse(color)[3] ?? 1) > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest("script") || !e.getClientRects().length) continue;
    const [one, other] = [light(getComputedStyle(e).color), light(behind(e))];
    found.push([(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05),
                e.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


def keep(record: Any) -> bool:
    return bool(record["status"] < 400)


def judge(record: Any) -> Any:
    sum(range(500))
    return record


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A run with threads, a filter, compression: of everything something."""
    out = tmp_path_factory.mktemp("page") / "out.jsonl.gz"
    plan = read(SAMPLE) | steps.filter(keep) | steps.map(judge, workers=3)
    return type(plan)(plan.source, plan.steps, out).run(debugger=Debugger())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    chromium = servers.needs("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=WORDS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, report: Report, tmp_path: Path) -> Iterator[Any]:
    """What opens the page, so wide, in light or dark; whatever the console says is a failure."""
    path = tmp_path / "run.html"
    path.write_text(report.to_html(), encoding="utf-8")
    contexts, said = [], []

    def open_page(width: int = 1_400, scheme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def cells(page: Any, table: str) -> list[list[str]]:
    """The texts of a table's body."""
    rows = "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    found: list[list[str]] = page.eval_on_selector_all(f"#{table} tbody tr", rows)
    return found


def test_the_figures_on_it_are_those_of_the_report(opened: Any, report: Report) -> None:
    page, told = opened(), json.loads(json.dumps(report.to_dict()))
    debug = told["debug"]
    assert json.loads(page.text_content("#data")) == debug
    lines = debug["steps"]
    assert cells(page, "records-in-and-out") == [
        [line["name"], f"{line['records_in']:,}", f"{line['records_out']:,}"] for line in lines
    ]
    assert [line[0] for line in cells(page, "times")] == [line["name"] for line in lines]
    assert [line[2] for line in cells(page, "times")] == [seconds(x["seconds"]) for x in lines]
    assert [line[4] for line in cells(page, "times")] == [seconds(x["waited_in"]) for x in lines]
    assert cells(page, "percentiles") == [
        [x["name"], *(seconds(x[name]) for name in ("median", "p90", "p99"))]
        for x in lines
        if x["median"] is not None
    ]
    assert [line[0] for line in cells(page, "queue-figures")] == [
        x["name"] for x in debug["queues"]
    ]
    total = f"{told['read']:,} read = {told['written']:,} written + {told['filtered']:,} filtered"
    assert total in page.text_content("#sum")
    assert f"{told['read']:,} records read" in page.text_content("h1")
    assert debug["verdict"]["text"] in page.text_content("#verdict")
    assert debug["verdict"]["lever"] in page.text_content("#verdict")
    assert "filter(keep)" in page.text_content("#plan")


def test_the_width_of_a_stage_is_its_share(opened: Any, report: Report) -> None:
    page = opened()
    measure = "items => items.map(item => item.getBoundingClientRect().width)"
    widths = page.eval_on_selector_all(".flow li", measure)
    shares = [step.share(report.view.seconds) for step in report.view.steps]
    ranked = sorted(range(len(shares)), key=lambda place: shares[place])
    assert widths[ranked[-1]] == max(widths)
    assert len(page.query_selector_all(".strip")) == len(report.view.queues)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1_400])
def test_it_fits_and_can_be_read(opened: Any, width: int, scheme: str) -> None:
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 60
    assert min(contrasts)[0] >= 4.5, min(contrasts)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")


def test_it_can_be_used_by_keyboard(opened: Any) -> None:
    page = opened(400)
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement; return e.getAttribute('href') ||"
                " e.getAttribute('aria-label') || e.tagName; })()"
            )
        )
    parts = {f"#{name}" for name in ("flow", "time", "throughput", "queues", "records", "counts")}
    assert parts <= reached
    assert {"Times of each step", "Percentiles", "Queues in figures", "Counts"} <= reached
    for name in parts:
        assert page.query_selector(name) is not None
    page.focus(".chart")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = page.text_content("#said")
    page.keyboard.press("ArrowLeft")
    assert "records/s read" in page.text_content("#said") != before
    page.keyboard.press("Home")
    assert page.text_content("#said").startswith("at 0.")
    page.focus("[aria-label='Times of each step']")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_what_a_run_was_called_is_text_on_it(browser: Any, tmp_path: Path) -> None:
    def evil(record: Any) -> Any:
        return record

    evil.__name__ = "</script><script>document.title='got'</script><img src=x onerror=alert(1)>"
    report = (read(b"1\n2\n") | steps.map(evil)).run(debugger=Debugger())
    page = browser.new_page()
    page.set_content(report.to_html())
    assert page.title() != "got"
    assert page.query_selector("img") is None
    assert "onerror=alert(1)" in page.text_content("#flow")
    page.close()


def test_the_pictures_of_the_readme_can_be_made(browser: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "docs" / "pictures.py"), str(tmp_path)]
    subprocess.run(command, check=True)
    assert "map(enrich" in (tmp_path / "live-table.svg").read_text(encoding="utf-8")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    for name in ("live-table.svg", "page.png"):
        assert (ROOT / "docs" / name).is_file()
        assert f"](docs/{name})" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_of_a_failed_run_it_says_how_far_it_came() -> None:
    def fails(record: Any) -> Any:
        return 1 // (record - 70)

    debugger = Debugger()
    with pytest.raises(ZeroDivisionError):
        Pipeline(range(100), [steps.map(fails)], []).run(debugger=debugger)
    assert debugger.view is not None
    page = debugger.view.to_html()
    assert "How far it came" in page
    assert "Every record accounted for" not in page
    assert "71 read, of which 70 written; the rest was on its way" in page
    assert "ZeroDivisionError" in page
