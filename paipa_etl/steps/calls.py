"""Calling a user's function: with retries, and where it is a coroutine function, awaited."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import CO_COROUTINE
from typing import Any

from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.run.retries import Retry

Function = Callable[..., Any]


def is_coroutine_function(function: Any) -> bool:
    """Whether a callable returns something to be awaited."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__code__"):
        function = getattr(function, "__call__", None)  # noqa: B004  (its code is what counts)
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


def retrying(function: Function, retry: Retry | None, run: Run, count: StepCount) -> Function:
    """The function, called again in place where it fails and that is wanted."""
    if retry is None:
        return function

    def call(record: Any) -> Any:
        attempt = 1
        while True:
            try:
                return function(record)
            except Exception as error:
                delay = retry.delay(error, attempt)
                if delay is None:
                    raise
            attempt += 1
            count.retried += 1
            run.clock.wait(delay, run.stops.run)

    return call


def retrying_in_loop(
    function: Function, retry: Retry | None, run: Run, count: StepCount
) -> Function:
    """The same for a coroutine function."""
    if retry is None:
        return function

    async def call(record: Any) -> Any:
        attempt = 1
        while True:
            try:
                return await function(record)
            except Exception as error:
                delay = retry.delay(error, attempt)
                if delay is None:
                    raise
            attempt += 1
            count.retried += 1
            await run.clock.sleep(delay)

    return call
