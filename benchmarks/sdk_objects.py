"""A stored answer of an SDK, read and built again, beside parsing its JSON and the class's own `model_validate`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks._measure import Row, in_turn, ratio, repeated
from memollm._values.codec import Codec
from memollm._values.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISED = 1.5
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-5-mini",
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": "Because the air scatters blue light more than red. " * 8,
                "refusal": None,
                "annotations": [],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 12,
        "completion_tokens": 80,
        "total_tokens": 92,
        "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": 0},
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
    },
}


def run() -> Iterator[Row | str]:
    if find_spec("openai") is None:
        yield "sdk objects: openai is not installed"
        return
    from openai._models import construct_type
    from openai.types.chat import ChatCompletion

    codec, text = Codec(signer=Signer(b"k" * 32)), json.dumps(COMPLETION)
    # As the SDK's client makes it: without validation, here with a field that the class does not declare.
    received = construct_type(value={**COMPLETION, "provider": "someone"}, type_=ChatCompletion)
    records = {"validated": codec.encode(ChatCompletion.model_validate(COMPLETION)), "received": codec.encode(received)}
    floor = "json.loads and model_validate"
    works = {name: lambda record=record: codec.decode(record) for name, record in records.items()}
    works[floor] = lambda: ChatCompletion.model_validate(json.loads(text))
    times = in_turn({name: repeated(work) for name, work in works.items()})
    for name in records:
        yield ratio(f"a stored ChatCompletion, {name}", times[name], floor, times[floor], at_most=PROMISED)
