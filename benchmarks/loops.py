"""The peers that are Python: each function is one way to do a job, run as its own process.

    python benchmarks/loops.py duckdb_raw events.jsonl.gz copy.jsonl

Each imports what it needs itself, so that no one pays for another's libraries. All stop with an
error at a record that is not JSON, and none but the floor leaves anything out.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from clean import clean

CHUNK = 512 * 1024
LARGEST = 64 * 1024 * 1024  # a record, as for ourselves

# ---- copy ---------------------------------------------------------------------------------------


def floor(source: str, _: str) -> None:
    """Decompress with ISA-L, 512 KiB a trip, and throw the bytes away."""
    from isal import igzip

    opened: Any = igzip.open  # isal leaves it untyped
    room = memoryview(bytearray(CHUNK))
    with opened(source, "rb") as file:
        while file.readinto(room):
            pass


def duckdb_columns(source: str, out: str) -> None:
    """Read a table with a column for each top-level key, and write JSON from it."""
    # Types only down to the first level: deeper ones turn times into dates, and take longer.
    duckdb_copy(
        f"SELECT * FROM read_json('{source}', format='newline_delimited', maximum_depth=1,"
        f" sample_size=20000, maximum_object_size={LARGEST})",
        f"'{out}' (FORMAT json)",
    )


def duckdb_raw(source: str, out: str) -> None:
    """Read each record as one JSON value and write its text, as a CSV of one unquoted column."""
    duckdb_copy(
        f"SELECT json FROM read_ndjson_objects('{source}', maximum_object_size={LARGEST})",
        f"'{out}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01')",
    )


def duckdb_copy(query: str, target: str) -> None:
    import duckdb

    duckdb.sql(f"COPY ({query}) TO {target}")


def polars_stream(source: str, out: str) -> None:
    """Infer the schema from all records, then stream."""
    import polars

    polars.scan_ndjson(source, infer_schema_length=None).sink_ndjson(out)


def polars_sample(source: str, out: str) -> None:
    """Infer the schema from the first 20,000 records, then stream."""
    import polars

    polars.scan_ndjson(source, infer_schema_length=20_000).sink_ndjson(out)


def smart_open_copy(source: str, out: str) -> None:
    """Decode and encode line by line, as most scripts do."""
    smart_open_loop(source, out, lambda record: record)


# ---- a Python function on every record ----------------------------------------------------------


def smart_open_map(source: str, out: str) -> None:
    """Decode, call and encode line by line, as most scripts do."""
    smart_open_loop(source, out, clean)


def smart_open_loop(source: str, out: str, step: Callable[[Any], Any]) -> None:
    import json

    from smart_open import open

    with open(source, "rb") as lines, open(out, "w", encoding="utf-8") as target:
        for line in lines:
            target.write(json.dumps(step(json.loads(line)), ensure_ascii=False) + "\n")


def hand_orjson(source: str, out: str) -> None:
    """Decompress in a thread; orjson both ways, a block at a time."""
    import orjson

    by_hand(source, out, lambda block: map(orjson.loads, block.splitlines()))


def hand_msgspec(source: str, out: str) -> None:
    """Decompress in a thread; msgspec decodes line by line, orjson encodes."""
    import msgspec

    decode = msgspec.json.Decoder().decode
    by_hand(source, out, lambda block: map(decode, block.splitlines()))


def hand_msgspec_lines(source: str, out: str) -> None:
    """Decompress in a thread; msgspec decodes a block at once, orjson encodes."""
    import msgspec

    by_hand(source, out, msgspec.json.Decoder().decode_lines)


def hand_unthreaded(source: str, out: str) -> None:
    """Decompress in the same thread; orjson both ways, a block at a time."""
    import orjson

    by_hand(source, out, lambda block: map(orjson.loads, block.splitlines()), threads=0)


def by_hand(source: str, out: str, decode: Callable[[bytes], Any], threads: int = 1) -> None:
    """Do the map as well as a careful programmer would, with the libraries that we use."""
    import gc

    import orjson

    gc.disable()  # records hold no cycles
    encode = partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
    with open(out, "wb") as target:
        for block in blocks(source, threads):
            target.write(b"".join([encode(clean(record)) for record in decode(block)]))


def blocks(source: str, threads: int) -> Iterator[bytes]:
    """Give the decompressed bytes in pieces that end with a line."""
    from isal import igzip, igzip_threaded

    opened: Any = partial(igzip_threaded.open, threads=threads) if threads else igzip.open
    with opened(source, "rb") as file:
        rest = b""
        while piece := file.read(CHUNK // 2):
            whole, newline, tail = piece.rpartition(b"\n")
            if newline:
                yield rest + whole
                rest = tail
            else:
                rest += piece
        if rest:
            yield rest


if __name__ == "__main__":
    name, *paths = sys.argv[1:]
    globals()[name](*paths)
