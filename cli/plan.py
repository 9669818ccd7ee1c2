"""From arguments to a Pipeline."""

from __future__ import annotations

import argparse
import re
from typing import Any

from paipa_etl import Pipeline, read, write
from paipa_etl.errors import PlanError
from paipa_etl.location import parse
from paipa_etl.run.budget import MAX_MEMORY
from paipa_etl.stores import StoreOptions
from paipa_etl.transfers.templates import as_typed, is_template


def build(arguments: argparse.Namespace) -> Pipeline:
    """The pipeline that the arguments describe; nothing is opened."""
    _check_fields(arguments)
    source = read(
        *arguments.inputs,
        from_=arguments.from_,
        max_record=arguments.max_record,
        options=_options(arguments, {}),
    )
    sink = write(
        as_typed(parse(arguments.output)),
        to=arguments.to,
        level=arguments.level,
        clobber=not arguments.no_clobber,
        options=_options(arguments, {"method": "PUT"} if arguments.http_put else {}),
    )
    made = [_step(kind, value, arguments) for kind, value in arguments.steps]
    memory = arguments.max_memory or MAX_MEMORY
    return Pipeline(source, made, sink, on_error=arguments.on_error, max_memory=memory)


def is_many(arguments: argparse.Namespace) -> bool:
    """Whether each input has an output of its own."""
    return is_template(parse(arguments.output))


def _check_fields(arguments: argparse.Namespace) -> None:
    """Refuse options for many outputs where there is one, unless they are defaults of variables."""
    for option in ("--transfers", "--skip-done"):
        if option in arguments.given and not is_many(arguments):
            needed = "one output for each input: a field such as {stem} in the output's name"
            raise PlanError(f"{option} needs {needed}")


def _options(arguments: argparse.Namespace, words: dict[str, Any]) -> StoreOptions:
    """What the stores of both ends are told."""
    if arguments.timeout is not None:
        words = {**words, "timeout": arguments.timeout}
    return StoreOptions(
        words,
        endpoint_url=arguments.endpoint_url,
        insecure=arguments.insecure,
        allow_schemes=arguments.allow_scheme or (),
    )


def _step(kind: str, value: Any, arguments: argparse.Namespace) -> Any:
    from paipa_etl import steps
    from paipa_etl.cli.functions import load
    from paipa_etl.steps.contract import flatten_steps, name_of

    if kind in ("limit", "skip"):
        return getattr(steps, kind)(value)
    spec, workers = _workers(value)
    function = load(spec, kind)
    if kind == "step":
        if workers is None:
            return flatten_steps(function)
        return steps.parallel(function, workers=workers, ordered=not arguments.unordered)
    if not callable(function):
        raise PlanError(f"--{kind} {value}: {name_of(function)} is not callable")
    made: Any = getattr(steps, kind)
    return made(
        function, workers=workers, ordered=not arguments.unordered, retries=arguments.retries
    )


def _workers(value: str) -> tuple[str, int | None]:
    """What stands before an ``@N``, and the number."""
    found = re.fullmatch(r"(.*[^@\s])@(\d+)\s*", value, re.DOTALL)
    return (found[1], int(found[2])) if found else (value, None)
