"""The layout: no import goes to the left, no folder is in a cycle, each thing has one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import unused
from conftest import ROOT

import paipa_etl

PACKAGE = ROOT / "paipa_etl"
PAGE = ROOT / "docs" / "architecture.md"
FILES = [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "cli").glob("*.py"))]
FILES = [path for path in FILES if "paipa_etl/cli" not in str(path)]
STEPS = {"Step", "FunctionStep", "Counting"}
REFERENCE = re.compile(r"(paipa_etl(?:\.\w+)+):\w+")
"""``module:name``, as a row of the scheme table names what is imported on use."""
BY_NAME = {
    "paipa_etl/steps/contract.py": {"runners"},
    # The rows of the scheme table are data; whoever resolves one stands to the left.
    **{
        path.relative_to(ROOT).as_posix(): {"sources", "sinks", "stores"}
        for path in sorted((PACKAGE / "schemes").glob("*.py"))
    },
}
"""The only arrows to the left: what is imported by name, on use."""


def drawn() -> list[set[str]]:
    """The layers of the drawing, from left to right."""
    text = PAGE.read_text().split("\n```\n__main__\n", 1)[1].split("```", 1)[0]
    lines = [line.removeprefix("-> ").split(", ") for line in text.splitlines()]
    return [{"__main__"}, *map(set, lines)]


LAYERS = drawn()


def unit_of(module: str) -> str:
    """The folder or top-level module that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def unit_of_file(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if parts[0] == "cli" else parts[1].removesuffix(".py")


def imports(path: Path, text: str | None = None) -> Iterator[str]:
    """The modules that a file imports, however it does so; those of other packages too."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ("paipa_etl", *parts) if parts[0] == "cli" else parts
    package = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text() if text is None else text)):
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield from _from(".".join(filter(None, (base, node.module))), node)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            yield from (name.rstrip(".") for name in _constants(node.args[:1]))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from REFERENCE.findall(node.value)


def _from(base: str, node: ast.ImportFrom) -> Iterator[str]:
    for name in node.names:
        home = paipa_etl._HOMES.get(name.name) if base == "paipa_etl" else None
        yield f"paipa_etl.{home}" if home else f"{base}.{name.name}"
    if base != "paipa_etl":
        yield base


def _constants(nodes: list[ast.expr]) -> Iterator[str]:
    """The text of each, or what it begins with, where the rest is worked out."""
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
                break


def layer(unit: str) -> int | None:
    return next((number for number, units in enumerate(LAYERS) if unit in units), None)


def wrong_imports(path: Path, text: str | None = None) -> list[str]:
    """The units that a file must not import."""
    here = unit_of_file(path)
    units = {unit_of(name) for name in imports(path, text) if name.startswith("paipa_etl.")}
    allowed = {here, *BY_NAME.get(path.relative_to(ROOT).as_posix(), ())}
    return sorted(
        unit
        for unit in units - allowed
        if (there := layer(unit)) is not None and there <= (layer(here) or 0)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_goes_to_the_left(path: Path) -> None:
    if unit_of_file(path) == "__init__":
        return  # the public names, each imported when it is asked for
    assert wrong_imports(path) == []


@pytest.mark.parametrize(
    "text",
    [
        "import paipa_etl.runners.serial",
        "from paipa_etl.runners import serial",
        "from paipa_etl import runners",
        "from paipa_etl import Pipeline",
        "from ..runners import serial",
        "from .. import runners",
        "def late():\n    from paipa_etl.runners.serial import records",
        "import importlib\nimportlib.import_module('paipa_etl.runners.serial')",
        "from importlib import import_module\nimport_module(f'paipa_etl.runners.{name}')",
        "__import__('paipa_etl.runners')",
        "ENGINE = 'paipa_etl.runners.serial:records'",
    ],
)
def test_every_way_around_is_seen(text: str) -> None:
    found = wrong_imports(PACKAGE / "threads" / "channel.py", text)
    assert found in (["runners"], ["pipeline"]), text
    assert wrong_imports(PACKAGE / "threads" / "channel.py", "import paipa_etl.errors") == []


def test_the_drawing_has_every_folder_and_module_once() -> None:
    units = {unit_of_file(path) for path in FILES} - {"__init__"}
    listed = [unit for units in LAYERS for unit in units]
    assert sorted(listed) == sorted(units)


def test_few_modules_stand_at_the_top_level() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= 12, sorted(loose)
    page = PAGE.read_text().split("## Folders", 1)[1].split("## Flow", 1)[0]
    for unit in {unit_of_file(path) for path in FILES} - {"__init__", "__main__"}:
        assert f"`{unit}/`" in page or f"`{unit}.py`" in page, f"{unit} is not explained"


def test_the_arrows_by_name_are_still_needed() -> None:
    for name, units in BY_NAME.items():
        if not name.startswith("paipa_etl/schemes/"):
            found = {unit_of(each) for each in imports(ROOT / name)}
            assert units <= found, f"{name} imports nothing of {units} by name any more"


LONG = {"paipa_etl/runners/threaded/reorder.py": 480}
"""The order of a stage is one algorithm over one state: in several files it needs their secrets."""


def users_of(module: str) -> list[str]:
    return [path.name for path in FILES if module in set(imports(path))]


def test_only_one_file_imports_orjson() -> None:
    assert users_of("orjson") == ["json_text.py"]


def test_threads_start_in_the_runners_and_in_one_other_room() -> None:
    starters = {path for path in FILES if re.search(r"\bThread\(", path.read_text())}
    assert {path.parent.name for path in starters} == {"threaded", "runners", "threads"}


def ready_steps(text: str) -> list[str]:
    """The classes of ready steps that a module defines."""
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and any(base_name(base) in STEPS for base in node.bases)
    ]


def base_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def makers(text: str, step: str) -> list[str]:
    """The functions that make a step of a class."""
    return [
        function.name
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and base_name(node.func).lstrip("_") == step
    ]


def test_no_verb_exists_twice() -> None:
    """Each ready step stands in steps/ and is made by one verb: no runner has one of its own."""
    verbs = (PACKAGE / "steps" / "verbs.py").read_text()
    for path in FILES:
        for step in set(ready_steps(path.read_text())) - STEPS:
            assert path.parent.name == "steps", f"{path.name} has a step of its own: {step}"
            if step != "Opaque":  # what any callable becomes
                assert len(makers(verbs, step)) == 1, f"{step} is made by {makers(verbs, step)}"
    assert ready_steps("class Map(FunctionStep): pass") == ["Map"]
    assert makers("def a():\n    Map(1)\ndef b():\n    return _Map(2)", "Map") == ["a", "b"]


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


def test_nothing_is_there_that_nobody_refers_to() -> None:
    assert unused.unused() == []


def test_a_name_that_nobody_refers_to_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        'A = "B.c"\nclass B:\n    def m(self):\n        """Of m."""\n        f"{A}"  # m\n'
    )
    assert [*unused.defined(path)] == ["A", "B", "m"]
    words = [*unused.used(path)]
    assert [words.count(name) for name in ("A", "B", "m")] == [2, 2, 1]
