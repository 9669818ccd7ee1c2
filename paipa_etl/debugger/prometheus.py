"""Prometheus, as an example of a reporter: the counts and times of a run as metrics.

Counters for what only grows, in base units and with the names that Prometheus asks for
(https://prometheus.io/docs/practices/naming/); a label names the step. Needs
prometheus-client: ``pip install 'paipa-etl[prometheus]'``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paipa_etl.debugger.reporter import Reporter
from paipa_etl.errors import MissingDependency
from paipa_etl.metrics.view import View


class PrometheusMetrics(Reporter):
    """Fills a registry of prometheus_client's, which the user serves, pushes or writes to a file.

    ``registry``: a ``CollectorRegistry``; without, the library's own. Scraped at any time, it
    gives what the run was like when it was looked at last, a second ago at the most.
    """

    every = 1.0

    def __init__(self, registry: Any = None) -> None:
        try:
            from prometheus_client import REGISTRY, metrics_core
        except ImportError as error:
            raise MissingDependency("Prometheus metrics", "prometheus") from error
        self._core: Any = metrics_core
        self._view: View | None = None
        (REGISTRY if registry is None else registry).register(self)

    def begin(self, view: View) -> None:
        """The run is there, and has done nothing yet."""
        self._view = view

    update = finish = begin

    def collect(self) -> Iterator[Any]:
        """The metrics; called by the registry."""
        view = self._view
        if view is None:
            return
        yield from self._of_steps(view)
        yield from self._of_queues(view)
        yield self._gauge("paipa_etl_run_seconds", "Wall time of the run", [((), view.seconds)], ())
        yield self._gauge(
            "paipa_etl_resident_memory_bytes", "Memory of the process", [((), view.memory)], ()
        )

    def _of_steps(self, view: View) -> Iterator[Any]:
        metrics = (
            ("records_in", "Records that came into the step", "records_in"),
            ("records_out", "Records that left the step", "records_out"),
            ("records_skipped", "Records that were skipped as errors", "skipped"),
            ("retries", "Calls that were tried again", "retried"),
            ("work_seconds", "Own time of the step, of all its workers", "seconds"),
            ("cpu_seconds", "Processor time of the step", "cpu"),
            ("input_wait_seconds", "Time that the step waited for records", "waited_in"),
            ("output_wait_seconds", "Time that the step waited for room behind it", "waited_out"),
            ("bytes", "Stored bytes of the source and of the sink", "bytes"),
        )
        for name, help_text, field in metrics:
            values = [((step.name,), getattr(step, field)) for step in view.steps]
            family = self._core.CounterMetricFamily(f"paipa_etl_{name}", help_text, labels=["step"])
            for labels, value in values:
                if value is not None:
                    family.add_metric(labels, value)
            yield family

    def _of_queues(self, view: View) -> Iterator[Any]:
        records = [((queue.name,), queue.records) for queue in view.queues]
        size = [((queue.name,), queue.bytes) for queue in view.queues]
        yield self._gauge("paipa_etl_queue_records", "Records in a queue", records, ("queue",))
        yield self._gauge("paipa_etl_queue_bytes", "Bytes in a queue", size, ("queue",))

    def _gauge(self, name: str, help_text: str, values: list[Any], labels: tuple[str, ...]) -> Any:
        family = self._core.GaugeMetricFamily(name, help_text, labels=labels)
        for told, value in values:
            family.add_metric(told, value)
        return family
