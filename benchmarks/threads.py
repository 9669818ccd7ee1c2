"""Compare threaded steps with peers, side by side in one run, and say which promises hold.

    python benchmarks/threads.py                                 # everything, about 15 minutes
    python benchmarks/threads.py --jobs cheap wait --rounds 1    # a quick look
    python benchmarks/threads.py --jobs wait --only queue bare

Prints Markdown. Ends with 1 when a must is not met, and lists which. See README.md beside it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from compare import conclude, machine
from contest import note
from jobs import Must
from thread_contest import Row, contested, waited
from thread_jobs import BEST, JOBS, Job
from thread_peers import OURS
from tools import as_installed, versions

PACKAGES = "paipa-etl paipa pypeln python-pyper streamable spdl_core"
NAMES = [job.name for job in JOBS]


def main() -> int:
    """Run what is asked for; give the exit code."""
    args = arguments()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # each table at once
    as_installed()
    about = machine(versions(PACKAGES, ()))
    print(" · ".join(f"{key} {value}" for key, value in about.items()))
    found = [compare(job, args) for job in JOBS if job.name in args.jobs]
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "jobs": found}, indent=1) + "\n")
    return conclude(found)


def compare(job: Job, args: argparse.Namespace) -> dict[str, Any]:
    """Run one job, print its table and give all of it as plain data."""
    print(f"\n### {job.name}: {job.title}\n", flush=True)
    rows = waited(job, args.rounds) if job.waits else contested(job, args.only, args.rounds)
    unmet, unjudged = judged(job, rows)
    print((waits_table(rows) if job.waits else table(job, rows)) + "\n")
    for must in job.musts:
        print(f"- must: {must}")
    for text in unmet:
        print(f"- **not met**: {text}")
    for text in unjudged:
        print(f"- not judged: {text}")
    if not unmet + unjudged:
        print("- met")
    plain = [{"name": row.name, "remark": row.remark, "runs": row.runs} for row in rows]
    return {"name": job.name, "rows": plain, "unmet": unmet, "not_judged": unjudged}


def judged(job: Job, rows: list[Row]) -> tuple[list[str], list[str]]:
    """Hold our medians against the musts: those not met, and those that cannot be judged."""
    ours = next(row for row in rows if row.name == OURS)
    if not ours.counts:
        return [f"our own run: {ours.remark}"], []
    unmet, unjudged = [], []
    for must in job.musts:
        if not isinstance(must, Must):
            if ours.figure(must.figure) > must.most:
                unmet.append(f"{must} (is {ours.figure(must.figure):.2f})")
            continue
        other = rival(must.peer, rows)
        if other is None or not other.counts:
            unjudged.append(f"{must} ({other.remark if other else 'did not take part'})")
            continue
        # Not everyone was given as many records: what counts is the time for each.
        mine, theirs = 1 / ours.figure("rate"), 1 / other.figure("rate")
        if not must.met(mine, theirs):
            who = f", {other.name}" if must.peer == BEST else ""
            unmet.append(f"{must} (is {must.ratio(mine, theirs):.3f}{who})")
    if job.aim and not unmet and ours.figure("rate") < job.aim:
        note(f"{job.name}: met, short of the aim of {job.aim:,} records/s")
    return unmet, unjudged


def rival(name: str, rows: list[Row]) -> Row | None:
    """Find the row a must is held against; that of the best peer is the quickest one's."""
    if name != BEST:
        return next((row for row in rows if row.name == name), None)
    peers = [row for row in rows if row.peer and row.counts]
    return max(peers, key=lambda row: row.figure("rate"), default=None)


def table(job: Job, rows: list[Row]) -> str:
    """Give rows as a Markdown table; how many times their speed ours is comes second."""
    ours = next((row.figure("rate") for row in rows if row.name == OURS and row.counts), None)
    lines = [
        "| who | records/s | ours is | wall s | CPU s | peak MB | records | order | runs |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        name = f"**{row.name}**" if row.name == OURS else row.name
        if not row.counts:
            lines.append(f"| {name} | | | | | | | {row.remark} | |")
            continue
        rate = row.figure("rate")
        speed = f"{rate:,.0f} | {f'{ours / rate:.2f}x' if ours else ''}"
        cost = f"{row.figure('wall'):.2f} | {row.figure('cpu'):.2f} | {row.figure('peak MB'):.0f}"
        order = "kept" if row.ordered or job.workers == 1 else "not kept"
        lines.append(f"| {name} | {speed} | {cost} | {row.records:,} | {order} | {len(row.runs)} |")
    return "\n".join(lines)


def waits_table(rows: list[Row]) -> str:
    names = next((list(row.runs[0]) for row in rows if row.counts), [])
    lines = [f"| who | {' | '.join(names)} | runs |", f"|---|{'---:|' * len(names)}---:|"]
    for row in rows:
        name = f"**{row.name}**" if row.name == OURS else row.name
        figures = " | ".join(f"{row.figure(figure):.2f}" for figure in names)
        lines.append(f"| {name} | {figures if row.counts else row.remark} | {len(row.runs)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="measured rounds after the first (%(default)s)")
    add("--jobs", nargs="+", choices=NAMES, default=NAMES, metavar="JOB", help=", ".join(NAMES))
    add("--only", nargs="+", default=[], metavar="NAME", help="these others only (parts of names)")
    add("--json", type=Path, metavar="FILE", help="write everything there as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
