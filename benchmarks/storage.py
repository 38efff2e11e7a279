"""Bytes on disk for a sample of real-looking answers, beside the caches that people use."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from benchmarks import _model, _peers
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
    return sum(allocated(path) for path in at.rglob("*") if path.is_file()) / SAMPLES


def allocated(path: Path) -> int:
    """Return what a file takes: whole blocks, where the system tells."""
    status = path.stat()
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


def in_memollm(at: Path, answers: list[object]) -> None:
    waiting = iter(answers)
    with Cache(at / "cache.db") as cache:
        cache.cached_llm(lambda prompt: next(waiting), name="ask", version=1, namespace="n").draw(SAMPLES, "x")


def in_peer(peer: _peers.Peer, at: Path, answers: list[object]) -> None:
    waiting = iter(answers)
    with peer.open(at, _model.plain(lambda prompt: next(waiting)).function) as ask:
        for number in range(SAMPLES):
            ask(f"prompt {number}", model="m")


def run() -> Iterator[Row | str]:
    yield from _peers.missing("storage", _peers.DURABLE)
    for kind, make in KINDS.items():
        choose = random.Random(1)
        answers = [make(choose) for _ in range(SAMPLES)]
        with folder() as mine:
            in_memollm(mine, answers)
            ours = size(mine)
        figure, floor = f"bytes a sample, {kind}", float(len(json.dumps(answers)) / SAMPLES)
        yield ratio(figure, [ours], "its JSON text", [floor], unit="bytes")
        for peer in _peers.DURABLE:
            if peer.installed and not (peer.text_only and not isinstance(answers[0], str)):
                with folder() as at:
                    in_peer(peer, at, answers)
                    yield ratio(figure, [ours], peer.name, [size(at)], unit="bytes")
