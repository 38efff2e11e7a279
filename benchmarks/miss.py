"""A miss of a function that returns at once, against a bare synced commit of the row that it stores."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER, Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memollm import Cache


def misser(cache: Cache, **options: object) -> Callable[[], object]:
    """Return a call that is another one each time."""
    fresh = itertools.count()

    @cache.cached_llm(name="missed", version=1, **options)
    def ask(prompt: str) -> str:
        return ANSWER

    return lambda: ask(f"prompt {next(fresh)}")


def run() -> Iterator[Row]:
    with new_cache() as cache:
        miss, next_sample = misser(cache, namespace="bench"), cache.cached_llm(namespace="more")(lambda: ANSWER)
        miss()
        bare = Bare(cache)
        bare.sync_commits()
        contenders = {"new": repeated(miss), "more": repeated(next_sample), "bare": repeated(bare.insert)}
        times = in_turn(contenders, rounds=25, number=25)
    yield ratio("miss, a new call", times["new"], "bare synced commit", times["bare"], at_most=2)
    yield ratio("miss, one more sample", times["more"], "bare synced commit", times["bare"], at_most=2)
