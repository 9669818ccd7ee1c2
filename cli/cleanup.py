"""The command ``paipa-etl cleanup``: list and remove what killed runs left over."""

from __future__ import annotations

import argparse
import re
import sys
import time

from paipa_etl.cli.signals import Signals
from paipa_etl.location import parse
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
DESCRIPTION = """\
Remove what killed runs left over: uploads that were neither completed nor aborted (s3://), and
temporary files (local paths, sftp://). URL may be a bucket, a prefix or an object. Uploads of other
programs that are old enough are removed too."""


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends with help or a complaint."""
    parser = argparse.ArgumentParser(
        "paipa-etl cleanup",
        usage="paipa-etl cleanup [options] URL",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("url", metavar="URL")
    add("--min-age", type=age, default=86_400, metavar="AGE", help="24h; leave younger ones alone")
    add("-n", "--dry-run", action="store_true", help="list them, remove nothing")
    add("--endpoint-url", metavar="URL", help="the address of the store")
    add("--insecure", action="store_true", help="trust any certificate and host key")
    add("-v", "--verbose", action="count", default=0, help="-vv: tracebacks")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """List, and remove unless it is a dry run."""
    from paipa_etl.stores.cleaning import Leftovers

    clients = Clients()
    options = StoreOptions(endpoint_url=arguments.endpoint_url, insecure=arguments.insecure)
    found = 0
    try:
        leftovers = Leftovers(parse(arguments.url), options, clients)
        for upload in leftovers:
            old = time.time() - (upload.begun or 0)
            if old < arguments.min_age:
                continue
            found += 1
            print(f"{upload.location}\t{old / 3_600:.1f} h old", flush=True)
            if not arguments.dry_run:
                leftovers.drop(upload)
    finally:
        clients.close()
    done = "found" if arguments.dry_run else "removed"
    print(f"paipa-etl: {found:,} {done}", file=sys.stderr)
    return 0


def age(text: str) -> float:
    """A number of seconds: 90, 90s, 30m, 24h, 7d.

    >>> age("30m")
    1800.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.lower())
    if not found:
        raise argparse.ArgumentTypeError(f"not an age (90, 30m, 24h, 7d): {text!r}")
    return float(found[1]) * UNITS[found[2] or "s"]
