"""What ``explain`` says of a plan, against what happens when the plan runs."""

from __future__ import annotations

import gzip
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from paipa_etl import Pipeline, read, steps, write
from paipa_etl.optimizer.ways import Way
from paipa_etl.runners import serial
from paipa_etl.stores import StoreOptions

LINES = b"".join(b' {"n": %d }\t\n' % n for n in range(3000))
ENDS = [
    "in.jsonl out.jsonl",
    "in.jsonl out.jsonl.gz",
    "in.jsonl.gz out.jsonl.gz",
    "in.txt out.jsonl",
]
WRITERS = {
    Way.COPY: "_copy",
    Way.PIECES: "_write_pieces",
    Way.KEPT: "_write_kept",
    Way.RECORDS: "_write_records",
}


def same(record: Any) -> Any:
    return record


def keep(record: Any) -> bool:
    return True


def passing(records: Any) -> Iterator[Any]:
    yield from records


async def awaited(record: Any) -> Any:
    return record


PLANS: dict[str, list[Any]] = {
    "nothing": [],
    "limit": [steps.limit(20)],
    "filter": [steps.filter(keep)],
    "filter and map": [steps.filter(keep), steps.map(same)],
    "filter and limit": [steps.filter(keep), steps.limit(20)],
    "map and limit": [steps.map(same), steps.limit(20)],
    "flat_map": [steps.flat_map(lambda record: [record])],
    "generator": [passing, steps.map(same)],
    "coroutine": [steps.map(awaited)],
    "filter by workers": [steps.filter(keep, workers=3)],
    "map by workers": [steps.filter(keep), steps.map(same, workers=2), steps.limit(2000)],
    "two steps by workers": [steps.map(same, workers=2), passing, steps.tap(same, workers=1)],
    "tasks": [steps.map(awaited, workers=4)],
    "parallel": [steps.parallel(passing, workers=2)],
    "threaded": [steps.threaded(steps.map(same, workers=2)), steps.skip(3)],
    "timed": [steps.batch(10, within=5.0), steps.flatten()],
}


class Observed:
    """The names of the threads that ran, and the functions of the serial runner that ran."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.functions: set[str] = set()

    def in_thread(self, frame: FrameType, event: str, given: Any) -> None:
        sys.setprofile(None)
        self.threads.add(threading.current_thread().name)

    def in_main(self, frame: FrameType, event: str, given: Any) -> None:
        if frame.f_code.co_filename == serial.__file__:
            self.functions.add(frame.f_code.co_name)


@contextmanager
def observed() -> Iterator[Observed]:
    found = Observed()
    threading.setprofile(found.in_thread)
    sys.setprofile(found.in_main)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def grouped(names: set[str]) -> Counter[str]:
    """How many threads there are of each name; those that stay with the process left out."""
    plain = (re.sub(r"-\d+$", "", name.removeprefix("paipa-")) for name in names)
    return Counter(name for name in plain if name != "janitor")


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("name", PLANS)
def test_a_plan_runs_as_it_is_explained(name: str, ends: str, tmp_path: Path) -> None:
    source, target = (tmp_path / end for end in ends.split())
    source.write_bytes(gzip.compress(LINES) if source.suffix == ".gz" else LINES)
    pipeline = Pipeline(source, [*PLANS[name]], target)
    explained = pipeline.explain()
    with observed() as found:
        report = pipeline.run()
    assert report.read >= 20
    assert {group.name: group.count for group in explained.threads} == grouped(found.threads)
    assert (explained.core == "threads") == ("fill" not in found.functions)
    ways = {way for way, function in WRITERS.items() if function in found.functions}
    assert ways == ({explained.way} if explained.way else set())
    first = next(iter(read(target, from_="lines")))
    assert explained.raw == (first in LINES.decode().splitlines())


@pytest.mark.parametrize(
    ("name", "threads"),
    [("in.jsonl", {"write-behind"}), ("in.jsonl.gz", {"read-ahead", "write-behind"})],
)
def test_only_an_input_that_takes_time_is_read_by_a_thread(
    name: str, threads: set[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(gzip.compress(LINES) if name.endswith(".gz") else LINES)
    explained = Pipeline(tmp_path / name, [steps.map(same)], tmp_path / "out.jsonl.gz").explain()
    assert {group.name for group in explained.threads} == threads


@pytest.mark.parametrize(("sink", "words"), [([], "not written into a file"), (None, "not")])
def test_records_that_enter_no_file_have_no_way(sink: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    explained = Pipeline(tmp_path / "in.jsonl", [steps.map(same)], sink).explain()
    assert (explained.way, explained.raw, explained.task) == (None, False, ("map(same)",))
    assert words in explained.raw_reason
    assert Pipeline([1], [steps.map(same)], sink).explain().task == ()


def test_the_reason_for_the_core_names_the_step() -> None:
    wanted = {
        "map by workers": "map(same, workers=2) asks for workers",
        "threaded": "threaded(map(same, workers=2)) asks for threads",
        "timed": "batch(10, within=5) waits for a record only so long",
        "limit": "no step asks for workers",
    }
    found = {name: Pipeline([1], PLANS[name]).explain().reason for name in wanted}
    assert found == wanted


def test_every_option_that_was_set_is_shown_and_no_secret() -> None:
    secret = {"client_kwargs": {"aws_secret_access_key": "hidden"}, "timeout": 3}
    source = read(
        "s3://b/x.gz", from_="txt", max_record=5, read_ahead=True, options=StoreOptions(secret)
    )
    options = StoreOptions({}, {"token": "hidden"}, allow_schemes=["memory"])
    sink = write("memory://o.jsonl", to="jsonl.gz", level=2, clobber=False, options=options)
    made = steps.map(same, retries=2, backoff=0.5, retry_on=(OSError, ValueError), workers=2)
    pipeline = Pipeline(source, [made], sink, "skip", {"session": "hidden"}, max_memory=1 << 20)
    text = f"{pipeline}\n{pipeline.explain()}"
    assert "hidden" not in text
    assert "map(same, workers=2, retries=2, backoff=0.5, retry_on=(OSError, ValueError))" in text
    for line in (
        "on_error = skip",
        "max_memory = 1048576",
        "resources = session",
        "from_ = lines",
        "max_record = 5",
        "read_ahead = True",
        "input transport_params[client_kwargs] = set",
        "input transport_params[timeout] = 3",
        "to = jsonl.gzip",
        "level = 2",
        "clobber = False",
        "output storage_options[token] = set",
        "output allow_schemes = memory",
    ):
        assert f"set    {line}\n" in f"{text}\n"
    assert "set" not in str(Pipeline("a.jsonl", [], "b.jsonl").explain())


def test_an_explanation_starts_and_opens_nothing(tmp_path: Path) -> None:
    before = threading.active_count()
    pipeline = Pipeline(tmp_path / "missing.jsonl", PLANS["map by workers"], tmp_path / "out.jsonl")
    assert "map(same, workers=2): 2 threads" in str(pipeline.explain())
    assert (threading.active_count(), list(tmp_path.iterdir())) == (before, [])


def test_the_command_shows_the_explanation(paipa: Any) -> None:
    done = paipa("a.jsonl", "{stem}.gz", "--filter", "lambda r: r", "--transfers", "9", "--explain")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert (
        "way    pieces: one loop over each block decodes, calls the functions and encodes" in lines
    )
    assert "set    --transfers = 9" in lines
    assert not [line for line in lines if line.startswith("start")]
