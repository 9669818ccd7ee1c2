"""Time the compiled kernel of JSON against its plain-Python form, and say whether it is worth it.

    python benchmarks/kernel.py
    python benchmarks/kernel.py events.jsonl.gz --rounds 20

Both are given the same blocks, in turn; the best round counts. Rates are MB of JSON Lines a second,
also for what is given decoded records. Ends with 1 when a function is less than 1.5
times as fast as its plain form, and with 2 when there is no compiled kernel.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paipa_etl.formats.json_text import decode, encode_line
from paipa_etl.formats.kernels import _scan_python as plain
from paipa_etl.formats.line_reader import LineReader, split_lines
from paipa_etl.records.blocks import BLOCK, MAX_RECORD, Limits

SAMPLE = Path(__file__).resolve().parent.parent / "fixtures" / "events.jsonl.gz"
LEAST = 1.5  # below this the kernel goes: the plain form is there anyway

Function = Callable[..., object]


def main() -> int:
    """Time each function of the kernel; give the exit code."""
    args = arguments()
    try:
        from paipa_etl.formats.kernels import _scan as kernel
    except ImportError:
        print("The kernel is not compiled: nothing to compare.", file=sys.stderr)
        return 2
    blocks = blocks_of(args.file)
    records = [decode(line) for block in blocks for line in split_lines(block)]
    size = sum(map(len, blocks))
    print(f"{size / 1e6:.1f} MB in {len(blocks)} blocks, {len(records):,} records\n")
    print("| function | compiled MB/s | plain MB/s | ratio |\n|---|---:|---:|---:|")
    slow = []
    written = [(encode_line(record), record) for record in records]
    jobs: tuple[tuple[str, Sequence[Any]], ...] = (
        ("count_valid", [(block,) for block in blocks]),
        ("needs_care", [(block,) for block in blocks]),
        ("holds_nan", written),
        ("is_finite", [(record,) for record in records]),
    )
    for name, items in jobs:
        pair = getattr(kernel, name), getattr(plain, name)
        ours, theirs = (size / 1e6 / best for best in timed(pair, items, args.rounds))
        print(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f} |")
        if ours / theirs < LEAST:
            slow.append(name)
    print(f"\nA function below {LEAST}x is to be dropped: {', '.join(slow) or 'none is'}.")
    return 1 if slow else 0


def blocks_of(path: Path) -> list[bytes]:
    """Cut the lines of a gzip file into blocks, as a run does."""
    import gzip

    with gzip.open(path) as file:
        return [block.data for block in LineReader(Limits(MAX_RECORD, BLOCK)).cut([file.read()])]


def timed(functions: Sequence[Function], items: Sequence[Any], rounds: int) -> list[float]:
    """Give the best seconds of each function over all items; they must agree on every one."""
    for item in items:
        found = {function(*item) for function in functions}
        if len(found) > 1:
            raise SystemExit(f"the two forms disagree: {found}")
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            began = time.perf_counter()
            for item in items:
                function(*item)
            best[i] = min(best[i], time.perf_counter() - began)
    return best


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE, help=".jsonl.gz (the sample)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds, of which the best counts")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
