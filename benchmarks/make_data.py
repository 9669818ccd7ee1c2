"""Make JSON Lines of any size: the events of an invented web shop, or real records repeated.

    python benchmarks/make_data.py events.jsonl.gz --size 250MB
    python benchmarks/make_data.py events.jsonl.zst --records 1000000 --seed 7
    python benchmarks/make_data.py cities.jsonl --size 250MB --like cities.json

Sizes count the lines before compression; the last line is the one that reaches the size. The
suffix names the codec: `.gz`, `.zst`, or none. The same arguments give the same records on every
machine, and a shorter file is the beginning of a longer one; how they are compressed also depends
on the version of the codec.

`--like` takes a JSON array, an object whose values are the records, or JSON Lines. Its records
come out in order, again and again, each with a counter `_seq`, so that no two lines are the same.
"""

import argparse
import gzip
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate, count, cycle, islice
from pathlib import Path
from typing import IO, Any

import orjson
from events import BATCH, batches

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20}
GZIP_LEVEL = 6
ZSTD_LEVEL = 3


def write(
    path: str | Path,
    size: int | None = None,
    records: int | None = None,
    seed: int = 1,
    like: str | Path | None = None,
) -> tuple[int, int]:
    """Write lines to `path` until one limit is reached; give how many, and their bytes."""
    if size is None and records is None:
        raise ValueError("no limit: give a size or a number of records")
    lines = written = 0
    made = batches(seed) if like is None else repeated(like)
    with opened(Path(path)) as out:
        for batch in limited(made, size or sys.maxsize, records or sys.maxsize):
            lines += len(batch)
            written += out.write(b"".join(batch))
    return lines, written


def limited(made: Iterable[list[bytes]], size: int, records: int) -> Iterator[list[bytes]]:
    """Pass batches of lines on, up to the line that reaches `size` bytes or `records` lines."""
    for batch in made:
        ends = list(accumulate(map(len, batch)))
        lines = min(records, bisect_left(ends, size) + 1)
        yield batch[:lines]
        if lines <= len(batch):
            return
        size -= ends[-1]
        records -= len(batch)


def repeated(like: str | Path) -> Iterator[list[bytes]]:
    """Give the records of a file endlessly, in batches of lines, counted in `_seq`."""
    stems = [stem(record) for record in sample(Path(like).read_bytes())]
    if not stems:
        raise ValueError(f"{like}: no records")
    lines = (b'%b"_seq":%d}\n' % pair for pair in zip(cycle(stems), count()))
    while True:
        yield list(islice(lines, BATCH))


def stem(record: dict[str, Any]) -> bytes:
    """Give a record's JSON up to the place where one more key fits."""
    text = orjson.dumps({key: value for key, value in record.items() if key != "_seq"})[:-1]
    return text if text == b"{" else text + b","


def sample(text: bytes) -> list[dict[str, Any]]:
    """Read records from a JSON array, an object of records, or JSON Lines."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = [orjson.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        held = list(found.values())
        found = held if all(isinstance(value, dict) for value in held) else [found]
    return [record for record in found if isinstance(record, dict)]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file for writing through the codec that its suffix names."""
    with open(path, "wb") as raw:
        if path.suffix == ".gz":
            # No name and no time in the header: the same records make the same file.
            with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as out:
                yield out
        elif path.suffix == ".zst":
            with zstd().open(raw, "wb", level=ZSTD_LEVEL) as out:
                yield out
        else:
            yield raw


def zstd() -> Any:
    """Give the standard library's zstd (Python 3.14), or the package that brings it earlier."""
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return module


def size_of(text: str) -> int:
    """Read a size such as 250MB, 1.5GB or 64KiB."""
    match = re.fullmatch(r"([\d.]+)\s*([A-Z]*)", text.strip().upper())
    if not match or match[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 250MB")
    return int(float(match[1]) * UNITS[match[2]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path)
    limit = parser.add_mutually_exclusive_group(required=True)
    limit.add_argument("--size", type=size_of, help="bytes of lines, such as 250MB")
    limit.add_argument("--records", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--like", type=Path, metavar="FILE", help="repeat real records")
    args = parser.parse_args()
    lines, written = write(args.out, args.size, args.records, args.seed, args.like)
    print(f"{args.out}: {lines:,} records, {written / 1e6:,.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
