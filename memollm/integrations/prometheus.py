"""Prometheus: counters of what a service draws, beside its other figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from prometheus_client import REGISTRY, Counter, Histogram
except ImportError as error:
    raise ImportError(
        "memollm.integrations.prometheus needs prometheus-client. Install it with: pip install 'memollm[prometheus]'"
    ) from error

from memollm.integrations._figures import FIGURES, LATENCY, SECONDS, amounts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from memollm import DrawEvent


def count_draws(*, registry: CollectorRegistry = REGISTRY, prefix: str = "memollm") -> Callable[[DrawEvent], None]:
    """Return a hook that counts samples: `memollm.configure(on_draw=count_draws())`.

    The figures are told wherever the program tells those of `registry`; their names begin with `prefix`.
    """
    units = {"cost": "cost_dollars"}
    counters = {
        figure.name: Counter(
            f"{prefix}_{units.get(figure.name, figure.name)}", figure.text, figure.labels, registry=registry
        )
        for figure in FIGURES
    }
    latency = Histogram(
        f"{prefix}_{LATENCY.name}_seconds", LATENCY.text, LATENCY.labels, registry=registry, buckets=SECONDS
    )

    def count(event: DrawEvent) -> None:
        for figure, labels, amount in amounts_of(event):
            counters[figure].labels(**labels).inc(amount)
        if event.kind == "made":
            latency.labels(function=event.function).observe(event.latency)

    return count
