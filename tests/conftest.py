"""What every test has: a check that it leaves nothing behind, the command, the sample."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SLOW = 0.02  # seconds of a look through all objects: modules, for the most part
ROOT = Path(__file__).parent.parent
collect_ignore = ["thirdparty"]  # a package for itself, which the conformance kits install
SAMPLE = ROOT / "fixtures" / "events.jsonl.gz"


def open_descriptors() -> set[str]:
    """What this process has open, by number and target."""
    found = set()
    for entry in Path("/dev/fd").iterdir():
        try:
            target = os.readlink(f"/proc/self/fd/{entry.name}")
        except OSError:  # the descriptor of the listing itself
            continue
        if not target.startswith("/var/lib/libuuid"):  # the system's, once for the process
            found.add(f"{entry.name} {target}")
    return found


def live_threads() -> set[threading.Thread]:
    """The threads that run, but for the janitor, which ends with the interpreter."""
    return {thread for thread in threading.enumerate() if thread.name != "paipa-janitor"}


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """No thread, descriptor or temporary file outlives a test."""
    threads, descriptors = live_threads(), open_descriptors()
    yield
    began = time.monotonic()
    gc.collect()
    slow = time.monotonic() - began > SLOW
    deadline = time.monotonic() + 2
    kept = "keeps_descriptors" in request.keywords

    def left() -> set[str]:
        return set() if kept else open_descriptors() - descriptors

    # A thread that has ended is listed for an instant longer; a server of the test's own
    # closes a connection when it has heard that the other end did.
    while (live_threads() - threads or left()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not live_threads() - threads, "threads left behind"
    assert not list(tmp_path.rglob("*.paipa-tmp")), "temporary files left behind"
    behind = left()
    assert not behind, "descriptors left behind"
    if slow:
        gc.freeze()  # what is left is here to stay: the next test need not look through all of it


def pytest_unconfigure() -> None:
    """The watchdog's last word: threads that hang must not hold up the end of the suite too."""
    left = [thread for thread in live_threads() if not thread.daemon]
    if left != [threading.main_thread()]:
        faulthandler.dump_traceback(all_threads=True)
        os._exit(3)


def extension(name: str) -> Any:
    """A compiled module, for tests that compare it with its plain form.

    Where it is missing, the tests fail: they would compare the plain form with itself. Set
    PAIPA_ETL_WITHOUT_EXTENSIONS=1 where the installation has none on purpose.
    """
    if os.environ.get("PAIPA_ETL_WITHOUT_EXTENSIONS") == "1":
        return pytest.importorskip(name, reason="installed without extensions, on purpose")
    return importlib.import_module(name)


Command = Callable[..., "subprocess.CompletedProcess[Any]"]


@pytest.fixture
def paipa(tmp_path: Path) -> Command:
    """Run the command in a directory of the test's own; output is captured, as bytes."""

    def run(*words: object, **options: Any) -> subprocess.CompletedProcess[Any]:
        options.setdefault("cwd", tmp_path)
        options.setdefault("timeout", 60)
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        if "stdout" not in options:
            options["stdout"] = subprocess.PIPE
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.run([*COMMAND, *map(str, words)], check=False, **options)

    return run


COMMAND = [sys.executable, "-m", "paipa_etl"]


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A client of a moto server that runs for the session."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    for bucket in ("bucket", "uploads"):
        client.create_bucket(Bucket=bucket)
    yield client
    client.close()
    server.stop()
