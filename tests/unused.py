"""List what nothing refers to: functions, classes, methods and constants of the package.

    python tests/unused.py

A name is in use where it stands a second time in the package, the command, the documentation or
the examples; tests do not count. ``EXPLAINED`` has what is there for somebody else.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORD = re.compile(r"\w+")
FIELD = re.compile(r"\{([^{}]*)\}")
REFERENCE = re.compile(r"[\w.:]+")
EXPLAINED: dict[str, str] = {
    "ConnectionCls": "urllib3 makes its connections of it",
    "response_class": "http.client makes its answers of it",
    "emit": "logging calls it",
}
"""By name, why it stays although nothing refers to it."""


def sources() -> list[Path]:
    """The files of the package and of the command."""
    files = [*(ROOT / "paipa_etl").rglob("*.py*"), *(ROOT / "cli").glob("*.py")]
    kinds = (".py", ".pyx", ".pyi", ".pxd")
    return sorted(
        path for path in files if path.suffix in kinds and "paipa_etl/cli" not in str(path)
    )


def defined(path: Path) -> Iterator[str]:
    """The names that a file defines, but for those of local functions."""
    if path.suffix != ".py":
        return
    tree = ast.parse(path.read_text())
    for node in [*tree.body, *(each for body in _classes(tree) for each in body)]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _classes(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    return (node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def used(path: Path) -> Iterator[str]:
    """The names that a file uses: not those in comments, and those in strings that are names."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from WORD.findall(text)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string
        elif token.type == tokenize.STRING:
            inner = token.string.lstrip("rbfRBF").strip("\"'")
            if REFERENCE.fullmatch(inner):
                yield from WORD.findall(inner)
            elif "f" in token.string.split('"')[0].lower():  # one token on Python 3.11
                yield from WORD.findall(" ".join(FIELD.findall(inner)))


def unused() -> list[str]:
    """The names that stand nowhere but where they are defined, with their files."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    words: Counter[str] = Counter()
    for path in (*sources(), *pages):
        words.update(used(path))
    places: dict[str, list[str]] = {}
    for path in sources():
        for name in defined(path):
            places.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return sorted(
        f"{name}  ({', '.join(files)})"
        for name, files in places.items()
        if words[name] <= len(files) and not name.startswith("__") and name not in EXPLAINED
    )


if __name__ == "__main__":
    found = unused()
    print("\n".join(found) or "nothing")
    sys.exit(bool(found))
