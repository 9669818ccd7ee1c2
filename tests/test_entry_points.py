"""What installed packages add: found by its name alone, loaded when it is used, and not before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import third_party
from conftest import COMMAND

from paipa_etl import PlanError, codecs, formats, stores
from paipa_etl.entry_points import CODECS, FORMATS, STORES

ROWS = [{"id": "1", "text": 'a "quoted"\nline'}, {"id": "2", "text": ""}]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


class Programs:
    """Python and the command in a directory, with packages beside this one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.packages = folder, folder / "packages"
        self.packages.mkdir()
        self.paths = [str(self.packages)]

    def run(self, *command: object, **options: Any) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(self.paths)
        return subprocess.run(
            [*map(str, command)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def python(self, code: str) -> str:
        done = self.run(sys.executable, "-W", "error", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def paipa(self, *words: object) -> subprocess.CompletedProcess[str]:
        return self.run(*COMMAND, *words)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture
def example(programs: Programs) -> Programs:
    """With the example of tests/thirdparty."""
    programs.paths = third_party.install(programs.packages)
    (programs.folder / "in.jsonl").write_bytes(LINES)
    return programs


BUILT_IN = """
import sys
from paipa_etl import Pipeline, read, sources, sinks, steps, write
from paipa_etl.location import parse
Pipeline("in.jsonl", [steps.map(dict)], "out.jsonl.gz").run()
Pipeline("out.jsonl.gz", [], write("out.txt.zst", to="jsonl.zst")).run()
read("s3://bucket/*.ndjson.xz"), write("gs://bucket/x.log.bz2")
for url in ("s3://b/x", "https://h/x", "sftp://h/x", "memory://x", "-"):
    sources.store_of(parse(url)), sinks.store_of(parse(url))
found = [name for name in sys.modules if name.startswith(("importlib.metadata", "paipa_etl_ex"))]
print(found)
"""


def test_built_in_names_ask_no_installed_package(example: Programs) -> None:
    assert example.python(BUILT_IN) == "[]"


LOADED = """
import sys
from paipa_etl import Pipeline, read
{use}
print(sorted(name.partition(".")[2] for name in sys.modules if name.startswith("paipa_etl_ex")))
"""


@pytest.mark.parametrize(
    ("use", "loaded"),
    [
        ("Pipeline('in.jsonl', sink='x.tbl').run()", ["", "table"]),
        ("Pipeline('in.jsonl', sink='x.jsonl.zstr').run()", ["", "zlib_codec"]),
        # A plan is checked against what the row of the scheme says.
        ("Pipeline('in.jsonl', sink='dir:///x/y.jsonl')", ["", "dir_store"]),
        ("Pipeline('in.jsonl', sink='s3://x/y.jsonl')", []),
        ("Pipeline('in.jsonl', sink=f'dir://{__import__(\"os\").getcwd()}/x').run()",
         ["", "dir_store"]),
        ("read('x.dat'), read('x.unheard-of')", []),
    ],
)  # fmt: skip
def test_what_is_used_is_loaded_and_nothing_else(
    example: Programs, use: str, loaded: list[str]
) -> None:
    assert example.python(LOADED.format(use=use)) == repr(loaded)


@pytest.mark.parametrize("word", ["table", "tbl", "TBL"])
def test_each_name_and_suffix_of_the_format_finds_it(example: Programs, word: str) -> None:
    code = f"from paipa_etl import formats; print(formats.by_name({word!r}))"
    assert example.python(code) == "<format table>"


@pytest.mark.parametrize("word", ["zlib-streams", "zstr", "ZSTR"])
def test_each_name_and_suffix_of_the_codec_finds_it(example: Programs, word: str) -> None:
    code = f"from paipa_etl import codecs; print(codecs.from_suffix({word!r}).name)"
    assert example.python(code) == "zlib-streams"


def test_the_command_reads_and_writes_what_others_have_added(example: Programs) -> None:
    shelf = f"dir://{example.folder}/shelf"
    done = example.paipa("in.jsonl", f"{shelf}/a.tbl.zstr", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((example.folder / "report.json").read_text())["written"] == 2
    done = example.paipa(f"{shelf}/a.tbl.zstr", f"{shelf}/b.jsonl", "--explain")
    assert done.returncode == 0, done.stderr
    assert f"read   {shelf}/a.tbl.zstr  (table, zlib-streams)" in done.stdout
    done = example.paipa(f"{shelf}/*.zstr", "out.jsonl", "--filter", "lambda r: r['id'] == '1'")
    assert done.returncode == 0, done.stderr
    assert json.loads((example.folder / "out.jsonl").read_text()) == ROWS[0]
    done = example.paipa("in.jsonl", "in.jsonl", "-o", f"{shelf}/many/{{index}}.tbl")
    assert done.returncode == 0, done.stderr
    done = example.paipa(f"{shelf}/**/*.tbl", "-t", "jsonl", "-o", "got/{stem}.jsonl.gz")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (example.folder / "got").iterdir()) == [
        "1.jsonl.gz",
        "2.jsonl.gz",
    ]
    done = example.paipa(f"{shelf}/none.tbl", "out.jsonl")
    assert (done.returncode, "nothing of that name" in done.stderr) == (3, True)


def test_the_command_cleans_up_what_a_killed_run_left_at_such_a_store(example: Programs) -> None:
    code = """
import os, time
from paipa_etl import Pipeline
def records():
    yield "x" * 3_000_000
    while not os.path.exists("shelf"):
        time.sleep(0.01)
    os._exit(9)
Pipeline(records(), sink=f"dir://{os.getcwd()}/shelf/x.txt").run()
"""
    assert example.run(sys.executable, "-c", code).returncode == 9
    shelf = example.folder / "shelf"
    assert len([*shelf.iterdir()]) == 1
    done = example.paipa("cleanup", "--min-age", "0", f"dir://{shelf}/")
    assert (done.returncode, "1 removed" in done.stderr) == (0, True), done.stderr
    assert not [*shelf.iterdir()]


def test_a_codec_is_known_by_its_magic_bytes_once_it_is_loaded(example: Programs) -> None:
    example.python("from paipa_etl import Pipeline; Pipeline('in.jsonl', sink='x.zstr').run()")
    code = """
from paipa_etl import codecs
head = open("x.zstr", "rb").read(10)
print(codecs.detect(head), codecs.from_suffix("zstr") is codecs.detect(head))
"""
    assert example.python(code) == "None True"


READINGS = """
import sys
from paipa_etl import codecs, formats

opened = []
def hook(event, words):
    if event == "open" and str(words[0]).endswith("entry_points.txt"):
        opened.append(words[0])
sys.addaudithook(hook)
counts = []
for number in range(300):
    assert formats.from_suffix(f"s{number}") is codecs.from_suffix(f"s{number}") is None
    counts.append(len(opened))
print(counts[0] > 0, counts[-1] - counts[0])
"""


def test_what_is_installed_is_read_once(example: Programs) -> None:
    assert example.python(READINGS) == "True 0"


THREADS = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from paipa_etl import codecs, formats, sources
from paipa_etl.location import parse

barrier = Barrier(12)
def ask(number):
    barrier.wait()
    return (codecs.from_suffix("zstr"), formats.by_name("tbl"), sources.store_of(parse("dir:///x")))

with ThreadPoolExecutor(12) as pool:
    found = set(pool.map(ask, range(12)))
print(len(found), None in found)
"""


def test_threads_that_ask_at_once_find_the_same(example: Programs) -> None:
    assert example.python(THREADS) == "1 False"


USES = {
    FORMATS: "from paipa_etl import read; read('x.strange')",
    CODECS: "from paipa_etl import read; read('x.jsonl.strange')",
    STORES: "from paipa_etl import read; list(read('strange://h/x'))",
}
BROKEN = {
    "raises": "raise RuntimeError('no licence')",
    "imports nothing": "import no_such_module_at_all",
    "is taken": (
        "from paipa_etl import codecs, formats, stores\n"
        "formats.register(formats.by_name('jsonl')); codecs.register(codecs.from_suffix('gz'))"
    ),
}
CAUGHT = """
from paipa_etl import PlanError
for _ in range(2):
    try:
        {use}
    except PlanError as error:
        print(error)
"""


@pytest.mark.parametrize("group", USES)
@pytest.mark.parametrize("kind", BROKEN)
def test_one_that_is_broken_is_named_with_its_package(
    programs: Programs, group: str, kind: str
) -> None:
    third_party.write_metadata(programs.packages, "strange-one", {group: {"strange": "strange1"}})
    (programs.packages / "strange1.py").write_text(BROKEN[kind])
    head, _, call = USES[group].partition("; ")
    told = programs.python(CAUGHT.format(use=f"{head}; {call}")).splitlines()
    wanted = f"the entry point strange = strange1 ({group}) of strange-one cannot be loaded: "
    assert len(told) == 2
    assert all(line.startswith(wanted) for line in told), "told each time, and not forgotten"


@pytest.mark.parametrize("group", [FORMATS, CODECS])
def test_one_that_registers_nothing_of_its_name_says_so(programs: Programs, group: str) -> None:
    third_party.write_metadata(programs.packages, "strange-one", {group: {"strange": "strange1"}})
    (programs.packages / "strange1.py").write_text("")
    told = programs.python(CAUGHT.format(use=USES[group]))
    assert "of strange-one registers nothing of that name" in told


def test_the_command_tells_a_broken_one_as_an_error_of_the_plan(programs: Programs) -> None:
    third_party.write_metadata(programs.packages, "strange-one", {FORMATS: {"strange": "strange1"}})
    done = programs.paipa("in.strange", "out.jsonl")
    assert done.returncode == 2
    assert "strange-one cannot be loaded: ModuleNotFoundError" in done.stderr


def test_metadata_that_cannot_be_read_is_an_error_of_the_plan(programs: Programs) -> None:
    third_party.write_metadata(programs.packages, "damaged", {FORMATS: {"other": "other"}})
    (file,) = programs.packages.rglob("entry_points.txt")
    file.write_text("[console_scripts]\nno equals sign\n")
    told = programs.python(CAUGHT.format(use=USES[FORMATS]))
    assert "the metadata of the installed packages cannot be read: " in told
    programs.python("from paipa_etl import read; read('x.jsonl.gz')")


def test_a_scheme_that_nobody_has_is_an_error_with_those_that_are_known(
    programs: Programs,
) -> None:
    done = programs.paipa("unheard://h/in", "out.jsonl")
    assert done.returncode == 2
    assert "no store reads 'unheard'; known: -, abfs, az, bytes, file, gs" in done.stderr


def test_a_name_that_is_built_in_is_not_looked_for(programs: Programs) -> None:
    entries = {
        FORMATS: {"jsonl": "no_such_module"},
        CODECS: {"gz": "no_such_module", "jsonl": "no_such_module"},
        STORES: {"s3": "no_such_module"},
    }
    third_party.write_metadata(programs.packages, "usurper", entries)
    programs.python(
        "from paipa_etl import read, sources, write\n"
        "from paipa_etl.location import parse\n"
        "write('x.jsonl.gz'); read('s3://b/x.jsonl'); sources.store_of(parse('s3://b/x'))"
    )


@pytest.mark.parametrize("scheme", ["s3", "file", "https", "memory"])
def test_a_scheme_that_is_taken_cannot_be_registered(scheme: str) -> None:
    with pytest.raises(PlanError, match="already"):
        stores.register(object, scheme)


def test_a_name_that_is_taken_cannot_be_registered() -> None:
    gzip = codecs.from_suffix("gz")
    assert gzip
    with pytest.raises(PlanError, match="already"):
        codecs.register(gzip)
    with pytest.raises(PlanError, match="already"):
        formats.register(formats.by_name("txt"))
