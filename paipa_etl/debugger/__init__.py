"""The debugger: what every step of a run costs, where the time goes, what to do about it.

``Pipeline.run(debugger=Debugger(reporters=[LogLines()]))``. Counts and times are kept by
``paipa_etl.metrics``; here they are looked at, judged and shown, and nothing is changed.
"""

from __future__ import annotations

from paipa_etl.debugger.lines import JsonLines, LogLines
from paipa_etl.debugger.live import LiveTable
from paipa_etl.debugger.prometheus import PrometheusMetrics
from paipa_etl.debugger.reporter import Reporter
from paipa_etl.debugger.session import Debugger
from paipa_etl.metrics.view import QueueView, StepView, Verdict, View

__all__ = [
    "Debugger",
    "JsonLines",
    "LiveTable",
    "LogLines",
    "PrometheusMetrics",
    "QueueView",
    "Reporter",
    "StepView",
    "Verdict",
    "View",
]
