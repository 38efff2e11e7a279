"""The proxy beside a bare pass-through of the same stack: what a hit and a miss add, and 200 streams at once."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks._measure import absolute, in_turn, ratio, repeated
from benchmarks._relays import CHAT, EVENTS, PAUSE, relays

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from benchmarks._measure import Row

STREAMS, TIMES = 200, 5
FLOOR = "a bare pass-through"
NEEDED = ("starlette", "uvicorn", "httpx")


def run() -> Iterator[Row | str]:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        yield f"proxy: {', '.join(missing)} not installed"
        return
    with tempfile.TemporaryDirectory() as folder, relays(folder) as (plain, proxy):
        yield from answers(plain.url, proxy.url)
        yield from streams(plain.url, proxy.url)


def answers(plain: str, proxy: str) -> Iterator[Row]:
    """Ask for one answer after the other, over connections that are kept."""
    import httpx

    numbers = itertools.count()

    def asked(client: httpx.Client, prompt: str, **headers: str) -> None:
        response = client.post(CHAT, json=body(prompt), headers=headers)
        assert response.status_code == 200, response.text

    with httpx.Client(base_url=plain) as through, httpx.Client(base_url=proxy) as kept:
        again = {"x-memollm-pool": "1"}
        works = {
            FLOOR: lambda: asked(through, "again"),
            "a hit": lambda: asked(kept, "again", **again),
            "a miss": lambda: asked(kept, f"number {next(numbers)}"),
            "what is not kept": lambda: kept.get("/v1/models"),
        }
        times = in_turn({name: repeated(work) for name, work in works.items()}, number=5)
    for name, at_most in (("a hit", 2), ("a miss", 1)):
        added = [mine - floor for mine, floor in zip(times[name], times[FLOOR], strict=True)]
        yield absolute(f"proxy: {name} adds to {FLOOR}", added, unit="ms", at_most=at_most)
    for name in ("a hit", "a miss", "what is not kept"):
        yield ratio(f"proxy: {name}", times[name], FLOOR, times[FLOOR], unit="ms")


def streams(plain: str, proxy: str) -> Iterator[Row]:
    """Let 200 clients read a stream at the same time, whose events come for a second."""
    walls: dict[str, list[float]] = {plain: [], proxy: []}
    for turn in range(TIMES + 1):
        for url, found in walls.items():
            wall = asyncio.run(at_once(url, f"turn {turn}"))
            if turn:
                found.append(wall)
    yield ratio(f"proxy: {STREAMS} streams at once", walls[proxy], FLOOR, walls[plain], unit="ms")
    ideal = EVENTS * PAUSE
    over = [statistics.median(walls[proxy]) - ideal]
    yield absolute(f"proxy: {STREAMS} streams, over their own {ideal:g} s", over, unit="ms")


async def at_once(url: str, name: str) -> float:
    """Return how long it takes until all have read all."""
    import httpx

    async def read(client: httpx.AsyncClient, number: int) -> None:
        asked = {**body(f"{name}, stream {number}"), "stream": True}
        async with client.stream("POST", CHAT, json=asked) as response:
            text = b"".join([piece async for piece in response.aiter_raw()])
        assert text.count(b"data: ") == EVENTS + 1

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        begin = time.perf_counter()
        await asyncio.gather(*(read(client, number) for number in range(STREAMS)))
        return time.perf_counter() - begin


def body(prompt: str) -> dict[str, object]:
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}
