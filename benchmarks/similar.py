"""Similar calls: searching 100,000 vectors, a miss with them, an exact hit; and what gates and thresholds let pass."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._measure import Row, absolute, in_turn, ratio, repeated
from memollm import Cache, Embedder, Similar
from memollm._similar.gates import GATES, passed
from memollm.stores.matching import matching
from memollm.testing import hashed_ngrams

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS, WIDTH = 100_000, 384
ROUNDS = 15
THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))
SAME = {"same", "lost"}
PAIRS = Path(__file__).with_name("similar_pairs.txt")


def pairs() -> list[tuple[str, str, str]]:
    """Read the table: what two questions differ in, and the two."""
    lines = PAIRS.read_text(encoding="utf-8").splitlines()
    return [tuple(part.strip() for part in line.split(" | ")) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


# Speed.


def directions() -> Iterator[Any]:
    import numpy as np

    random = np.random.default_rng(1)
    while True:
        vectors = random.standard_normal((1000, WIDTH)).astype(np.float32)
        yield from vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(folder: Path, space: bytes) -> None:
    """Let a space have as many vectors, none of which is near."""
    rows = ((space, 1, vector.tobytes()) for vector in itertools.islice(directions(), VECTORS))
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO vector (space, call, embedder, parameter, vector) VALUES (?, ?, 'e', 'question', ?)", rows
        )


def misses() -> Iterator[Row]:
    own = directions()
    similar = Similar("question", embed=Embedder(lambda text: next(own), name="random"), threshold=0.9)

    def answering(cache: Cache, **options: Any) -> Any:
        return cache.cached_llm(lambda question: "yes", pool=1, name="answer", version=1, **options)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Cache(folder) as cache:
            first = answering(cache, similar=similar)
            first("how?")
            call = first._self_invocation(("how?",), {}).keyed()
            (known,) = matching(cache.store).vectors_of(call)
        fill(folder, known.space.digest(call.form))
        with Cache(folder) as cache:
            ask = answering(cache, similar=similar)
            begin = time.perf_counter()
            ask("the first one")
            yield absolute("first search of 100,000 in a process", [time.perf_counter() - begin], unit="ms")
            numbers, took = itertools.count(), []
            for _ in range(ROUNDS):
                question = f"number {next(numbers)}"
                begin = time.perf_counter()
                ask(question)
                took.append(time.perf_counter() - begin)
            yield absolute("a miss with 100,000 vectors", took, unit="ms", at_most=60)
            yield absolute("the search in it", list(searches(cache)), unit="ms", at_most=40)


def searched(cache: Cache) -> Any:
    """Return the vectors that a process has read, once it is sure that they are all there."""
    from memollm._similar.vectors import blocks_of

    (block,) = blocks_of(cache.__memollm_engine__())._blocks.values()
    assert block.known > VECTORS
    return block


def searches(cache: Cache) -> Iterator[float]:
    block = searched(cache)
    for vector in itertools.islice(directions(), ROUNDS):
        begin = time.perf_counter()
        block.nearest(vector, 0.9, 50)
        yield time.perf_counter() - begin


def hits() -> Iterator[Row]:
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.9)
    with tempfile.TemporaryDirectory() as folder, Cache(folder) as cache:
        with_it, without = (
            cache.cached_llm(lambda question: "yes", pool=1, name=name, version=1, similar=option)
            for name, option in (("with", similar), ("without", None))
        )
        with_it("how?")
        without("how?")
        times = in_turn({"with": repeated(lambda: with_it("how?")), "without": repeated(lambda: without("how?"))})
        yield ratio("an exact hit with similar", times["with"], "without", times["without"], at_most=1.1)


# What is lent, and rightly.


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(hashed_ngrams(one), hashed_ngrams(other), strict=True))


def rates() -> Iterator[Row]:
    """Of each threshold: how much of what it lends is right, and how much of what could be lent it lends."""
    scored = [(kind in SAME, cosine(one, other), passed(GATES, one, other) is not None) for kind, one, other in pairs()]
    could = sum(same for same, _, _ in scored)
    kept = [agreed for same, _, agreed in scored if same]
    let = [agreed for same, _, agreed in scored if not same]
    yield absolute("pairs that are the same and pass the gates", [sum(kept) / len(kept)], unit="share")
    yield absolute("pairs that differ and pass the gates", [sum(let) / len(let)], unit="share")
    for threshold in THRESHOLDS:
        for whose, gated in (("cosine alone", False), ("with gates", True)):
            lent = [same for same, score, agreed in scored if score >= threshold and (agreed or not gated)]
            right = sum(lent)
            yield absolute(f"precision from {threshold:.2f} on", [right / max(1, len(lent))], unit="share", whose=whose)
            yield absolute(f"recall from {threshold:.2f} on", [right / could], unit="share", whose=whose)


def run() -> Iterator[Row | str]:
    yield from hits()
    yield from misses()
    yield from rates()
