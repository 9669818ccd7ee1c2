"""Make what the store benchmarks read, and compare what was written, in a process of its own.

    python benchmarks/store_data.py put FILE KEY

The last line that a comparison prints is its verdict: `equal`, or `WRONG` and why.
"""

import gzip
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BUCKET = "bench"
LOOKS = 16  # places at which two large objects are compared


def client() -> Any:
    import boto3
    from botocore.config import Config

    made = boto3.client("s3", config=Config(max_pool_connections=16))
    if BUCKET not in [one["Name"] for one in made.list_buckets()["Buckets"]]:
        made.create_bucket(Bucket=BUCKET)
    return made


def listed(s3: Any, prefix: str) -> dict[str, tuple[int, str]]:
    """Size and ETag of all objects behind a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return {
        one["Key"].removeprefix(prefix): (one["Size"], one["ETag"])
        for page in pages
        for one in page.get("Contents", ())
    }


# ---- what is read -------------------------------------------------------------------------------


def put(path: str, key: str) -> None:
    client().upload_file(path, BUCKET, key)


def random(key: str, size: str) -> None:
    """An object of bytes that nothing compresses."""
    import io

    client().upload_fileobj(io.BytesIO(os.urandom(int(size))), BUCKET, key)


def many(path: str, prefix: str, count: str, size: str) -> None:
    """So many objects of whole lines of a file, each of about that size."""
    s3 = client()
    with open(path, "rb") as lines, ThreadPoolExecutor(8) as pool:
        texts = [b"".join(lines.readlines(int(size))) for _ in range(int(count))]
        keys = [f"{prefix}{number:05}.jsonl" for number in range(int(count))]
        for _ in pool.map(lambda key, text: s3.put_object(Bucket=BUCKET, Key=key, Body=text),
                          keys, texts):  # fmt: skip
            pass


def repeat(key: str, out: str, times: str) -> None:
    """One object, so many times, as another; the store copies it itself."""
    s3, where = client(), {"Bucket": BUCKET, "Key": out}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number in range(1, int(times) + 1):
        done = s3.upload_part_copy(
            **where,
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": BUCKET, "Key": key},
        )
        parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


def clear(prefix: str) -> None:
    s3 = client()
    keys = [{"Key": prefix + name} for name in listed(s3, prefix)]
    for at in range(0, len(keys), 1_000):
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[at : at + 1_000], "Quiet": True})


def sftp(*sizes: str) -> None:
    """A file of each size, where the server serves them."""
    for size in sizes:
        served(size).write_bytes(os.urandom(int(size)))


def served(name: str) -> Path:
    from urllib.parse import urlsplit

    return Path(urlsplit(os.environ["BENCH_SFTP"]).path) / name


# ---- what was written ---------------------------------------------------------------------------


def mapped(key: str, plain: str, folder: str) -> None:
    """Whether an object holds the lines of a file, each as the function leaves it."""
    from check import verdict
    from clean import clean

    s3, packed = client(), Path(folder) / "out.jsonl.gz"
    unpacked = packed.with_suffix("")
    s3.download_file(BUCKET, key, str(packed))
    with gzip.open(packed, "rb") as source, unpacked.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    print(f"{verdict(Path(plain), unpacked, clean)}, {packed.stat().st_size / 1e6:.0f} MB")
    packed.unlink()
    unpacked.unlink()


def same(source: str, out: str, count: str) -> None:
    """Whether each object has a copy: of its size, and of its MD5."""
    s3 = client()
    wanted, got = listed(s3, source), listed(s3, out)
    if len(wanted) != int(count):
        print(f"WRONG: {len(wanted):,} inputs")
    elif any(wanted[name] != about for name, about in got.items()):
        print("WRONG: other bytes")
    else:
        print("equal" if len(got) == len(wanted) else f"equal, {len(got):,}")


def alike(*keys: str) -> None:
    """Whether each second object is as long as the first, and has its bytes in some places."""
    s3 = client()
    for source, out in zip(keys[::2], keys[1::2], strict=True):
        found = listed(s3, out)
        size = s3.head_object(Bucket=BUCKET, Key=source)["ContentLength"]
        if not found:
            continue  # it was another one's turn
        if found[""][0] != size:
            print(f"WRONG: {found[''][0]:,} bytes of {size:,}")
            return
        for look in range(LOOKS):
            at = (size - (1 << 20)) * look // (LOOKS - 1)
            one, other = (
                s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={at}-{at + (1 << 20) - 1}")
                for key in (source, out)
            )
            if one["Body"].read() != other["Body"].read():
                print(f"WRONG: other bytes at {at:,}")
                return
    print("equal")


def sftp_written() -> None:
    """Whether what was written is what the peers write: the bytes of `block`, again and again."""
    from store_peers import block

    text, wanted = served("written").read_bytes(), block()
    right = all(
        text[at : at + len(wanted)] == wanted[: len(text) - at]
        for at in range(0, len(text), len(wanted))
    )
    print(f"equal, {len(text) / 1e6:.0f} MB" if text and right else "WRONG: other bytes")


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    globals()[name](*words)
