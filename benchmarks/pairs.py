"""Compare ``--map`` with the best hand-written loops: CPU seconds, measured in pairs of runs.

    python benchmarks/pairs.py                # nine pairs for each size of record, about 4 minutes
    python benchmarks/pairs.py --pairs 15 --records 300000

Each implementation runs in its own process, reads uncompressed JSON Lines and writes uncompressed
JSON Lines. In a pair, paipa-etl and every loop run once, one after the other. The tables show the
CPU seconds of the work (all threads, without start-up and imports) and of the whole process. A
ratio is the median of the ratios of all pairs. The exit code is 1 when a must is not met.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from clean import clean
from make_data import write as write_events

MUST, AIM = 1.12, 1.05
BLOCK = 1 << 18  # bytes that a loop reads or writes at a time
SHORT = 100  # bytes of a short record, about

Way = Callable[[str, str, Callable[[Any], Any]], None]


def double(record: dict[str, Any]) -> dict[str, Any]:
    """The function for short records."""
    record["total"] = record["count"] * 2
    return record


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"long": clean, "short": double}


# ---- the implementations -------------------------------------------------------------------------


def ours(source: str, out: str, function: Callable[[Any], Any]) -> None:
    """A pipeline with one ``map``."""
    from paipa_etl import Pipeline, steps

    Pipeline(source, [steps.map(function)], out).run()


def hand_lines(source: str, out: str, function: Callable[[Any], Any]) -> None:
    """A loop over the lines of a file, each written as it comes."""
    import orjson

    with open(source, "rb") as lines, open(out, "wb", BLOCK) as target:
        write, loads, dumps, end = (
            target.write,
            orjson.loads,
            orjson.dumps,
            orjson.OPT_APPEND_NEWLINE,
        )
        for line in lines:
            write(dumps(function(loads(line)), None, end))


def hand_blocks(source: str, out: str, function: Callable[[Any], Any]) -> None:
    """Blocks, split into lines; a block's results are joined and written."""
    import orjson

    loads, dumps, end = orjson.loads, orjson.dumps, orjson.OPT_APPEND_NEWLINE
    with open(out, "wb") as target:
        for lines in blocks(source):
            target.write(b"".join([dumps(function(loads(line)), None, end) for line in lines]))


def hand_bytearray(source: str, out: str, function: Callable[[Any], Any]) -> None:
    """Blocks, split into lines; results are appended to a bytearray."""
    import orjson

    append_results(source, out, function, orjson.loads)


def hand_msgspec(source: str, out: str, function: Callable[[Any], Any]) -> None:
    """As ``hand_bytearray``; msgspec decodes."""
    import msgspec

    append_results(source, out, function, msgspec.json.Decoder().decode)


def append_results(
    source: str, out: str, function: Callable[[Any], Any], loads: Callable[[bytes], Any]
) -> None:
    """Decode each line, call the function, append the encoded result to the block's bytearray."""
    import orjson

    dumps, end = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    with open(out, "wb") as target:
        for lines in blocks(source):
            encoded = bytearray()
            for line in lines:
                encoded += dumps(function(loads(line)), None, end)
            target.write(encoded)


def blocks(source: str) -> Any:
    """The lines of a file, a list for each block."""
    rest = b""
    with open(source, "rb", 0) as file:
        while piece := file.read(BLOCK):
            whole, newline, tail = piece.rpartition(b"\n")
            if not newline:
                rest += piece
                continue
            yield (rest + whole).split(b"\n")
            rest = tail
    if rest:
        yield [rest]


WAYS: tuple[Way, ...] = (ours, hand_lines, hand_blocks, hand_bytearray, hand_msgspec)
IMPORTS = {
    ours: "paipa_etl.pipeline paipa_etl.formats.json_text paipa_etl.sources.local "
    "paipa_etl.sinks.local",
    hand_msgspec: "orjson msgspec",
}


# ---- measuring -----------------------------------------------------------------------------------


def one(name: str, size: str, source: str, out: str) -> None:
    """Run one implementation in this process and print the CPU seconds of its work."""
    way = globals()[name]
    for module in IMPORTS.get(way, "orjson").split():
        __import__(module)
    began = time.process_time()
    way(source, out, FUNCTIONS[size])
    print(time.process_time() - began)


def cost(way: Way, size: str, source: Path, out: Path) -> tuple[float, float]:
    """The CPU seconds of the work of an implementation, and of its whole process."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--one", way.__name__, size, str(source), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(done.stdout), whole


def compare(size: str, source: Path, folder: Path, pairs: int) -> bool:
    """Run all pairs for one size of record and print the table; returns whether the must is met."""
    costs: dict[Way, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for number in range(pairs + 1):
        for way in WAYS:
            found = cost(way, size, source, folder / f"{way.__name__}.jsonl")
            if number:  # the first run of each warms up
                costs[way].append(found)
    lines = source.stat().st_size
    print(f"\n### {size} records, {lines / 1e6:.0f} MB, {pairs} pairs\n")
    print(
        "| way | CPU s, work | ours over it | CPU s, process | ours over it |\n"
        "|---|---|---|---|---|"
    )
    for way in WAYS:
        shown = [f"{median(column):.3f}" for column in zip(*costs[way], strict=True)]
        rates = [f"{ratio(costs, way, kind):.3f}" for kind in (0, 1)]
        print(f"| {way.__name__} | {shown[0]} | {rates[0]} | {shown[1]} | {rates[1]} |")
    worst = [max(ratio(costs, way, kind) for way in WAYS[1:]) for kind in (0, 1)]
    print(
        f"\nAgainst the fastest: work {worst[0]:.3f} (must {MUST}, aim {AIM}), "
        f"process {worst[1]:.3f}"
    )
    return worst[0] <= MUST


def ratio(costs: dict[Way, list[tuple[float, float]]], way: Way, kind: int) -> float:
    """The median, over the pairs, of the CPU seconds of paipa-etl divided by those of a loop."""
    pairs = zip(costs[ours], costs[way], strict=True)
    return median(mine[kind] / theirs[kind] for mine, theirs in pairs)


def make(folder: Path, records: int) -> dict[str, Path]:
    """The inputs: events of some 700 bytes, and as many bytes of short records."""
    import orjson

    found = {size: folder / f"{size}-in.jsonl" for size in FUNCTIONS}
    write_events(found["long"], records=records)
    count = found["long"].stat().st_size // SHORT
    with open(found["short"], "wb") as file:
        for number in range(count):
            record = {"id": number, "count": number % 977, "name": f"customer number {number:09}",
                      "price": number / 8, "active": number % 3 == 0}  # fmt: skip
            file.write(orjson.dumps(record, None, orjson.OPT_APPEND_NEWLINE))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--records", type=int, default=150_000, help="of the long ones")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(*args.one)
        return 0
    with tempfile.TemporaryDirectory() as name:
        sources = make(Path(name), args.records)
        met = [compare(size, path, Path(name), args.pairs) for size, path in sources.items()]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
