"""Publishing: once it has begun it is finished, and an interrupt that comes meanwhile waits.

What is looked at from outside: the exit code and the output always say the same.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import COMMAND
from fault_proxy import Fault, FaultProxy
from servers import Place
from test_signals import SAID, SIGNALS, TIMES, temporary, wait_for

LINE = b'{"text": "' + b"x" * 1000 + b'"}\n'
SIZES = {"one request": 1, "parts": 13_000}
IN_DOUBT = (
    b"paipa-etl: interrupted twice, ended at once: "
    b"an output was being published, and may be there\n"
)

# Local files


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--map", "lambda r: r@2"],
        ["--report", "report.json", "--debug"],
        ["--no-clobber"],
    ],
    ids=["copy", "threads", "report", "no clobber"],
)
def test_a_signal_when_the_file_appears(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n" * 100)
    target, report = str(tmp_path / "out.jsonl"), tmp_path / "report.json"
    for k in range(TIMES // 2):
        number, _ = SIGNALS[k % 3]
        with ended([*COMMAND, "in.jsonl", "out.jsonl", *words], tmp_path) as process:
            while not os.path.exists(target) and process.poll() is None:
                pass  # at the very moment
            process.send_signal(number)
            assert process.wait(30) == 0
            assert b"interrupted" not in said(process)
        assert (tmp_path / "out.jsonl").read_bytes() == b"1\n" * 100
        assert report.exists() is ("--report" in words)
        assert not temporary(tmp_path)
        for made in (tmp_path / "out.jsonl", report):
            made.unlink(missing_ok=True)


PATCHED = """\
import os, time
from pathlib import Path
def slow(name, before, after):
    real = getattr(os, name)
    def call(*words, **more):
        if before:
            Path('reached').touch()
            time.sleep(0.3)
        result = real(*words, **more)
        if after:
            Path('reached').touch()
            time.sleep(0.3)
        return result
    setattr(os, name, call)
def replace_late(record):
    slow('replace', True, False)
    return record
def replaced(record):
    slow('replace', False, True)
    return record
def link_late(record):
    slow('link', True, False)
    return record
def flush_late(record):
    slow('fsync', True, False)
    return record
"""
STATES = {  # what is slow, whether publishing has begun then, and further options
    "before the rename": ("replace_late", True, []),
    "behind the rename": ("replaced", True, []),
    "before the link": ("link_late", True, ["--no-clobber"]),
    "in the flush": ("flush_late", False, []),
}


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workers", ["", "@2"])
def test_a_signal_around_the_rename(
    tmp_path: Path, number: int, code: int, state: str, workers: str
) -> None:
    step, begun, more = STATES[state]
    (tmp_path / "steps_of.py").write_text(PATCHED)
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    words = ["in.jsonl", "out.jsonl", "--map", f"steps_of:{step}{workers}", *more]
    with ended([*COMMAND, *words], tmp_path) as process:
        wait_for((tmp_path / "reached").exists)
        process.send_signal(number)
        assert process.wait(30) == (0 if begun else code)
        assert said(process) == (b"" if begun else SAID)
    assert (tmp_path / "out.jsonl").exists() is begun
    assert not temporary(tmp_path)


def test_interrupted_between_two_outputs(tmp_path: Path) -> None:
    """Those that are published stay and are told; it ends with 130, for others are missing."""
    for n in range(6):
        (tmp_path / f"in{n}.jsonl").write_bytes(b"%d\n" % n)
    (tmp_path / "steps_of.py").write_text(
        "import os, time\n"
        "def slow(record):\n"
        "    while record == 5 and not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n"
        "    return record\n"
    )
    words = ["in*.jsonl", "out/{name}", "--transfers", "3", "--map", "steps_of:slow"]
    with ended([*COMMAND, *words], tmp_path) as process:
        wait_for(lambda: len([*tmp_path.glob("out/in*.jsonl")]) == 5)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: was_handled(process, signal.SIGINT))
        (tmp_path / "go").touch()
        assert process.wait(30) == 130
        told = said(process)
    assert b"5 transferred" in told
    assert SAID in told


def test_interrupted_while_the_last_of_many_outputs_is_renamed(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"in{n}.jsonl").write_bytes(b"%d\n" % n)
    (tmp_path / "steps_of.py").write_text(PATCHED.replace("replace_late(record):", LAST))
    words = ["in*.jsonl", "out/{name}", "--map", "steps_of:replace_late"]
    with ended([*COMMAND, *words], tmp_path) as process:
        wait_for((tmp_path / "reached").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert said(process) == b""
    assert len([*tmp_path.glob("out/in*.jsonl")]) == 3


LAST = """replace_late(record):
    while record == 2 and len([*Path('out').glob('in*.jsonl')]) < 2:
        time.sleep(0.01)
    if record < 2:
        return record"""


# Stores


@contextmanager
def ended(
    command: list[Any], folder: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the block."""
    variables = {**os.environ, **environment}
    with subprocess.Popen(
        [*map(str, command)], cwd=folder, env=variables, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[bytes]) -> bytes:
    """All that a process that has ended wrote to standard error."""
    assert process.stderr
    told = process.stderr.read()
    assert b"Traceback" not in told
    return told


@pytest.fixture(scope="module", params=["moto", "fake_gcs", "azurite", "nginx"])
def place(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Place]:
    with getattr(servers, request.param)(tmp_path_factory.mktemp(request.param)) as place:
        yield place


@pytest.fixture
def proxy(place: Place) -> Iterator[FaultProxy]:
    with FaultProxy(place.port) as proxy:
        yield proxy
        proxy.release()


COMPLETING: dict[tuple[str, str], Callable[[bytes], object]] = {
    ("moto", "one request"): lambda head: head.startswith(b"PUT /kit/new"),
    ("moto", "parts"): lambda head: re.match(rb"POST /kit/new\S*uploadId=", head),
    ("gcs", "one request"): lambda head: b"uploadType=multipart" in head,
    ("gcs", "parts"): lambda head: re.search(rb"(?i)content-range: bytes \S+/\d", head),
    ("azure", "one request"): lambda head: head.startswith(b"PUT"),
    ("azure", "parts"): lambda head: b"comp=blocklist" in head,
    ("http", "one request"): lambda head: head.startswith(b"PUT"),
    ("http", "parts"): lambda head: head.startswith(b"PUT"),
}


def held(proxy: FaultProxy, place: Place, size: str) -> None:
    """Have the request that completes the output wait at the proxy."""
    is_completing = COMPLETING[place.name, size]
    proxy.reset(lambda number, head: Fault("hold") if is_completing(head) else None)


def words_for(place: Place, url: str) -> list[str]:
    return ["in.jsonl", url, *(["--http-put"] if place.name == "http" else [])]


@pytest.mark.parametrize("size", SIZES)
def test_a_signal_while_the_store_completes_the_output(
    place: Place, proxy: FaultProxy, tmp_path: Path, size: str
) -> None:
    assert place.through is not None
    seen = place.through(proxy.port)
    content = LINE * SIZES[size]
    (tmp_path / "in.jsonl").write_bytes(content)
    for number, _ in SIGNALS:
        name = f"new{number}{size[0]}.jsonl"
        held(proxy, place, size)
        words = [*COMMAND, *words_for(place, seen.url(name))]
        with ended(words, tmp_path, **seen.environment) as process:
            wait_for(lambda: proxy.held)
            process.send_signal(number)
            wait_for(partial(was_handled, process, number))
            assert process.poll() is None
            proxy.release()
            assert process.wait(30) == 0, said(process)
            assert said(process) == b""
        assert seen.get(name) == content
    assert seen.leftovers() == []


@pytest.mark.parametrize("size", SIZES)
def test_a_second_interrupt_while_the_store_completes_the_output(
    place: Place, proxy: FaultProxy, tmp_path: Path, size: str
) -> None:
    assert place.through is not None
    seen = place.through(proxy.port)
    (tmp_path / "in.jsonl").write_bytes(LINE * SIZES[size])
    for first in (signal.SIGINT, signal.SIGTERM):
        held(proxy, place, size)
        words = [*COMMAND, *words_for(place, seen.url(f"new-{size[0]}.jsonl"))]
        with ended(words, tmp_path, **seen.environment) as process:
            wait_for(lambda: proxy.held)
            process.send_signal(first)
            wait_for(partial(was_handled, process, first))
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert said(process) == IN_DOUBT


def was_handled(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether no signal waits for the process any more, and it is asleep again."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    pending = [int(mask, 16) for mask in re.findall(r"(?:Sig|Shd)Pnd:\t(\w+)", status)]
    return not any(mask & 1 << (number - 1) for mask in pending) and "State:\tS" in status


def test_a_signal_while_one_of_many_outputs_is_completed(
    place: Place, proxy: FaultProxy, tmp_path: Path
) -> None:
    """It is finished; the others are not begun, or are given up: 130."""
    if place.name == "http":
        pytest.skip("HTTP has no listing, and outputs with fields need none of its own")
    assert place.through is not None
    seen = place.through(proxy.port)
    for n in range(4):
        (tmp_path / f"in{n}.jsonl").write_bytes(LINE)
    held(proxy, place, "one request")
    url = seen.url("new-{stem}-many.jsonl")
    words = [*COMMAND, "in*.jsonl", url, "--transfers", "1"]
    with ended(words, tmp_path, **seen.environment) as process:
        wait_for(lambda: proxy.held)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: was_handled(process, signal.SIGINT))
        proxy.release()
        assert process.wait(30) == 130
        told = said(process)
    assert b"1 transferred" in told
    assert SAID in told
    assert [seen.get(f"new-in{n}-many.jsonl") for n in range(4)] == [LINE, None, None, None]


# The library


SCRIPT = """\
import signal, sys
from paipa_etl.stores import StoreOptions
from paipa_etl import Pipeline, write
{before}
plan = Pipeline("in.jsonl", [], write({url!r}, options=StoreOptions({words!r})))
run = plan.new_run()
try:
    plan.run(run)
except {error} as error:
    notes = getattr(error, "__notes__", [])
    print(run.publication.is_done, run.report().written, *notes, sep="|", flush=True)
else:
    print("not interrupted", flush=True)
"""
HANDLERS = {
    "KeyboardInterrupt": (signal.SIGINT, "", "KeyboardInterrupt"),
    "its own handler": (
        signal.SIGTERM,
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))",
        "SystemExit",
    ),
    "boto3": (
        signal.SIGINT,
        "from paipa_etl.stores import s3_fast\ns3_fast.FastS3Object._made = lambda self: None",
        "KeyboardInterrupt",
    ),
}


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_script_that_is_interrupted_while_it_publishes(
    place: Place, proxy: FaultProxy, tmp_path: Path, handler: str, times: int
) -> None:
    """The first comes behind the publishing, the second at once, and says what is not known."""
    if handler == "boto3" and place.name != "moto":
        pytest.skip("boto3 is for S3")
    number, before, error = HANDLERS[handler]
    assert place.through is not None
    seen = place.through(proxy.port)
    (tmp_path / "in.jsonl").write_bytes(LINE)
    held(proxy, place, "one request")
    url = seen.url("new-script.jsonl")
    words = {**seen.words, "retries": 0}
    script = SCRIPT.format(before=before, url=url, words=words, error=error)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **seen.environment},
        stdout=subprocess.PIPE,
    ) as process:
        wait_for(lambda: proxy.held)
        process.send_signal(number)
        wait_for(lambda: was_handled(process, number))
        assert process.poll() is None
        if times == 2:
            process.send_signal(signal.SIGINT)
        else:
            proxy.release()
        assert process.stdout
        told = process.stdout.readline()
        assert process.wait(30) == 0
    if times == 1:
        assert told == b"True|1\n"
        assert seen.get("new-script.jsonl") == LINE
    else:
        assert told.startswith(b"False|1")
        if error == "KeyboardInterrupt":
            assert b"it may be there" in told
