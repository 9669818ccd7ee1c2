"""The page: a run as one self-contained HTML document, readable in light and dark and on a phone.

Everything on it comes from a ``View``, which it carries as JSON too. No network, and what a
run was called is escaped before it gets there.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from itertools import pairwise
from string import Template
from typing import Any

from paipa_etl.debugger.lines import seconds, size
from paipa_etl.metrics.view import QueueView, StepView, View

CELLS = 120  # of a heat strip
WIDTH, HEIGHT = 1000, 100  # of a chart, in its own units


def page(view: View) -> str:
    """The document."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    counts = view.counts
    return template.substitute(
        title=text(f"{view.source.name} to {view.sink.name}"),
        started=text(view.started),
        headline=f"{counts['read']:,} records read, {counts['written']:,} written"
        f" in {view.seconds:.2f} s",
        failed=f'<p class="failed">failed: {text(view.failed)}</p>' if view.failed else "",
        verdict=_verdict(view),
        flow="".join(_stage(step, view) for step in view.steps),
        times=_times(view),
        throughput=_throughput(view),
        queues=_queues(view),
        percentiles=_percentiles(view),
        accounted="How far it came" if view.failed else "Every record accounted for",
        counts=_counts(view),
        plan=text(view.plan),
        machine=_machine(view),
        data=_data(view),
    )


def text(value: object) -> str:
    r"""Text for the page: escaped, and without control characters.

    >>> text("<b>\x1b[1m")
    '&lt;b&gt;�[1m'
    """
    shown = "".join(char if char.isprintable() or char == "\n" else "�" for char in str(value))
    return escape(shown)


def table(head: list[str], rows: list[list[str]], name: str) -> str:
    """A table of texts that are safe already; the first column names the row."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<table id="{name}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _verdict(view: View) -> str:
    verdict = view.verdict
    if verdict is None:
        return ""
    remarks = "".join(f"<p>{text(remark)}</p>" for remark in verdict.remarks)
    lever = f"<p><strong>What to do:</strong> {text(verdict.lever)}</p>"
    return f"<p><strong>{text(verdict.text)}</strong></p>{lever}{remarks}"


def _stage(step: StepView, view: View) -> str:
    share = step.share(view.seconds)
    workers = f", {step.workers} workers" if step.workers else ""
    return (
        f'<li style="--share: {max(share, 0.02):.3f}"><div class="box">{text(step.name)}'
        f"<b>{share:.0%}</b><span class='soft'>{step.records_out:,} out{workers}</span></div></li>"
    )


def _times(view: View) -> str:
    head = ["", "share of the time", "own", "processor", "waited for records", "for room"]
    for name in view.source.counters:
        head += [text(name), f"{text(name)} a record"]
    head += ["memory", "skipped", "retried"]
    rows = []
    for step in view.steps:
        row = [text(step.name), _bar(step, view), seconds(step.seconds), seconds(step.cpu)]
        row += [seconds(step.waited_in), seconds(step.waited_out)]
        for name, count in step.counters.items():
            row += [f"{count:,}", f"{step.per_record(name):.3g}"]
        row += [size(step.memory_growth), f"{step.skipped:,}", f"{step.retried:,}"]
        rows.append(row)
    return table(head, rows, "times") + _parts(view)


def _parts(view: View) -> str:
    """Of source and sink, the parts."""
    rows = [
        [text(step.name), *(seconds(step.parts.get(part, 0.0)) for part in PARTS)]
        for step in (view.source, view.sink)
    ]
    return table(["of these", *PARTS], rows, "parts")


PARTS = ("store", "codec", "format")


def _bar(step: StepView, view: View) -> str:
    """The time of a step as one bar: work of the processor, other work, both waits."""
    whole = view.seconds * max(step.workers, 1)
    cpu = min(step.cpu if step.cpu is not None else 0.0, step.seconds)
    pieces = [
        ("cpu", cpu),
        ("work", step.seconds - cpu),
        ("wait", step.waited_in),
        ("room", step.waited_out),
    ]
    scale = max(sum(value for _, value in pieces), whole) or 1.0
    inner = "".join(
        f'<i class="{name}" style="width: {100 * value / scale:.2f}%"></i>'
        for name, value in pieces
        if value > 0
    )
    label = f"{step.share(view.seconds):.0%} of the time at work"
    return f'<div class="bar" role="img" aria-label="{label}">{inner}</div>'


def _rates(at: list[float], column: list[float]) -> list[float]:
    """What a total grew by, a second, between one moment and the next."""
    return [
        (after - before) / max(later - earlier, 1e-9)
        for (earlier, later), (before, after) in zip(pairwise(at), pairwise(column), strict=True)
    ]


def _throughput(view: View) -> str:
    samples = view.samples
    at = samples.get("at", [])
    if len(at) < 2:
        return '<p class="soft">The run was too short for a curve.</p>'
    read = _rates(at, samples["records_read"])
    written = _rates(at, samples["records_written"])
    top = max([*read, *written, 1.0])
    lines = "".join(
        f'<polyline stroke="var(--{name})" points="{_points(at, rates, top)}"/>'
        for name, rates in (("read", read), ("written", written))
    )
    chart = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" tabindex="0"'
        f' role="img" aria-label="Records a second over time; arrow keys read it off"'
        f' aria-describedby="said">{lines}<line y1="0" y2="{HEIGHT}" visibility="hidden"/></svg>'
    )
    legend = (
        '<p class="legend"><i style="background: var(--read)"></i>read '
        '<i style="background: var(--written)"></i>written</p>'
    )
    return (
        f'<figure>{legend}<div class="axis soft"><span>{top:,.0f} records/s</span></div>{chart}'
        f'<div class="axis soft"><span>0 s</span><span>{at[-1]:.1f} s</span></div>'
        f'<figcaption id="said" aria-live="polite">{_mean(view)}</figcaption></figure>'
    )


def _mean(view: View) -> str:
    rate = view.counts["read"] / view.seconds if view.seconds else 0
    return f"on average {rate:,.0f} records/s read"


def _points(at: list[float], rates: list[float], top: float) -> str:
    middles = [(one + other) / 2 for one, other in pairwise(at)]
    return " ".join(
        f"{WIDTH * moment / at[-1]:.1f},{HEIGHT * (1 - rate / top) * 0.96 + 2:.1f}"
        for moment, rate in zip(middles, rates, strict=True)
    )


def _queues(view: View) -> str:
    if not view.queues:
        return '<p class="soft">No threads, no queues: one step at a time.</p>'
    strips = "".join(
        f"<figure><figcaption>{text(queue.name)} (from {text(queue.giver)})</figcaption>"
        f"{_strip(queue, fills)}</figure>"
        for queue, fills in zip(view.queues, _padded(view), strict=True)
    )
    head = ["", "most it held", "of", "full on average", "of the time full", "waited to give"]
    head.append("waited to take")
    rows = [
        [
            text(queue.name),
            f"{queue.peak:,}" if queue.limit else size(queue.peak_bytes),
            f"{queue.limit:,}" if queue.limit else size(queue.limit_bytes),
            f"{queue.occupancy:.0%}",
            f"{queue.full:.0%}",
            seconds(queue.waited_to_put),
            seconds(queue.waited_to_take),
        ]
        for queue in view.queues
    ]
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Queues in figures">'
    return f"{strips}{scroll}{table(head, rows, 'queue-figures')}</div>"


def _padded(view: View) -> list[list[float]]:
    columns = view.samples.get("queues", [])
    return [columns[n] if n < len(columns) else [] for n in range(len(view.queues))]


def _strip(queue: QueueView, fills: list[float]) -> str:
    """How full a queue was over time: the darker, the fuller."""
    width = max((len(fills) + CELLS - 1) // CELLS, 1)
    groups = [fills[start : start + width] for start in range(0, len(fills), width)]
    cells = "".join(
        f'<rect x="{place}" width="1.02" height="1" fill-opacity="{sum(group) / len(group):.2f}"/>'
        for place, group in enumerate(groups)
    )
    label = (
        f"{queue.name}: {queue.occupancy:.0%} full on average, full {queue.full:.0%} of the time"
    )
    return (
        f'<svg class="strip" viewBox="0 0 {max(len(groups), 1)} 1" preserveAspectRatio="none"'
        f' role="img" aria-label="{text(label)}">{cells}</svg>'
    )


def _percentiles(view: View) -> str:
    rows = [
        [text(step.name), seconds(step.median), seconds(step.p90), seconds(step.p99)]
        for step in view.steps
        if step.median is not None
    ]
    return table(["", "median", "90 of 100", "99 of 100"], rows, "percentiles")


def _counts(view: View) -> str:
    counts = view.counts
    rows = [
        [text(step.name), f"{step.records_in:,}", f"{step.records_out:,}"] for step in view.steps
    ]
    gone = ("written", "filtered", "skipped", "folded", "left_over")
    parts = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in gone if counts[name]]
    left = f"{counts['read']:,} read"
    left += f" + {counts['expanded']:,} expanded" if counts["expanded"] else ""
    if view.failed:
        sums = f"{left}, of which {', '.join(parts) or '0 written'}; the rest was on its way"
    else:
        sign = "=" if counts["balanced"] else "≠"
        sums = f"{left} {sign} {' + '.join(parts) or '0 written'}"
    steps = table(["", "records in", "records out"], rows, "records-in-and-out")
    more = ""
    if counts["errors"]:
        told = "".join(f"<li>{text(error)}</li>" for error in counts["errors"])
        more = f"<details><summary>What was skipped or failed</summary><ul>{told}</ul></details>"
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Counts">'
    sizes = f"{size(counts['bytes_in']) or '0'} in, {size(counts['bytes_out']) or '0'} out"
    return f'<p id="sum"><strong>{text(sums)}</strong>; {sizes}</p>{scroll}{steps}</div>{more}'


def _machine(view: View) -> str:
    told = {**view.machine, "processor time": f"{view.cpu:.2f} s", "memory": size(view.memory)}
    return table(["", ""], [[text(name), text(value)] for name, value in told.items()], "machine")


def _data(view: View) -> str:
    """The view as JSON that no browser takes for the end of the script."""
    told: dict[str, Any] = view.to_dict()
    return json.dumps(told, ensure_ascii=True).replace("<", "\\u003c")
