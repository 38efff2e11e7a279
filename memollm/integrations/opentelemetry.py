"""OpenTelemetry: counters of what a service draws, beside its other figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from opentelemetry.metrics import get_meter
except ImportError as error:
    raise ImportError(
        "memollm.integrations.opentelemetry needs opentelemetry-api. "
        "Install it with: pip install 'memollm[opentelemetry]'"
    ) from error

from memollm.integrations._figures import FIGURES, LATENCY, SECONDS, amounts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    from memollm import DrawEvent


def count_draws(*, meter: Meter | None = None) -> Callable[[DrawEvent], None]:
    """Return a hook that counts samples: `memollm.configure(on_draw=count_draws())`.

    Without a meter, it is that of the program's provider of meters.
    """
    meter = meter or get_meter("memollm")
    counters = {
        figure.name: meter.create_counter(f"memollm.{figure.name}", figure.unit, figure.text) for figure in FIGURES
    }
    latency = meter.create_histogram(
        f"memollm.{LATENCY.name}", LATENCY.unit, LATENCY.text, explicit_bucket_boundaries_advisory=SECONDS
    )

    def count(event: DrawEvent) -> None:
        for figure, labels, amount in amounts_of(event):
            counters[figure].add(amount, labels)
        if event.kind == "made":
            latency.record(event.latency, {"function": event.function})

    return count
