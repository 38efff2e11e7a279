"""What is counted of a sample that was given, for whoever collects a service's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm import DrawEvent


class Figure(NamedTuple):
    """Something that is counted."""

    name: str
    unit: str
    text: str
    labels: tuple[str, ...] = ("function", "kind")


FIGURES: Final = (
    Figure(
        "draws", "{sample}", "Samples that were given: stored ones (hit), another draw's (shared), new ones (made)."
    ),
    Figure("tokens", "{token}", "Tokens of the samples that were given.", ("function", "kind", "direction")),
    Figure("cost", "USD", "Dollars of the samples that were given: spent on what was made, saved by hits and shared."),
    Figure(
        "unpriced", "{sample}", "Samples that were given and whose cost nobody knows; `cost` does not contain them."
    ),
)
LATENCY: Final = Figure("latency", "s", "How long the calls ran that made samples.", ("function",))
SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""The bounds between which latencies are counted: those of models, from a short answer to a long thought."""


class Amount(NamedTuple):
    """How much is added to a figure, and with which labels."""

    figure: str
    labels: dict[str, str]
    amount: float


def amounts_of(event: DrawEvent) -> Iterator[Amount]:
    """Return what a sample adds to the figures."""
    labels = {"function": event.function, "kind": event.kind}
    yield Amount("draws", labels, 1)
    for direction, tokens in (("input", event.input_tokens), ("output", event.output_tokens)):
        if tokens:
            yield Amount("tokens", {**labels, "direction": direction}, tokens)
    if event.cost is None:
        yield Amount("unpriced", labels, 1)
    elif event.cost:
        yield Amount("cost", labels, event.cost)
