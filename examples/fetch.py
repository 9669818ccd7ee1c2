"""Fetches URLs: ``paipa-etl urls.txt out.jsonl.zst --map examples/fetch.py:get@200 -P``."""

from __future__ import annotations

import hashlib
import ssl
import time
from contextlib import closing
from typing import Any

import urllib3

from paipa_etl import needs, per_worker

# One for all: each session of its own would load the machine's certificates again.
TLS = ssl.create_default_context()


def new_session() -> urllib3.PoolManager:
    """Make connections that stay open; they follow redirects, and leave retries to the step."""
    return urllib3.PoolManager(
        retries=urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=5),
        timeout=urllib3.Timeout(connect=5, read=30),
        ssl_context=TLS,
    )


@needs(session=per_worker(new_session))
def get(url: str, *, session: urllib3.PoolManager) -> dict[str, Any]:
    """Tell status, size and SHA-256 of what the URL names, and how long it took.

    Keeps 64 KiB of it at a time. Raises what urllib3 raises, and its ``HTTPError`` for a
    status from 400 on, so that ``--retries`` and ``--on-error`` decide.
    """
    start = time.monotonic()
    size, digest = 0, hashlib.sha256()
    with closing(session.request("GET", url, preload_content=False)) as response:
        check(response)
        for piece in response.stream(1 << 16):
            size += len(piece)
            digest.update(piece)
    return {
        "url": url,
        "status": response.status,
        "bytes": size,
        "sha256": digest.hexdigest(),
        "seconds": round(time.monotonic() - start, 3),
    }


def check(response: urllib3.BaseHTTPResponse) -> None:
    """Raise where the server says no."""
    if response.status >= 400:
        raise urllib3.exceptions.HTTPError(f"HTTP {response.status} {response.reason}")
