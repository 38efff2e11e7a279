"""A miss of a function that returns at once, against a bare synced commit of its row, and beside other caches."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _model, _peers
from benchmarks._bare import Bare
from benchmarks._caches import folder, new_cache
from benchmarks._measure import Row, Timed, in_turn, ratio, repeated
from benchmarks._model import ANSWER

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


def peers_miss(peer: _peers.Peer, stack: ExitStack) -> Timed:
    """Ask a peer for another call each time; what it stores is not synced, as none of them does that."""
    ask, fresh = (
        stack.enter_context(peer.open(stack.enter_context(folder()), _model.plain().function)),
        itertools.count(),
    )
    return repeated(lambda: ask(f"prompt {next(fresh)}", model="m"))


def run() -> Iterator[Row | str]:
    yield from _peers.missing("miss", _peers.DURABLE)
    present = [peer for peer in _peers.DURABLE if peer.installed]
    with new_cache() as cache, ExitStack() as stack:
        miss, next_sample = misser(cache, namespace="bench"), cache.cached_llm(namespace="more")(lambda: ANSWER)
        miss()
        bare = stack.enter_context(Bare(cache))
        bare.sync_commits()
        contenders = {"new": repeated(miss), "more": repeated(next_sample), "bare": repeated(bare.insert)}
        times = in_turn(contenders, rounds=25, number=25)
        contenders = {"new": repeated(miss)} | {peer.name: peers_miss(peer, stack) for peer in present}
        beside = in_turn(contenders, rounds=9, number=10)
    yield ratio("miss, a new call", times["new"], "bare synced commit", times["bare"], at_most=2)
    yield ratio("miss, one more sample", times["more"], "bare synced commit", times["bare"], at_most=2)
    for peer in present:
        yield ratio("miss beside caches that do not sync", beside["new"], peer.name, beside[peer.name])
