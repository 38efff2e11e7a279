"""Bytes on disk for a sample of real-looking answers, beside the caches that people use."""

from __future__ import annotations

import random
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks._caches import folder
from benchmarks._measure import Row, ratio
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SAMPLES = 300
WORDS = "the model answers that a cache keeps every sample in order and gives none of them twice to one reader".split()  # noqa: SIM905


def text(choose: random.Random, words: int) -> str:
    return " ".join(choose.choice(WORDS) for _ in range(words))


def completion(choose: random.Random) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{choose.randrange(16**12):012x}",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text(choose, 150)}}],
        "usage": {"prompt_tokens": 120, "completion_tokens": choose.randrange(400), "total_tokens": 500},
    }


KINDS: dict[str, Callable[[random.Random], object]] = {
    "short text": lambda choose: text(choose, 12),
    "long text": lambda choose: text(choose, 1500),
    "completion": completion,
    "embedding": lambda choose: [choose.gauss(0, 1) for _ in range(512)],
}


def size(at: Path) -> float:
    return sum(path.stat().st_size for path in at.rglob("*") if path.is_file()) / SAMPLES


def in_memollm(at: Path, answers: list[object]) -> None:
    waiting = iter(answers)
    with Cache(at / "cache.db") as cache:
        cache.cached_llm(lambda prompt: next(waiting), name="ask", version=1, namespace="n").draw(SAMPLES, "x")


def in_diskcache(at: Path, answers: list[object]) -> None:
    import diskcache

    with diskcache.Cache(str(at)) as cache:
        for number, answer in enumerate(answers):
            cache[f"key {number:032x}"] = answer


def in_joblib(at: Path, answers: list[object]) -> None:
    import joblib

    memory = joblib.Memory(str(at), verbose=0)
    ask = memory.cache(_nth(answers))
    for number in range(SAMPLES):
        ask(number)


def _nth(answers: list[object]) -> Callable[[int], object]:
    def nth(number: int) -> object:
        return answers[number]

    return nth


PEERS = {"diskcache": in_diskcache, "joblib": in_joblib}
"""CacheSaver keeps its samples in a diskcache, with a list around them."""


def run() -> Iterator[Row | str]:
    for kind, make in KINDS.items():
        choose = random.Random(1)
        answers = [make(choose) for _ in range(SAMPLES)]
        with folder() as mine:
            in_memollm(mine, answers)
            ours = size(mine)
        for package, fill in PEERS.items():
            if not find_spec(package):
                yield f"storage: {package} skipped, it is not installed"
                continue
            with folder() as at:
                fill(at, answers)
                yield ratio(f"bytes a sample, {kind}", [ours], package, [size(at)], at_most=None, unit="bytes")
