"""Suffixes of what is not supported are refused, never read or written as JSON Lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from paipa_etl import InputError, PlanError, read, write
from paipa_etl.suffixes import REFUSED, RefusedSuffix

WORDS = [word for words in REFUSED.values() for word in words.split()]
LINES = b'{"a":1}\n{"a":2}\n'
CODECS = ["", ".gz", ".zst"]
NAMES = ["x.{}", "a.b.{}", "X.{}", ".{}", "events.jsonl.{}"]


@pytest.mark.parametrize("word", WORDS)
def test_every_refused_suffix_is_an_error_of_the_plan_at_both_ends(word: str) -> None:
    for name in NAMES:
        for codec in CODECS:
            for spelled in (word, word.upper()):
                with pytest.raises(RefusedSuffix, match="from_='jsonl'"):
                    read(name.format(spelled) + codec)
                with pytest.raises(RefusedSuffix, match="to='jsonl'"):
                    write(name.format(spelled) + codec)


@pytest.mark.parametrize(
    "location", ["s3://b/x.csv", "gs://b/d/x.json5.gz", "az://c/x.parquet", "https://h/x.tsv?a=b.c"]
)
def test_remote_names_are_refused_too(location: str) -> None:
    with pytest.raises(RefusedSuffix):
        read(location)
    with pytest.raises(RefusedSuffix):
        write(location)


@pytest.mark.parametrize("pattern", ["*.csv", "data/*.har.gz", "s3://b/*/part-*.parquet"])
def test_a_wildcard_that_says_so_itself_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(RefusedSuffix):
        read(pattern)


@pytest.mark.parametrize(
    "name",
    ["x", "x.dat", "x.json.bak", "x.2026", "csv", "x.csvx", "json/x", "x.jsonl", "x.ndjson.gz"],
)
def test_any_other_name_stays_json_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with write(path) as sink:
        sink.write({"a": 1})
    assert list(read(path)) == [{"a": 1}]


@pytest.mark.parametrize("name", ["x.csv", "x.json5", "x.tgz", "x.jsonl.br"])
def test_the_remedy_of_the_message_works(name: str, paipa: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(LINES)
    refused = paipa(name, "out.jsonl")
    assert refused.returncode == 2
    assert b"-f jsonl" in refused.stderr
    assert not (tmp_path / "out.jsonl").exists()
    assert paipa(name, "out.jsonl", "-f", "jsonl").returncode == 0
    assert (tmp_path / "out.jsonl").read_bytes() == LINES
    refused = paipa("out.jsonl", f"new-{name}")
    assert (refused.returncode, (tmp_path / f"new-{name}").exists()) == (2, False)
    assert b"-t jsonl" in refused.stderr
    assert paipa("out.jsonl", f"new-{name}", "-t", "jsonl").returncode == 0
    assert (tmp_path / f"new-{name}").read_bytes() == LINES


@pytest.mark.parametrize("words", [("-f", "csv"), ("-t", "parquet"), ("-t", "jsonl.br")])
def test_an_option_that_asks_for_it_is_a_usage_error(
    words: Any, paipa: Any, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    done = paipa("in.jsonl", "out.jsonl", *words)
    assert (done.returncode, (tmp_path / "out.jsonl").exists()) == (2, False)


@pytest.mark.parametrize("command", ["glob", "glob in python"])
def test_what_a_wildcard_finds_in_mid_run_is_an_error_of_the_input(
    command: str, paipa: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.csv").write_bytes(LINES)
    if command == "glob":
        done = paipa(str(tmp_path / "*"), "-o", tmp_path / "out.dat")
        assert done.returncode == 3
        assert b"b.csv" in done.stderr
        assert b"-f jsonl" in done.stderr
        assert not (tmp_path / "out.dat").exists()
    else:
        with pytest.raises(InputError, match=r"b\.csv"):
            list(read(tmp_path / "*"))


def test_a_remote_listing_that_finds_one_publishes_nothing(s3: Any, tmp_path: Path) -> None:
    for name, data in (("refused/a.jsonl", LINES), ("refused/b.parquet", b"PAR1")):
        s3.put_object(Bucket="bucket", Key=name, Body=data)
    words = {"client": s3} if False else {}
    endpoint = s3.meta.endpoint_url
    import os
    import subprocess

    from conftest import COMMAND

    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = subprocess.run(
        [
            *COMMAND,
            "s3://bucket/refused/*",
            str(tmp_path / "out.jsonl"),
            "--endpoint-url",
            endpoint,
        ],
        env={**environment, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3, (done.stderr, words)
    assert b"b.parquet" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_refused_input_of_many_transfers_fails_alone(paipa: Any, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.csv", "c.jsonl"):
        (tmp_path / name).write_bytes(LINES)
    done = paipa(str(tmp_path / "[abc].*"), "-o", str(tmp_path / "out" / "{stem}.jsonl"))
    assert done.returncode == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jsonl", "c.jsonl"]
    done = paipa(str(tmp_path / "[abc].*"), "-f", "jsonl", "-o", str(tmp_path / "new" / "{name}"))
    assert done.returncode == 2  # an output would be called b.csv: nothing is written
    assert not (tmp_path / "new").exists()


def test_reports_lists_and_file_objects_are_no_data_by_their_name(
    paipa: Any, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    (tmp_path / "inputs.csv").write_text("in.jsonl\n")
    words = ("--files-from", "inputs.csv", "out.jsonl", "--report", "run.json")
    done = paipa(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run.json").read_text())["written"] == 2
    file = io.BytesIO(LINES)
    file.name = "x.csv"  # type: ignore[misc]  (as an opened file has it)
    assert list(read(file)) == [{"a": 1}, {"a": 2}]


def test_the_page_of_the_docs_lists_the_table() -> None:
    page = (ROOT / "docs" / "formats.md").read_text()
    for kind, words in REFUSED.items():
        assert f"| {kind} | {' '.join(f'`.{word}`' for word in words.split())} |" in page


def test_a_refused_suffix_names_no_secret() -> None:
    with pytest.raises(PlanError) as caught:
        read("https://bob:secret@h/x.csv?sig=secret")
    assert "secret" not in str(caught.value)
