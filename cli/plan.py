"""From arguments to a Pipeline."""

from __future__ import annotations

import argparse
from typing import Any

from paipa_etl import Pipeline, read, write
from paipa_etl.errors import PlanError


def build(arguments: argparse.Namespace) -> Pipeline:
    """The pipeline that the arguments describe; nothing is opened."""
    source = read(*arguments.inputs, from_=arguments.from_, max_record=arguments.max_record)
    sink = write(
        arguments.output, to=arguments.to, level=arguments.level, clobber=not arguments.no_clobber
    )
    made = [_step(kind, value) for kind, value in arguments.steps]
    return Pipeline(source, made, sink, on_error=arguments.on_error)


def _step(kind: str, value: Any) -> Any:
    from paipa_etl import steps
    from paipa_etl.cli.functions import load
    from paipa_etl.steps.contract import flatten_steps, name_of

    if kind in ("limit", "skip"):
        return getattr(steps, kind)(value)
    function = load(value, kind)
    if kind == "step":
        return flatten_steps(function)
    if not callable(function):
        raise PlanError(f"--{kind} {value}: {name_of(function)} is not callable")
    return getattr(steps, kind)(function)
