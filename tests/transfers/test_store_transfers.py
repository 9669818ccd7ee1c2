"""Many inputs, an output for each: names, failures, what is done already, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from conftest import COMMAND, Command
from servers import Place

from paipa_etl import Pipeline, PlanError, read, steps, transfer, write
from paipa_etl.location import parse
from paipa_etl.stores import NO_OPTIONS
from paipa_etl.transfers.templates import Template, is_template


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Ten files of one record, of which one is damaged and one is in a folder of its own."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for n in range(8):
        (folder / f"f{n}.jsonl").write_text(f'{{"n": {n}}}\n')
    (folder / "deep" / "f8.jsonl").write_text('{"n": 8}\n')
    (folder / "bad.jsonl").write_text("bad\n")
    return folder


def plan(source: object, target: object, **words: object) -> Pipeline:
    return Pipeline(read(str(source)), [steps.map(lambda r: r)], write(str(target)), **words)  # type: ignore[arg-type]


def test_each_input_has_an_output_of_its_own(inputs: Path, tmp_path: Path) -> None:
    report = transfer(plan(inputs / "f*.jsonl", tmp_path / "out" / "{stem}.jsonl.gz"))
    assert report.transferred == report.read == report.written == 8
    assert report.balanced
    assert list(read(tmp_path / "out" / "f3.jsonl.gz")) == [{"n": 3}]


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_one_failed_input_does_not_sink_the_others(
    inputs: Path, tmp_path: Path, workers: int
) -> None:
    target = tmp_path / "out" / "{path}"
    report = transfer(plan(inputs / "**" / "*.jsonl", target), transfers=workers)
    assert (report.transferred, report.failed, report.exit_code) == (9, 1, 1)
    assert "bad.jsonl" in report.failures[0]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.jsonl")) == [
        f"f{n}.jsonl" for n in range(9)
    ]
    assert (tmp_path / "out" / "deep" / "f8.jsonl").exists()


def test_unless_that_is_asked_for(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not valid JSON"):
        transfer(plan(inputs / "*.jsonl", tmp_path / "out" / "{name}"), fail_fast=True)


def test_a_step_that_fails_names_the_record(inputs: Path, tmp_path: Path) -> None:
    made = Pipeline(
        read(str(inputs / "f*.jsonl")),
        [steps.map(lambda r: 1 // (r["n"] - 3))],
        write(str(tmp_path / "{stem}.out.jsonl")),
    )
    report = transfer(made)
    assert (report.transferred, report.failed) == (7, 1)
    assert "ZeroDivisionError" in report.failures[0]
    assert "record 1 of" in report.failures[0]
    assert "f3.jsonl" in report.failures[0]
    assert not (tmp_path / "f3.out.jsonl").exists()


def test_what_is_done_is_left_alone(inputs: Path, tmp_path: Path) -> None:
    made = plan(inputs / "f*.jsonl", tmp_path / "out" / "{name}")
    old = time.time() - 100
    for path in inputs.glob("*.jsonl"):
        os.utime(path, (old, old))
    assert transfer(made, skip_done=True).transferred == 8
    assert transfer(made, skip_done=True).already_done == 8
    (inputs / "f3.jsonl").write_text('{"n": 33}\n')
    os.utime(inputs / "f3.jsonl", (time.time() + 5,) * 2)
    (tmp_path / "out" / "f5.jsonl").unlink()
    again = transfer(made, skip_done=True)
    assert (again.transferred, again.already_done) == (2, 6)
    assert list(read(tmp_path / "out" / "f3.jsonl")) == [{"n": 33}]


def test_the_name_of_an_input_that_is_gone_stands_for_no_other(tmp_path: Path) -> None:
    """It has a wildcard in it, and there is one that it would match."""
    for name in ("a", "st*r", "star"):
        (tmp_path / f"{name}.jsonl").write_text(f'"{name}"\n')

    def remove(record: object) -> object:
        (tmp_path / "st*r.jsonl").unlink(missing_ok=True)
        return record

    out = tmp_path / "out"
    made = Pipeline(read(f"{tmp_path}/*.jsonl"), [steps.map(remove)], write(f"{out}/{{name}}"))
    report = transfer(made, transfers=1)
    assert (report.transferred, report.failed) == (2, 1)
    assert "st*r.jsonl: No such file" in report.failures[0]
    assert sorted(path.name for path in out.iterdir()) == ["a.jsonl", "star.jsonl"]


# A short file ends before it changes, or has its new end; of a long one, the rest is garbage.
@pytest.mark.parametrize("size", [1, 8 << 20])
def test_an_input_that_changes_meanwhile_is_not_done(
    inputs: Path, tmp_path: Path, size: int
) -> None:
    path = inputs / "f0.jsonl"
    path.write_text('{"n": 0}\n' * (size // 9 + 1))
    before = path.stat().st_size
    changed: list[object] = []

    def change(record: object) -> object:
        if not changed:
            changed.append(record)
            path.write_text("{" * (before + 2))
            os.utime(path, (time.time() - 50,) * 2)
        return record

    made = Pipeline(read(str(path)), [steps.map(change)], write(str(tmp_path / "o-{name}")))
    report = transfer(made, skip_done=True)
    assert report.failed == 1
    assert report.failures == [f"{path}: changed while it was read"]
    assert not (tmp_path / "o-f0.jsonl").exists()


@pytest.mark.parametrize(
    "template", ["same{path}{nope}", "{name!r}", "{x", "{}{stem}", "{stem.__class__}", "{stem[0]}"]
)
def test_fields_that_are_none_are_refused(inputs: Path, tmp_path: Path, template: str) -> None:
    with pytest.raises(PlanError):
        transfer(plan(inputs / "*.jsonl", tmp_path / "out" / template))
    assert not (tmp_path / "out").exists()


def test_names_that_collide_are_refused(inputs: Path, tmp_path: Path) -> None:
    (inputs / "deep" / "f0.jsonl").write_text("1\n")
    with pytest.raises(PlanError, match="two inputs"):
        transfer(plan(inputs / "**" / "*.jsonl", tmp_path / "out" / "{stem}.jsonl"))
    assert not (tmp_path / "out").exists()


HOSTILE = ["..", "../x", "a/../../x", "/etc/x", "a//b", ".", "a/./b", "a\0b", ""]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_name_leaves_the_root(tmp_path: Path, key: str) -> None:
    template = Template(parse(f"{tmp_path}/out/{{path}}"))
    with pytest.raises(PlanError):
        template.target(parse(f"s3://bucket/in/{key}"), parse("s3://bucket/in/*"), 1)


NAUGHTY = [
    "-n",
    "CON",
    "a\nb",
    "\u202egnp",
    "é" * 60,
    "a b",
    "~",
    "$HOME",
    "{name}",
    "%s",
    "*",
    "a\\b",
]


@pytest.mark.parametrize("key", NAUGHTY)
def test_strange_names_stay_names(tmp_path: Path, key: str) -> None:
    template = Template(parse(f"{tmp_path}/out/{{path}}"))
    made = template.target(parse(f"s3://bucket/in/{key}"), parse("s3://bucket/in/*"), 1)
    assert made.target == f"{tmp_path}/out/{key}"


def test_planted_links_lead_nowhere(inputs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(outside)
    with pytest.raises(PlanError, match="symbolic links"):
        transfer(plan(inputs / "**" / "f*.jsonl", tmp_path / "out" / "{path}"))
    assert not [*outside.iterdir()]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]


def test_an_output_never_replaces_an_input(inputs: Path) -> None:
    with pytest.raises(PlanError, match="replace an input"):
        transfer(plan(inputs / "f*.jsonl", inputs / "{name}"))


def test_a_name_without_fields_is_no_template() -> None:
    assert not is_template(parse("out.jsonl"))
    assert not is_template(parse("{other}.jsonl"))
    assert is_template(parse("s3://b/{stem}.jsonl"))


def test_the_command(inputs: Path, paipa: Command, tmp_path: Path) -> None:
    done = paipa("in/*.jsonl", "out/{index:03}-{name}", "--report", "r.json", "-v")
    assert done.returncode == 1
    assert b"bad.jsonl" in done.stderr
    assert b"8 transferred, 1 failed" in done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["transferred"], found["failed"], len(found["failures"])) == (8, 1, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0] == "002-f0.jsonl"
    assert paipa("in/f*.jsonl", "out2/{name}", "--transfers", "0").returncode == 2


def test_files_from_a_list(inputs: Path, paipa: Command, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("in/f1.jsonl\n\n# not this\nin/f2.jsonl\n")
    assert paipa("--files-from", "list", "-").stdout == b'{"n": 1}\n{"n": 2}\n'
    assert paipa("--files-from", "-", "-", input=b"in/f4.jsonl\n").stdout == b'{"n": 4}\n'
    assert paipa("--files-from", "list", "o/{name}").returncode == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["f1.jsonl", "f2.jsonl"]
    assert paipa("--files-from", "none", "-").returncode == 2
    assert paipa("--files-from", "list", "a", "b").returncode == 2
    (tmp_path / "list").write_text("in/f1.jsonl\nin/none.jsonl\n")
    assert paipa("--files-from", "list", "-").returncode == 3


def test_an_empty_match_is_an_error(paipa: Command) -> None:
    assert paipa("none*.jsonl", "o/{name}").returncode == 3
    assert paipa("none*.jsonl", "-").returncode == 3


SLOW = "import time\ndef slow(record):\n    time.sleep(0.2)\n    return record\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_of_them(inputs: Path, tmp_path: Path, number: int) -> None:
    for path in inputs.glob("f*.jsonl"):
        path.write_text('{"n": 1}\n' * 500)
    (tmp_path / "slow.py").write_text(SLOW)
    words = ["in/f*.jsonl", "out/{name}", "--transfers", "8", "--map", "slow.py:slow"]
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while len([*tmp_path.glob("out/.*.paipa-tmp")]) < 8 and time.monotonic() < deadline:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert time.monotonic() - began < 3
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert not [*(tmp_path / "out").iterdir()]


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An S3 for the module."""
    with servers.moto(tmp_path_factory.mktemp("moto")) as place:
        yield place


def test_objects_to_objects_share_their_clients(moto: Place) -> None:
    for n in range(40):
        moto.put(f"t/in/{n:02}.jsonl", b'{"n": %d}\n' % n)
    source = read(moto.url("t/in/*.jsonl"), options=moto.options)
    sink = write(moto.url("t/out/{stem}.jsonl.zst"), options=moto.options)
    before = threading.active_count()
    report = transfer(Pipeline(source, [], sink), transfers=16)
    assert report.transferred == 40
    assert threading.active_count() <= before + 1
    found = read(moto.url("t/out/*.zst"), from_="jsonl.zst", options=moto.options)
    assert sorted(record["n"] for record in found) == list(range(40))


ODD = ["st*ar", "back\\sl", "?", "[a]", "**", "a b", "{name}", "..."]


@pytest.mark.parametrize("field", ["{name}", "{stem}.jsonl", "{path}"])
def test_names_of_inputs_are_literal(moto: Place, tmp_path: Path, field: str) -> None:
    """Nobody wrote a wildcard, and a backslash separates nothing: neither in a store, nor here."""
    for number, name in enumerate(ODD):
        moto.put(f"odd/{name}.jsonl", b"%d\n" % number)
    source = read(moto.url("odd/*.jsonl"), options=moto.options)
    for folder in (moto.url("to/"), f"{tmp_path}/to/"):
        sink = write(f"{folder}{field}", options=moto.options if "://" in folder else NO_OPTIONS)
        report = transfer(Pipeline(source, [], sink))
        assert (report.transferred, report.failures) == (len(ODD), [])
    for number, name in enumerate(ODD):
        assert moto.get(f"to/{name}.jsonl") == b"%d\n" % number
        assert (tmp_path / "to" / f"{name}.jsonl").read_bytes() == b"%d\n" % number
    with pytest.raises(PlanError, match="that is a wildcard"):
        write(moto.url("to*/{name}"))
    template = Template(parse("sftp://host/to/{name}"))
    with pytest.raises(PlanError, match="in a URL"):
        template.target(parse("s3://kit/odd/back\\sl.jsonl"), parse("s3://kit/odd/*"), 1)


def test_one_of_a_hundred_objects_is_missing(moto: Place, paipa: Command, tmp_path: Path) -> None:
    names = []
    for n in range(99):
        moto.put(f"h/{n:02}.jsonl", b'{"n": %d}\n' % n)
        names.append(moto.url(f"h/{n:02}.jsonl"))
    names.insert(50, moto.url("h/none.jsonl"))
    (tmp_path / "list").write_text("\n".join(names))
    environment = {**os.environ, **moto.environment}
    words = ("--files-from", "list", "--transfers", "16")
    done = paipa(*words, "out/{name}", env=environment)
    assert done.returncode == 3
    assert b"h/none.jsonl: there is nothing of that name" in done.stderr
    assert len([*(tmp_path / "out").iterdir()]) == 99
    done = paipa(*words, "out2/{name}", "--fail-fast", env=environment)
    assert done.returncode == 3
    done = paipa("--files-from", "list", "all.jsonl", env=environment)
    assert done.returncode == 3
    assert not (tmp_path / "all.jsonl").exists()
