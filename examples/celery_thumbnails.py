"""The thumbnails as a Celery task: ``python examples/celery_thumbnails.py [folder]`` runs it all.

That is a Redis server, the server of images, and a worker; what they say goes into the folder.
In earnest, set ``THUMBNAILS_REDIS`` and start the worker alone, in ``examples/``:
``celery -A celery_thumbnails worker``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from thumbnails import arguments, listed_images, thumbnails

VARIABLE = "THUMBNAILS_REDIS"
URL = os.environ.get(VARIABLE, "redis://127.0.0.1:6379/0")
PATIENCE = 60  # seconds

app = Celery("celery_thumbnails", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True


@app.task
def make_thumbnails(urls_file: str, folder: str) -> dict[str, Any]:
    """Run the pipeline in the worker; its report is the result."""
    return thumbnails(urls_file, folder).run().to_dict()


@contextmanager
def running(log: Path, *command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is over when the block is."""
    with log.open("wb") as output:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,  # an interrupt from the terminal is for this process alone
        )
    try:
        yield program
    finally:
        stop(program, signal.SIGTERM)
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            stop(program, signal.SIGKILL)
            program.wait()


def stop(program: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Signal a program and the processes that it started: its session is its own."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, how)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis server that keeps nothing; gives its URL."""
    beside = str(Path(sys.executable).parent)  # where pip puts programs, activated or not
    path = os.pathsep.join((beside, os.environ.get("PATH", os.defpath)))
    program = shutil.which("redis-server", path=path)
    if program is None:
        sys.exit("redis-server is not installed: try apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"--bind 127.0.0.1 --port {port} --appendonly no --save".split()
    with running(folder / "redis.log", program, *options, "") as server:
        wait_for(partial(answers, port), server, folder / "redis.log")
        yield f"redis://127.0.0.1:{port}/0"


def answers(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(ready: Callable[[], bool], program: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something is so; end if the program ends before, or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if program.poll() is not None:
            sys.exit(f"{log.stem} ended with {program.returncode}: see {log}")
        if time.monotonic() > deadline:
            sys.exit(f"nothing came in {PATIENCE} s: see {log}")
        time.sleep(0.02)


def main() -> None:
    """Start everything, have the task done by a worker, stop everything."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is stopped then, too
    given = arguments("Have a Celery worker download images and make thumbnails of them.")
    given.folder.mkdir(parents=True, exist_ok=True)
    log = given.folder / "worker.log"
    celery = [sys.executable, "-m", "celery", "--workdir", str(Path(__file__).resolve().parent)]
    worker = [*celery, "-A", app.main, "worker", "--pool=prefork", "--concurrency=1"]
    with (
        redis(given.folder) as url,
        listed_images(given.folder, given.count, given.latency) as urls_file,
        running(log, *worker, **{VARIABLE: url}) as program,
    ):
        app.conf.update(broker_url=url, result_backend=url)
        result: AsyncResult = make_thumbnails.delay(str(urls_file), str(given.folder))
        wait_for(result.ready, program, log)
        report = result.get()
    for name in ("read", "written", "skipped", "balanced", "seconds"):
        print(f"{name:9}{report[name]}")
    print(f"Thumbnails, manifest.jsonl and the programs' logs are in {given.folder}")


if __name__ == "__main__":
    main()
