"""A hit of plain memoization (`pool=1`), repeated in the process, beside the caches that people use for it."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks._bare import ANSWER
from benchmarks._caches import folder, new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROMPT = "Name the capital of France."
CHAT = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Name the capital of France."},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
]


def answer(prompt: Any, *, model: str = "m") -> str:
    return ANSWER


def diskcache_hit(at: Path) -> Callable[[], object]:
    import diskcache

    memoized = diskcache.Cache(str(at / "diskcache")).memoize()(answer)
    return lambda: memoized(PROMPT, model="m")


def dspy_hit(at: Path) -> Callable[[], object]:
    from dspy.clients.cache import Cache

    cache = Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=str(at / "dspy"))
    request = {"prompt": PROMPT, "model": "m"}
    cache.put(request, ANSWER)
    return lambda: cache.get(request)


PEERS = {"dspy": ("dspy Cache.get", dspy_hit, 1.0), "diskcache": ("diskcache.memoize", diskcache_hit, 0.2)}


def run() -> Iterator[Row | str]:
    with new_cache() as cache, folder() as at:
        memoized, remembered = cache.cached_llm(pool=1)(answer), functools.lru_cache(answer)
        contenders = {
            "prompt": repeated(lambda: memoized(PROMPT, model="m")),
            "chat": repeated(lambda: memoized(CHAT, model="m")),
            "lru": repeated(lambda: remembered(PROMPT, model="m")),
        }
        present = [package for package in PEERS if find_spec(package)]
        for package in present:
            contenders[package] = repeated(PEERS[package][1](at))
        times = in_turn(contenders)
    yield ratio("memo hit", times["prompt"], "functools.lru_cache", times["lru"], at_most=None)
    yield ratio("memo hit, four messages", times["chat"], "functools.lru_cache", times["lru"], at_most=None)
    for package, (name, _, at_most) in PEERS.items():
        if package in present:
            yield ratio("memo hit", times["prompt"], name, times[package], at_most=at_most)
        else:
            yield f"memo hit: {name} skipped, {package} is not installed"
