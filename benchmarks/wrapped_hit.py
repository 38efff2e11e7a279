"""A stored answer through a wrapped client of OpenAI, beside the same SDK on a transport that answers at once."""

from __future__ import annotations

import json
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measure import Row, in_turn, ratio, repeated
from benchmarks.sdk_objects import COMPLETION

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISED = 1.3
MESSAGES = [
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": "Why is the sky blue?"},
]


def run() -> Iterator[Row | str]:
    if find_spec("openai") is None:
        yield "wrapped hit: openai is not installed"
        return
    import openai

    import memollm

    # Before version 3 it stood on httpx.
    httpx = import_module("httpx2" if int(openai.__version__.partition(".")[0]) > 2 else "httpx")

    text = json.dumps(COMPLETION).encode()
    headers = {"content-type": "application/json"}
    at_once = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=text))
    with tempfile.TemporaryDirectory() as folder, memollm.Cache(Path(folder)) as cache:
        bare = openai.OpenAI(api_key="none", base_url="http://x/v1", http_client=httpx.Client(transport=at_once))
        clients = {
            "pool=1": memollm.wrap(bare, cache=cache, pool=1),
            "pool=2": memollm.wrap(bare, cache=cache, pool=2, namespace="a"),
        }

        def asked(client: openai.OpenAI) -> object:
            return client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)

        works = {name: repeated(lambda client=client: asked(client)) for name, client in clients.items()}
        floor = "the SDK on a transport that answers at once"
        for client in (*clients.values(), *clients.values()):
            asked(client)
        times = in_turn({**works, floor: repeated(lambda: asked(bare))})
        for name in clients:
            yield ratio(f"a hit through wrap, {name}", times[name], floor, times[floor], at_most=PROMISED)
        bare.close()
