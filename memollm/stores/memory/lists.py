"""What the memory store lists, made of what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.listings import Surveyed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Call
    from memollm._types.samples import Sample


def surveyed(call: Call, samples: Sequence[Sample], used: float) -> Surveyed:
    """Sum up the samples of a call, of which there is one at least."""
    costs = [sample.cost for sample in samples if sample.cost is not None]
    return Surveyed(
        call,
        len(samples),
        bytes=len(call.form.encode()) + sum(len(sample.record) for sample in samples),
        made=min(sample.stored for sample in samples),
        used=max(used, *(sample.stored for sample in samples)),
        seconds=sum(sample.seconds for sample in samples),
        input_tokens=sum(sample.input_tokens for sample in samples),
        output_tokens=sum(sample.output_tokens for sample in samples),
        cost=sum(costs) if costs else None,
    )
