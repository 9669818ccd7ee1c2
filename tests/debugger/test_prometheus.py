"""The reporter for Prometheus: names, units and values, as its own library reads them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from paipa_etl import MissingDependency, Pipeline, steps
from paipa_etl.debugger import Debugger, PrometheusMetrics


def exposed(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """The samples, by name and step or queue, as a server would read them."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, sample.labels.get("step") or sample.labels.get("queue") or ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_of_a_run() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    assert exposed(registry) == {}
    plan = Pipeline(range(100), [steps.filter(lambda n: n % 4), steps.map(str, workers=2)], [])
    debugger = Debugger([metrics])
    plan.run(debugger=debugger)
    found, view = exposed(registry), debugger.view
    assert view is not None
    step = str(plan.steps[1])
    assert found["paipa_etl_records_in_total", str(plan.steps[0])] == 100
    assert found["paipa_etl_records_out_total", step] == 75
    assert found["paipa_etl_records_out_total", "<list>"] == 75
    assert found["paipa_etl_work_seconds_total", step] == view.steps[2].seconds
    assert found["paipa_etl_run_seconds", ""] == view.seconds
    assert found["paipa_etl_queue_records", f"before {step}"] == 0
    assert found["paipa_etl_resident_memory_bytes", ""] > 1e6
    for name, _ in found:
        assert name.startswith("paipa_etl_")
        assert name.endswith(("_total", "_seconds", "_bytes", "_records"))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(MissingDependency, match=r"paipa-etl\[prometheus\]"):
        PrometheusMetrics(CollectorRegistry())


def test_a_registry_takes_one_reporter_for_many_runs() -> None:
    registry: Any = CollectorRegistry()
    debugger = Debugger([PrometheusMetrics(registry)])
    for records in (3, 5):
        Pipeline(range(records), [], []).run(debugger=debugger)
        assert exposed(registry)["paipa_etl_records_in_total", "<list>"] == records
