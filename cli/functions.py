"""Functions of the user's, found by name, made by a call of one, or one lambda."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from typing import Any

from paipa_etl.errors import PlanError, shown


def load(spec: str, kind: str) -> Any:
    """What ``module:name``, ``file.py:name``, a call of either, or a lambda stands for."""
    text = spec.strip()
    if text.startswith("lambda"):
        if kind == "step":
            raise PlanError(f"--step takes a named generator step, not a lambda: {shown(text)}")
        return _lambda(text)
    home, colon, expression = text.partition(":")
    if not colon or not home or not expression:
        raise PlanError(f"--{kind} takes module:name, file.py:name or a lambda, not {shown(text)}")
    name, arguments, keywords = _call(expression)
    found = _module(home)
    for part in name.split("."):
        if not hasattr(found, part):
            raise PlanError(f"--{kind} {text}: {home} has no {name}")
        found = getattr(found, part)
    return found if arguments is None else found(*arguments, **keywords)


def file_of(spec: str) -> str | None:
    """The file in which a function was found that is loaded; a lambda has none."""
    home = spec.strip().partition(":")[0]
    if home.endswith(".py"):
        return os.path.expanduser(home)
    return getattr(sys.modules.get(home), "__file__", None)


def _lambda(text: str) -> Any:
    try:
        tree = ast.parse(text, "<command line>", mode="eval")
    except SyntaxError as error:
        raise PlanError(f"not a lambda: {shown(text)}: {error.msg}") from None
    if not isinstance(tree.body, ast.Lambda):
        raise PlanError(f"only a lambda may stand here: {shown(text)}")
    # The caller's own code, typed on the caller's own command line: trusted as such.
    return eval(compile(tree, "<command line>", "eval"), {})  # noqa: S307


def _call(expression: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """A dotted name, or a call of one with literal arguments."""
    try:
        tree = ast.parse(expression, mode="eval").body
        if not isinstance(tree, ast.Call):
            return ast.unparse(tree), None, {}
        arguments = [ast.literal_eval(argument) for argument in tree.args]
        keywords = {str(word.arg): ast.literal_eval(word.value) for word in tree.keywords}
        return ast.unparse(tree.func), arguments, keywords
    except (SyntaxError, ValueError):
        raise PlanError(
            f"not a name, nor a call with literal arguments: {shown(expression)}"
        ) from None


def _module(home: str) -> Any:
    try:
        return _file(home) if home.endswith(".py") else _named(home)
    except ImportError as error:
        raise PlanError(f"cannot import {home}: {error}") from error


def _file(path: str) -> Any:
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise PlanError(f"no such file: {path}")
    name = os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if name not in sys.stdlib_module_names:
        sys.modules.setdefault(name, module)  # so that what it defines can be pickled
    spec.loader.exec_module(module)
    return module


def _named(name: str) -> Any:
    """A module; the current directory is looked in last, so that it shadows nothing."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)
