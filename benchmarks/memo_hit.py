"""A hit of plain memoization (`pool=1`), repeated in the process, beside the caches that people use for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _model, _peers
from benchmarks._caches import folder, new_cache
from benchmarks._measure import Row, Timed, in_turn, ratio, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Name the capital of France."},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
]
AT_MOST = {_peers.DSPY: 1.0, _peers.DISKCACHE: 0.2}
FLOORS = (_peers.LRU, _peers.BARE)


def contender(peer: _peers.Peer, stack: ExitStack) -> Timed:
    at = stack.enter_context(folder())
    return repeated(stack.enter_context(_peers.hit(peer, at, _model.plain())))


def run() -> Iterator[Row | str]:
    yield from _peers.missing("memo hit", _peers.PEERS)
    others = dict.fromkeys([*FLOORS, *(peer for peer in _peers.PEERS if peer.installed)])
    with ExitStack() as stack, new_cache() as cache:
        contenders = {peer.name: contender(peer, stack) for peer in (_peers.MEMOLLM, *others)}
        asked = cache.cached_llm(pool=1)(_model.plain().function)
        contenders["chat"] = repeated(lambda: asked(CHAT, model="m"))
        times = in_turn(contenders)
    for peer in others:
        yield ratio("memo hit", times["memollm"], peer.name, times[peer.name], at_most=AT_MOST.get(peer))
    yield ratio("memo hit, four messages", times["chat"], "memo hit", times["memollm"])
