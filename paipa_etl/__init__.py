"""The public names, nothing else; each is imported when it is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from paipa_etl import steps as steps
    from paipa_etl.api import combine_pipeline as combine_pipeline
    from paipa_etl.api import read as read
    from paipa_etl.errors import BadRecord as BadRecord
    from paipa_etl.errors import BrokenInput as BrokenInput
    from paipa_etl.errors import ChangedRecord as ChangedRecord
    from paipa_etl.errors import DamagedInput as DamagedInput
    from paipa_etl.errors import FeedClosed as FeedClosed
    from paipa_etl.errors import ForkedChild as ForkedChild
    from paipa_etl.errors import InputError as InputError
    from paipa_etl.errors import InputUnavailable as InputUnavailable
    from paipa_etl.errors import MissingDependency as MissingDependency
    from paipa_etl.errors import OutputError as OutputError
    from paipa_etl.errors import OutputUnavailable as OutputUnavailable
    from paipa_etl.errors import PaipaError as PaipaError
    from paipa_etl.errors import PlanError as PlanError
    from paipa_etl.errors import Skip as Skip
    from paipa_etl.errors import StuckWorker as StuckWorker
    from paipa_etl.pipeline import Pipeline as Pipeline
    from paipa_etl.run.report import Report as Report
    from paipa_etl.run.resources import needs as needs
    from paipa_etl.run.resources import per_run as per_run
    from paipa_etl.run.resources import per_step as per_step
    from paipa_etl.run.resources import per_worker as per_worker
    from paipa_etl.sinks import write as write
    from paipa_etl.sources.live import Feed as Feed
    from paipa_etl.steps import consume as consume
    from paipa_etl.stores import StoreOptions as StoreOptions
    from paipa_etl.transfers.many import transfer as transfer

_HOMES = {
    "BadRecord": "errors",
    "BrokenInput": "errors",
    "DamagedInput": "errors",
    "Feed": "sources.live",
    "FeedClosed": "errors",
    "ForkedChild": "errors",
    "InputError": "errors",
    "InputUnavailable": "errors",
    "MissingDependency": "errors",
    "OutputError": "errors",
    "OutputUnavailable": "errors",
    "PaipaError": "errors",
    "Pipeline": "pipeline",
    "PlanError": "errors",
    "Report": "run.report",
    "Skip": "errors",
    "ChangedRecord": "errors",
    "StoreOptions": "stores",
    "StuckWorker": "errors",
    "combine_pipeline": "api",
    "consume": "steps",
    "needs": "run.resources",
    "per_run": "run.resources",
    "per_step": "run.resources",
    "per_worker": "run.resources",
    "read": "api",
    "transfer": "transfers.many",
    "write": "sinks",
}

__all__ = [*_HOMES, "__version__", "steps"]


def __getattr__(name: str) -> Any:
    if name == "steps":
        return importlib.import_module("paipa_etl.steps")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"paipa_etl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
