"""Figures of a service: Prometheus and OpenTelemetry count what was given, and say what is unknown."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("prometheus_client")
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

import memollm
from memollm import DrawEvent, cached_llm
from memollm.integrations import opentelemetry, prometheus


@pytest.fixture
def drawn():
    """Draw as a service would: three made of which one has no price, then two of them again."""

    def draw(hook):
        @cached_llm(pool=1, name="service.ask", version=1)
        def ask(question):
            if question == "unknown":
                return "an answer of an unknown model"
            return {"model": "small", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

        memollm.configure(on_draw=hook, prices={"small": (1.0, 2.0)})
        for question in ("a", "b", "unknown", "a", "unknown"):
            ask(question)

    return draw


def test_prometheus_counts_draws_tokens_and_money(drawn):
    """Each figure stands in the registry by function and kind, and what has no price is counted apart."""
    registry = CollectorRegistry()
    drawn(prometheus.count_draws(registry=registry))

    def value(name, **labels):
        return registry.get_sample_value(f"memollm_{name}", {"function": "service.ask", **labels})

    assert [value("draws_total", kind=kind) for kind in ("made", "hit", "shared")] == [3, 2, None]
    assert value("tokens_total", kind="made", direction="input") == 2000
    assert value("tokens_total", kind="made", direction="output") == 200
    assert value("tokens_total", kind="hit", direction="input") == 1000
    assert value("cost_dollars_total", kind="made") == pytest.approx(2 * 0.0012)
    assert value("cost_dollars_total", kind="hit") == pytest.approx(0.0012)
    assert [value("unpriced_total", kind=kind) for kind in ("made", "hit")] == [1, 1]
    assert value("latency_seconds_count") == 3


def test_prometheus_counts_how_long_calls_ran():
    """The latency of a new sample lands in its bucket; that of a stored one is not counted again."""
    registry = CollectorRegistry()
    count = prometheus.count_draws(registry=registry, prefix="app")
    event = DrawEvent("f", "00", 0, "made", 1.0, None, 0, 0, None, None, 3.0)
    count(event)
    count(event._replace(kind="hit"))
    assert registry.get_sample_value("app_latency_seconds_bucket", {"function": "f", "le": "2.5"}) == 0
    assert registry.get_sample_value("app_latency_seconds_bucket", {"function": "f", "le": "5.0"}) == 1
    assert registry.get_sample_value("app_latency_seconds_sum", {"function": "f"}) == 3.0
    assert b"app_draws_total" in generate_latest(registry)


def test_opentelemetry_counts_draws_tokens_and_money(drawn):
    """Each figure is an instrument with its unit, with function and kind as attributes."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    drawn(opentelemetry.count_draws(meter=provider.get_meter("service")))
    metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    found = {
        (each.name, each.unit, *(value for _, value in sorted(point.attributes.items()))): point
        for each in metrics
        for point in each.data.data_points
    }
    provider.shutdown()

    def value(name, unit, *labels):
        return found[f"memollm.{name}", unit, *labels].value

    assert value("draws", "{sample}", "service.ask", "made") == 3
    assert value("draws", "{sample}", "service.ask", "hit") == 2
    assert value("tokens", "{token}", "input", "service.ask", "made") == 2000
    assert value("cost", "USD", "service.ask", "hit") == pytest.approx(0.0012)
    assert value("unpriced", "{sample}", "service.ask", "made") == 1
    assert found["memollm.latency", "s", "service.ask"].count == 3
