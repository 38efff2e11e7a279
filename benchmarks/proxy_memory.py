"""The memory of the proxy over 100,000 requests, a tenth of them misses (`--deep` only: it takes minutes)."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measure import absolute
from benchmarks._relays import CHAT, relays
from benchmarks.proxy import NEEDED, body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row

DEEP = True
REQUESTS, WARM, CLIENTS, MISSES = 100_000, 12_000, 8, 10
"""As many misses come first as fill what a process remembers: 10,000 calls."""
FLAT = 20
"""Megabytes by which it may grow from then on."""


def run() -> Iterator[Row | str]:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing or not Path("/proc/self/statm").exists():
        yield f"proxy_memory: {', '.join(missing) or 'the memory of a process is told by Linux alone'}"
        return
    with tempfile.TemporaryDirectory() as folder, relays(folder) as (_, proxy):
        numbers = itertools.count()
        asyncio.run(ask(proxy.url, numbers, WARM, misses=1))
        warm = resident(proxy.process.pid)
        asyncio.run(ask(proxy.url, numbers, REQUESTS, misses=MISSES))
        after = resident(proxy.process.pid)
    yield absolute(f"proxy: memory after {WARM:,} misses", [warm], unit="MB")
    yield absolute(f"proxy: grown over {REQUESTS:,} requests more", [after - warm], unit="MB", at_most=FLAT)


async def ask(url: str, numbers: Iterator[int], requests: int, *, misses: int) -> None:
    """Let clients ask side by side until so many requests were answered, each n-th of them anew."""
    import httpx

    left = itertools.repeat(None, requests)

    async def client() -> None:
        async with httpx.AsyncClient(base_url=url, headers={"x-memollm-pool": "1"}, timeout=60) as asking:
            for _ in left:
                number = next(numbers)
                prompt = f"number {number}" if number % misses == 0 else f"again {number % 100}"
                response = await asking.post(CHAT, json=body(prompt))
                assert response.status_code == 200, response.text

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def resident(process: int) -> float:
    """Return how many bytes of memory a process has."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096.0
