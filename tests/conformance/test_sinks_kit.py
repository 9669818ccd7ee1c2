"""The kit of sinks: all is published at the end, or nothing; a live output shows its cut."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import servers

from paipa_etl import (
    DamagedInput,
    Pipeline,
    PlanError,
    codecs,
    read,
    schemes,
    sinks,
    sources,
    steps,
    write,
)
from paipa_etl.location import Location, parse
from paipa_etl.run import new_run
from paipa_etl.schemes import BYTES, OBJECT, STANDARD
from paipa_etl.sinks import Sink
from paipa_etl.sinks.discard import Discard
from paipa_etl.sinks.files import FileSink
from paipa_etl.sinks.lists import ListSink
from paipa_etl.sinks.remote import open_upload

RECORDS = [{"n": n, "text": "京都" * (n % 7)} for n in range(2_000)]
BEFORE = [{"n": -1, "text": "before"}]


@dataclass
class Output:
    """Something that a sink can write, and a way to look at it beside the sink."""

    target: Any
    content: Callable[[], list[Any]]
    """The records that are there for everybody."""


def at_place(place: servers.Place) -> Output:
    place.put("out.jsonl", b'{"n":-1,"text":"before"}\n')
    return Output(place.url("out.jsonl"), lambda: list(read(place.get("out.jsonl"))))


def at_bytes(folder: Path) -> Output:
    out = bytearray(b'{"n":-1,"text":"before"}\n')
    return Output(out, lambda: list(read(bytes(out))))


def at_object(folder: Path) -> Output:
    file = io.BytesIO()
    return Output(file, lambda: list(read(file.getvalue())))


def at_list(folder: Path) -> Output:
    out = [*BEFORE]
    return Output(out, lambda: [*out])


def at_files(folder: Path) -> Output:
    return at_place(servers.files_place("file", folder / "data"))


def at_dir(folder: Path) -> Output:
    return at_place(servers.files_place("dir", folder / "data", "dir://"))


def at_memory(folder: Path) -> Output:
    return at_place(servers.memory())


ATOMIC: dict[str, Callable[[Path], Output]] = {
    "file": at_files,
    "dir": at_dir,
    "memory": at_memory,
    BYTES: at_bytes,
    "list": at_list,
}
"""Outputs of which nothing is seen before the commit. All hold ``BEFORE``."""
ADDED_TO = {BYTES, "list"}
"""Those to which records are added; the others are replaced."""
LIVE: dict[str, Callable[[Path], Output]] = {OBJECT: at_object}
"""Outputs of which a reader sees at once what is written. Standard output is one, too."""
UPLOADS = {"s3", "gs", "az", "abfs", "http", "https", "sftp"}
"""Schemes that are written as ``dir`` is; test_stores_kit.py runs them on their servers."""
KINDS = {
    FileSink: {*ATOMIC, *LIVE, *UPLOADS, STANDARD} - {"list"},
    ListSink: {"list"},
    Discard: set(),
}


def test_every_registered_sink_has_an_output() -> None:
    assert {*Sink.__subclasses__()} == set(KINDS)
    assert {name for row in schemes.known() for name in row.names} == KINDS[FileSink]
    stores = {sinks.store_of(Location(scheme, f"{scheme}://x/y")).open for scheme in UPLOADS}
    assert stores == {open_upload} == {sinks.store_of(parse("dir:///x/y")).open}


@pytest.fixture(params=ATOMIC)
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    return ATOMIC[request.param](tmp_path)


@pytest.fixture(params=LIVE)
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    return LIVE[request.param](tmp_path)


def after(output: Output, records: list[Any]) -> list[Any]:
    """What is there when records were published."""
    is_added_to = isinstance(output.target, (list, bytearray))
    return [*BEFORE, *records] if is_added_to else records


@pytest.mark.parametrize("workers", [None, 2])
def test_nothing_is_seen_before_the_end_and_all_is_then(
    output: Output, workers: int | None
) -> None:
    seen: list[Any] = []

    def records() -> Iterator[Any]:
        yield from RECORDS
        seen.extend(output.content())

    sink = write(output.target, to=None if isinstance(output.target, list) else "jsonl")
    report = Pipeline(records(), [steps.map(dict, workers=workers)], sink).run()
    assert seen == BEFORE
    assert output.content() == after(output, RECORDS)
    assert (report.written, report.balanced) == (len(RECORDS), True)


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(
    output: Output, workers: int | None, error: type[BaseException]
) -> None:
    def records() -> Iterator[Any]:
        yield from RECORDS
        raise error

    with pytest.raises(error):
        Pipeline(records(), [steps.map(dict, workers=workers)], output.target).run()
    assert output.content() == BEFORE


def test_an_aborted_sink_leaves_what_was_there_and_a_closed_one_takes_nothing(
    output: Output,
) -> None:
    run = new_run()
    opened = write(output.target).open(run)
    opened.write_all(RECORDS)
    opened.abort(KeyError())
    for late in (lambda: opened.write(1), lambda: opened.write_all([2])):
        with pytest.raises(PlanError, match="closed"):
            late()
    run.close_clients()
    assert output.content() == BEFORE


def test_what_is_prepared_can_still_be_aborted(output: Output) -> None:
    run = new_run()
    opened = write(output.target).open(run)
    opened.write_all(RECORDS)
    opened.prepare()
    assert output.content() == BEFORE
    opened.abort(KeyError())
    run.close_clients()
    assert output.content() == BEFORE


@pytest.mark.parametrize("records", [[], RECORDS], ids=["none", "some"])
def test_a_sink_in_a_with_statement_publishes_where_it_ends(
    output: Output, records: list[Any]
) -> None:
    if isinstance(output.target, list):
        pytest.skip("a list is written by pipelines")
    with write(output.target) as sink:
        for record in records:
            sink.write(record)
        assert output.content() == BEFORE
    assert output.content() == after(output, records)
    with suppress(ZeroDivisionError), write(output.target) as sink:
        sink.write_all(RECORDS)
        raise ZeroDivisionError
    assert output.content() == after(output, records)


def test_megabytes_are_there_whole_and_in_order(output: Output) -> None:
    """Through blocks, what is written behind, and parts side by side."""
    many = [{"n": n, "text": "x" * 50_000} for n in range(100)]
    Pipeline(many, [steps.map(dict, workers=2)], output.target).run()
    assert output.content() == after(output, many)


# Live outputs


def test_a_live_output_shows_the_good_records_before_a_failure(live: Output) -> None:
    def fail_at_700(record: Any) -> Any:
        return {**record, "n": record["n"] + 1 // (700 - record["n"]) * 0}

    with pytest.raises(ZeroDivisionError):
        Pipeline(RECORDS, [steps.map(fail_at_700)], live.target).run()
    assert live.content() == RECORDS[:700]


@pytest.mark.parametrize("codec", [codec.name for codec in codecs.registered()])
def test_after_a_failure_no_trailer_makes_a_live_output_look_whole(codec: str) -> None:
    file = io.BytesIO()
    with pytest.raises(ZeroDivisionError):
        Pipeline(range(9), [steps.map(lambda n: 1 // (n - 5))], write(file, to=codec)).run()
    with pytest.raises(DamagedInput):
        list(read(file.getvalue(), from_=f"jsonl.{codec}"))
    assert not file.closed


def test_standard_output_shows_the_good_records_before_a_failure(paipa: Any) -> None:
    done = paipa("-", "-", input=b"1\n2\nnothing\n4\n")
    assert (done.stdout, done.returncode) == (b"1\n2\n", 1)
    done = paipa("-", "-", "-t", "zstr", input=b"1\n2\n")
    assert done.returncode == 0, done.stderr
    assert list(read(done.stdout)) == [1, 2]


@pytest.mark.parametrize("row", schemes.known(), ids=lambda row: row.names[0])
def test_every_scheme_is_read_and_written_by_what_its_row_names(row: schemes.Scheme) -> None:
    assert isinstance(schemes.resolve(row.source), sources.ReadStore)
    assert isinstance(schemes.resolve(row.sink), sinks.WriteStore)
