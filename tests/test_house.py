"""The house: no room imports leftwards or sideways, and each thing is done in its one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

# From left to right: a folder or a top-level module may import those to its right, and itself.
RANKS = [
    {"__main__"},
    {"cli"},
    {"transfers"},
    {"api"},
    {"pipeline"},
    {"debugger", "explanation", "plan_checks"},
    {"runners"},
    {"optimizer"},
    {"sinks", "sources", "steps"},
    {"stores", "suffixes"},
    {"run"},
    {"codecs", "formats"},
    {"location", "metrics"},
    {"schemes"},
    {"entry_points"},
    {"records"},
    {"failures"},
    {"threads"},
    {"errors"},
]
FILES = [*sorted((ROOT / "paipa_etl").rglob("*.py")), *sorted((ROOT / "cli").glob("*.py"))]
STEPS = {"Step", "FunctionStep", "Counting"}
FILES = [path for path in FILES if "paipa_etl/cli" not in str(path)]


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if parts[0] == "cli" else parts[1].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def rank(room: str) -> int | None:
    return next((n for n, rooms in enumerate(RANKS) if room in rooms), None)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_goes_leftwards_or_sideways(path: Path) -> None:
    here = room_of(path)
    if here == "__init__":
        return  # the public names, each imported when it is asked for
    assert rank(here) is not None, f"{here} is a room of which this test knows nothing"
    for module in imports(path):
        if not module.startswith("paipa_etl."):
            continue
        room = module.split(".")[1]
        there = rank(room)
        assert there is None or room == here or there > rank(here), f"{here} imports {module}"


LONG = {"paipa_etl/runners/threaded/reorder.py": 480}
"""The order of a stage is one algorithm over one state: in several files it needs their secrets."""


def users_of(module: str) -> list[str]:
    return [path.name for path in FILES if module in set(imports(path))]


def test_only_one_file_imports_orjson() -> None:
    assert users_of("orjson") == ["json_text.py"]


def test_threads_start_in_the_runners_and_in_one_other_room() -> None:
    starters = {path for path in FILES if re.search(r"\bThread\(", path.read_text())}
    assert {path.parent.name for path in starters} == {"threaded", "runners", "threads"}


def test_no_verb_exists_twice() -> None:
    names = [
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(base_name(b) in STEPS for b in node.bases)
    ]
    assert sorted(names) == sorted(set(names))


def base_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_one_room(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONG.get(path.relative_to(ROOT).as_posix(), 320)
    assert not text or ast.get_docstring(ast.parse(text)), "a module says what it is for"


def unchecked(tree: ast.AST) -> Iterator[int]:
    """The lines where a program is started, and nobody can look at its exit code any more."""
    for node in ast.walk(tree):
        lost = node.value if isinstance(node, (ast.Expr, ast.Attribute)) else None
        if not isinstance(lost, ast.Call) or ast.unparse(lost.func) not in STARTING:
            continue
        if isinstance(node, ast.Attribute) and node.attr == "returncode":
            continue
        if not any(word.arg == "check" and ast.unparse(word.value) == "True"
                   for word in lost.keywords):  # fmt: skip
            yield lost.lineno


STARTING = {
    "subprocess.run",
    "subprocess.call",
    "subprocess.Popen",
    "os.system",
    "subprocess.getoutput",
}


def test_tests_look_at_the_exit_code_of_what_they_start() -> None:
    bad = "subprocess.run(['x'])\nsubprocess.run(['x']).stdout\nos.system('x')"
    assert [*unchecked(ast.parse(bad))] == [1, 3, 2]
    good = "subprocess.run(['x'], check=True)\nif subprocess.run(['x']).returncode: ..."
    assert not [*unchecked(ast.parse(good))]
    for path in sorted((ROOT / "tests").rglob("*.py")):
        assert not [*unchecked(ast.parse(path.read_text()))], path.name
