"""Who moves bytes in the store benchmarks: each function is one way, run as its own process.

    python benchmarks/store_peers.py boto3_read object.bin 200000000

Each imports what it needs itself. Where a part of a process counts, it prints its seconds as JSON:
those of the transfer, the making of clients included, and imports and start-up left out.
"""

import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from clean import clean

BUCKET = "bench"
CHUNK = 1 << 18  # bytes that are taken of a body at a time
RANGE = 8 << 20


def timed(action: Callable[[], Any]) -> Any:
    """Do it, and print what it took."""
    began, cpu = time.perf_counter(), time.process_time()
    result = action()
    took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    print(json.dumps(took))
    return result


def block() -> bytes:
    """A MiB that nothing compresses, the same each time."""
    import random

    return random.Random(1).randbytes(1 << 20)


def boto3_client(connections: int = 10) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(max_pool_connections=connections))


def whole(sizes: Iterator[int], size: str) -> None:
    found = sum(sizes)
    if found != int(size):
        raise SystemExit(f"{found:,} bytes of {size}")


def body_sizes(body: Any) -> Iterator[int]:
    while chunk := body.read(CHUNK):
        yield len(chunk)


# ---- s3copy -------------------------------------------------------------------------------------


def hand_map(source: str, out: str) -> None:
    """boto3's body, gzip and orjson, line by line, uploaded when it is whole."""
    import io

    import orjson

    s3, packed = boto3_client(), io.BytesIO()
    body = s3.get_object(Bucket=BUCKET, Key=source)["Body"]
    with gzip.open(body, "rb") as lines, gzip.open(packed, "wb", 6) as target:
        for line in lines:
            record = clean(orjson.loads(line))
            target.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    packed.seek(0)
    s3.upload_fileobj(packed, BUCKET, out)


def s3fs_map(source: str, out: str) -> None:
    """A loop over two files of s3fs."""
    import s3fs

    files = s3fs.S3FileSystem(client_kwargs={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]})
    with (
        files.open(source, "rb") as packed,
        files.open(out, "wb") as made,
        gzip.open(packed, "rb") as lines,
        gzip.open(made, "wb") as target,
    ):
        for line in lines:
            target.write(json.dumps(clean(json.loads(line)), ensure_ascii=False).encode() + b"\n")


def duckdb_copy(source: str, out: str) -> None:
    """Read each record as one JSON value and write its text; DuckDB calls no function here."""
    import duckdb

    address = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    duckdb.sql("LOAD httpfs")
    duckdb.sql(
        f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET"
        f" '{os.environ['AWS_SECRET_ACCESS_KEY']}', ENDPOINT '{address}', URL_STYLE 'path',"
        " USE_SSL false)"
    )
    duckdb.sql(
        f"COPY (SELECT json FROM read_ndjson_objects('{source}')) TO '{out}' (FORMAT csv, HEADER"
        " false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION gzip)"
    )


# ---- read ---------------------------------------------------------------------------------------


def ours_read(url: str, size: str) -> None:
    """Our reader of ranges, without codec and format."""
    _pieces(url, {}, 1)  # imports happen when they are needed
    timed(lambda: whole(_pieces(url, {}), size))


def _pieces(url: str, words: dict[str, Any], most: int = 0) -> Any:
    from paipa_etl import StoreOptions, read
    from paipa_etl.run import new_run

    source: Any = read(url, from_="bytes", options=StoreOptions(words)).source

    def sizes() -> Iterator[int]:
        run = replace(new_run(), background=True)
        try:
            (entry,) = source.entries(run)
            pieces = source._store(entry.location).pieces(entry.location, run, source.options)
            for piece in pieces:
                yield len(piece)
                if most:
                    pieces.close()
                    return
        finally:
            run.over()
            run.close_clients()

    return sum(sizes()) if most else sizes()


def boto3_read(key: str, size: str) -> None:
    """The body of one request."""
    import boto3  # noqa: F401

    def take() -> None:
        whole(body_sizes(boto3_client().get_object(Bucket=BUCKET, Key=key)["Body"]), size)

    boto3_client().head_object(Bucket=BUCKET, Key=key)
    timed(take)


def boto3_ranges(key: str, size: str) -> None:
    """Ranges of 8 MiB, four threads, in whatever order they come."""

    def take() -> None:
        s3 = boto3_client()

        def part(at: int) -> int:
            span = f"bytes={at}-{at + RANGE - 1}"
            return sum(body_sizes(s3.get_object(Bucket=BUCKET, Key=key, Range=span)["Body"]))

        with ThreadPoolExecutor(4) as pool:
            whole(pool.map(part, range(0, int(size), RANGE)), size)

    boto3_client().head_object(Bucket=BUCKET, Key=key)
    timed(take)


# ---- many ---------------------------------------------------------------------------------------


def boto3_many(source: str, out: str, threads: str, most: str = "") -> None:
    """Get and put, a key after the other, in so many threads."""
    s3 = boto3_client(int(threads))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=source)
    keys = [one["Key"] for page in pages for one in page["Contents"]]

    def copy(key: str) -> None:
        body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        s3.put_object(Bucket=BUCKET, Key=out + key.removeprefix(source), Body=body)

    each(copy, keys, threads, most)


def obstore_many(source: str, out: str, threads: str, most: str = "") -> None:
    """The same with obstore, whose calls let other threads run."""
    import obstore
    from obstore.store import S3Store

    words: dict[str, Any] = {"client_options": {"allow_http": True}}
    store = S3Store(BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL"],
                    virtual_hosted_style_request=False, **words)  # fmt: skip
    keys = [one["path"] for page in obstore.list(store, source) for one in page]

    def copy(key: str) -> None:
        body = obstore.get(store, key).bytes()
        obstore.put(store, out + key.removeprefix(source), body, use_multipart=False)

    each(copy, keys, threads, most)


def each(action: Callable[[str], None], keys: list[str], threads: str, most: str) -> None:
    some = keys[: int(most)] if most else keys

    def work() -> None:
        if int(threads) == 1:
            for key in some:
                action(key)
            return
        with ThreadPoolExecutor(int(threads)) as pool:
            for _ in pool.map(action, some):
                pass

    timed(work)


# ---- sftp ---------------------------------------------------------------------------------------


def login() -> dict[str, Any]:
    return {"key_filename": os.environ["BENCH_SFTP_KEY"]}


def sftp_words() -> dict[str, Any]:
    return {"connect_kwargs": {**login(), "known_hosts": os.environ["BENCH_SFTP_HOSTS"]}}


def ours_sftp_read(size: str) -> None:
    url = f"{os.environ['BENCH_SFTP']}/{size}"
    _pieces(url, sftp_words(), 1)
    timed(lambda: whole(_pieces(url, sftp_words()), size))


def ours_sftp_write(size: str) -> None:
    """Our uploads, without codec and format."""
    from paipa_etl import StoreOptions, write
    from paipa_etl.run import new_run

    def give(url: str, pieces: Iterator[bytes]) -> None:
        run = replace(new_run(), background=True)
        sink: Any = write(url, to="bytes", options=StoreOptions(sftp_words()))
        target = sink.open(run)._target
        for piece in pieces:
            target.write(piece)
        target.commit()
        run.over()
        run.close_clients()

    url = f"{os.environ['BENCH_SFTP']}/written"
    give(url, blocks(1))
    timed(lambda: give(url, blocks(int(size))))


def blocks(size: int) -> Iterator[bytes]:
    one = block()
    for at in range(0, size, len(one)):
        yield one[: size - at]


def smart_open_sftp_read(size: str, *prefetch: str) -> None:
    """One file; the connection, which smart_open keeps, is there before the clock starts."""
    words: dict[str, Any] = {"prefetch_kwargs": {}} if prefetch else {}

    def take() -> None:
        with smart_opened(size, "rb", words) as file:
            whole(body_sizes(file), size)

    smart_opened(size, "rb", {}).close()
    timed(take)


def smart_open_sftp_write(size: str) -> None:
    """The same, the other way."""

    def give() -> None:
        with smart_opened("written", "wb", {}) as file:
            for piece in blocks(int(size)):
                file.write(piece)

    smart_opened("written", "wb", {}).close()
    timed(give)


def smart_opened(name: str, mode: str, words: dict[str, Any]) -> Any:
    import smart_open

    words = {"connect_kwargs": login(), **words}
    return smart_open.open(f"{os.environ['BENCH_SFTP']}/{name}", mode, transport_params=words)


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    globals()[name](*words)
