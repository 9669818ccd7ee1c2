"""The ready steps by their public names; ``verbs.py``, which has them, is imported on first use.

A copy of a file uses no verb, and does not spend its time on importing them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paipa_etl.steps.contract import Step as Step
    from paipa_etl.steps.verbs import CallOptions as CallOptions
    from paipa_etl.steps.verbs import batch as batch
    from paipa_etl.steps.verbs import consume as consume
    from paipa_etl.steps.verbs import declare as declare
    from paipa_etl.steps.verbs import filter as filter
    from paipa_etl.steps.verbs import flat_map as flat_map
    from paipa_etl.steps.verbs import flatten as flatten
    from paipa_etl.steps.verbs import limit as limit
    from paipa_etl.steps.verbs import map as map
    from paipa_etl.steps.verbs import parallel as parallel
    from paipa_etl.steps.verbs import skip as skip
    from paipa_etl.steps.verbs import tap as tap
    from paipa_etl.steps.verbs import threaded as threaded
    from paipa_etl.steps.verbs import throttle as throttle

__all__ = [
    "CallOptions",
    "Step",
    "batch",
    "consume",
    "declare",
    "filter",
    "flat_map",
    "flatten",
    "limit",
    "map",
    "parallel",
    "skip",
    "tap",
    "threaded",
    "throttle",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("paipa_etl.steps.verbs"), name)


def __dir__() -> list[str]:
    return __all__
