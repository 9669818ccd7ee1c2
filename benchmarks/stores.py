"""Compare what goes to stores and comes from them with peers, and say which promises hold.

    python benchmarks/stores.py                             # everything, about 30 minutes
    python benchmarks/stores.py --jobs read many --rounds 1 # a quick look
    python benchmarks/stores.py --jobs many --only obstore  # ourselves and these

Starts a real S3 gateway (Ceph's) and OpenSSH's sshd, on loopback, and stops them. Prints Markdown.
Ends with 1 when a must is not met, and lists which. See README.md beside it.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from compare import conclude, machine
from contest import note
from jobs import Data, Must
from store_jobs import JOBS, PLACES_HERE, PLAIN, Against, Job
from store_run import CannotRunError, Contest, Row
from store_servers import CEPH, for_clients, gateway, httpfs, lacking, sshd, venv_with
from tools import OURS, as_installed, versions

PACKAGES = "paipa-etl boto3 obstore smart_open asyncssh paramiko orjson isal"
PROGRAMS = ("rclone", "radosgw")
NAMES = list(dict.fromkeys(job.name for job in JOBS))
DISK = 40 << 30  # bytes that the gateway's disk may grow to; what is deleted stays for hours


def main() -> int:
    """Run what is asked for; give the exit code."""
    args = arguments()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # each table at once
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped then too
    args.data.mkdir(parents=True, exist_ok=True)
    jobs = [job for job in JOBS if job.name in args.jobs and (job.quick or not args.quick)]
    as_installed()
    about = machine(versions(PACKAGES, PROGRAMS))
    print(" · ".join(f"{key} {value}" for key, value in about.items()))
    places = places_for(jobs, args)
    with ExitStack() as stack:
        servers = Servers(args.data, stack)
        found = [compare(job, places, servers, args) for job in jobs]
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "jobs": found}, indent=1) + "\n")
    return conclude(found)


class Servers:
    """The servers that jobs have asked for, started once; the stack stops them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._endpoints: dict[str, str] = {}
        self._sshd = False

    def serve(self, job: Job) -> None:
        """Have what a job needs, and say so in the environment of its processes."""
        needed = CEPH if job.endpoint else ("sshd", "ssh-keygen")
        if lacks := lacking(needed):
            raise CannotRunError(f"missing: {lacks}")
        if job.endpoint:
            if not self._endpoints:
                note("starting the gateway")
                self._endpoints = self._stack.enter_context(gateway(self._folder, DISK))
            for_clients(self._endpoints[job.endpoint])
        elif not self._sshd:
            os.environ |= self._stack.enter_context(sshd(self._folder))
            self._sshd = True


def places_for(jobs: list[Job], args: argparse.Namespace) -> dict[str, str]:
    """Give what stands for the braces of command lines; makes the data and the interpreters."""
    data = Data(args.data, PLAIN, None)
    lines = " ".join(command for job in jobs for command in (*job.prepare, job.check))
    places = {**PLACES_HERE, "ours": args.command, "folder": str(args.data)}
    if "{events}" in lines:
        places["events"] = str(data.file("events", ".jsonl"))
    if "{events_gz}" in lines:
        places["events_gz"] = str(data.file("events", ".gz"))
    needed = {way.needs for job in jobs for way in job.ways}
    places["s3fs"] = venv_with(args.data, "s3fs") if "s3fs" in needed else ""
    places["httpfs"] = httpfs(args.data) if "httpfs" in needed else ""
    return places


def compare(
    job: Job, places: dict[str, str], servers: Servers, args: argparse.Namespace
) -> dict[str, Any]:
    """Run one job, print its table and give all of it as plain data."""
    print(f"\n### {job.name}: {job.title}\n", flush=True)
    try:
        servers.serve(job)
        rows = Contest(job, args.data, places).rows(args.only, args.rounds)
    except CannotRunError as error:
        print(f"Not run: {error}.")
        return {"name": job.name, "rows": [], "unmet": [], "not_judged": [str(error)]}
    unmet, unjudged = judged(job, rows)
    print(table(job, rows) + "\n")
    for must in job.musts:
        print(f"- must: {must}")
    for text in unmet:
        print(f"- **not met**: {text}")
    for text in unjudged:
        print(f"- not judged: {text}")
    if not unmet + unjudged:
        print("- met")
    plain = [
        {"name": row.name, "remark": row.remark, "records": row.records, "runs": row.runs}
        for row in rows
    ]
    return {"name": job.name, "title": job.title, "rows": plain, "unmet": unmet,
            "not_judged": unjudged}  # fmt: skip


def judged(job: Job, rows: list[Row]) -> tuple[list[str], list[str]]:
    """Hold our figures against the musts: those not met, and those that cannot be judged."""
    by_name = {row.name: row for row in rows}
    unmet: list[str] = []
    unjudged: list[str] = []
    for must in job.musts:
        ours = by_name[must.who if isinstance(must, Against) else OURS]
        if not ours.counts:
            failed = ours.remark.startswith(("FAILED", "WRONG"))
            (unmet if failed else unjudged).append(f"{must} ({ours.name}: {ours.remark})")
        elif not isinstance(must, Must):
            if ours.figure(must.figure) > must.most:
                unmet.append(f"{must} (is {ours.figure(must.figure):.0f})")
        else:
            peer = by_name.get(must.peer)
            if peer is None or not peer.counts:
                unjudged.append(f"{must} ({peer.remark if peer else 'did not take part'})")
                continue
            mine, theirs = ours.figure(must.figure), peer.figure(must.figure)
            if not must.met(mine, theirs):
                unmet.append(f"{must} (is {must.ratio(mine, theirs):.2f})")
    return unmet, unjudged


def table(job: Job, rows: list[Row]) -> str:
    """Give rows as a Markdown table; how many times their speed ours is comes second."""
    ours = next((row.figure("rate") for row in rows if row.name == OURS and row.counts), None)
    lines = [
        f"| who | {job.unit} | ours is | wall s | CPU s | peak MB | records | runs |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        name = f"**{row.name}**" if row.way.ours else row.name
        if not row.counts:
            lines.append(f"| {name} | | | | | | {row.remark} | |")
            continue
        rate = row.figure("rate")
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        times = f"{ours / rate:.2f}x" if ours else ""
        cost = f"{row.figure('wall'):.2f} | {row.figure('cpu'):.2f} | {row.figure('peak'):.0f}"
        lines.append(f"| {name} | {speed} | {times} | {cost} | {row.records} | {len(row.runs)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="measured rounds after the first (%(default)s)")
    add("--jobs", nargs="+", choices=NAMES, default=NAMES, metavar="JOB", help=", ".join(NAMES))
    add("--only", nargs="+", default=[], metavar="NAME", help="these peers only (parts of names)")
    add("--quick", action="store_true", help="without the 5 GB of `huge`")
    add("--json", type=Path, metavar="FILE", help="write everything there as well")
    add("--data", type=Path, default=Path(tempfile.gettempdir()) / "paipa-etl-bench")
    ours = shlex.join([sys.executable, "-m", "paipa_etl"])
    add("--command", default=ours, help="our command (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
