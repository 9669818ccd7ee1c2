"""Every example runs by one command, does what it says, and leaves nothing running."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Command

EXAMPLES = ROOT / "examples"
COMMANDS = [
    line
    for line in (EXAMPLES / "README.md").read_text().splitlines()
    if line.startswith("paipa-etl ")
]
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
SMALL = ("--count", "20", "--latency", "0.01")
REFUSED = 2  # of 20: the server of images refuses every tenth once

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server", path=PATH) is None,
    reason="redis-server is not installed: pip or the system's packages have it",
)


def run(name: str, *words: object) -> str:
    command = [sys.executable, f"examples/{name}", *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def running_beside(folder: Path) -> list[str]:
    """The processes that have a file of the folder open, as what is started has its log."""
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor).startswith(str(folder)):
                found.append(str(descriptor))
        except OSError:  # it is over, or somebody else's
            continue
    return found


def check_thumbnails(folder: Path, *others: str) -> None:
    """The manifest tells what lies in the folder, in the order of the URLs."""
    from PIL import Image

    manifest = records(folder / "manifest.jsonl")
    assert [entry["url"] for entry in manifest] == (folder / "urls.txt").read_text().split()
    for entry in manifest:
        assert Path(entry["path"]).stat().st_size == entry["bytes"]
        with Image.open(entry["path"]) as image:
            image.load()  # a file that was cut fails
            assert image.format == "JPEG"
            assert image.size == (entry["width"], entry["height"])
            assert max(image.size) == 128
    names = {Path(entry["path"]).name for entry in manifest}
    assert len(names) == 20
    assert {path.name for path in folder.iterdir()} == names | {
        "manifest.jsonl",
        "urls.txt",
        *others,
    }


def test_thumbnails(tmp_path: Path) -> None:
    output = run("thumbnails.py", tmp_path / "out", *SMALL)
    assert "20 thumbnails" in output
    assert f"{REFUSED} downloads were tried again, 0 images left out" in output
    check_thumbnails(tmp_path / "out")


@needs_redis
def test_celery_thumbnails(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    output = run("celery_thumbnails.py", tmp_path / "out", *SMALL)
    report = dict(line.split() for line in output.splitlines()[:4])
    assert report == {"read": "20", "written": "20", "skipped": "0", "balanced": "True"}
    check_thumbnails(tmp_path / "out", "redis.log", "worker.log")
    assert running_beside(tmp_path) == []


@needs_redis
def test_interrupted_celery_thumbnails_stop_everything(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    slow = ("--count", "1000", "--latency", "1")
    command = [sys.executable, "examples/celery_thumbnails.py", str(tmp_path), *slow]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as program:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running_beside(tmp_path) or sys.platform != "linux"
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate()
    assert program.returncode == 143, errors
    assert running_beside(tmp_path) == []
    assert not (tmp_path / "manifest.jsonl").exists()


@pytest.fixture
def urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file of 20 URLs that are served, of which the server refuses some at first."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from thumbnails import listed_images

    with listed_images(tmp_path, 20, 0.01) as urls_file:
        yield urls_file


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_runs(line: str, urls: Path, tmp_path: Path) -> None:
    for name in ("examples", "fixtures"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


GET = f"{EXAMPLES / 'fetch.py'}:get@8"


def test_fetch(paipa: Command, urls: Path) -> None:
    done = paipa(urls, "out.jsonl", "--map", GET, "--retries", 1)
    assert done.returncode == 0, done.stderr
    fetched = records(urls.parent / "out.jsonl")
    assert [record["url"] for record in fetched] == urls.read_text().split()
    for record in fetched:
        with urllib.request.urlopen(record["url"]) as response:
            body = response.read()
        assert record["status"] == 200
        assert record["bytes"] == len(body)
        assert record["sha256"] == hashlib.sha256(body).hexdigest()
        assert record["seconds"] >= 0.01


def test_fetch_that_is_refused_ends_the_run(paipa: Command, urls: Path) -> None:
    done = paipa(urls, "out.jsonl", "--map", GET)
    assert done.returncode == 1
    assert b"HTTP 503 Service Unavailable" in done.stderr
    assert not (urls.parent / "out.jsonl").exists()


def test_fetch_that_is_refused_can_be_skipped(paipa: Command, urls: Path) -> None:
    done = paipa(urls, "out.jsonl", "--map", GET, "--on-error", "skip")
    assert done.returncode == 4
    assert len(records(urls.parent / "out.jsonl")) == 20 - REFUSED
