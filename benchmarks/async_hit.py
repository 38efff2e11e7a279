"""Hits of a coroutine function against those of a plain one, memoized and drawn, beside caches with an async form."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _model, _peers
from benchmarks._caches import folder, new_cache
from benchmarks._measure import Row, Timed, in_turn, ratio, repeated, repeated_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm import Cache

SLOTS = 8


def contender(peer: _peers.AsyncPeer, stack: ExitStack, runner: asyncio.Runner) -> Timed:
    """Open a peer around a coroutine function and let it hit until the stack ends."""
    paid = _model.coroutine()
    ask = stack.enter_context(peer.open(stack.enter_context(folder()), paid.function, runner))

    async def hit() -> object:
        return await ask(_model.PROMPT, model="m")

    runner.run(hit())
    stack.enter_context(_peers.only_hits(peer.name, paid))
    return repeated_async(runner, hit)


def ours(cache: Cache, runner: asyncio.Runner) -> dict[str, Timed]:
    memo, drawn = cache.cached_llm(pool=1), cache.cached_llm(pool=SLOTS, namespace="bench")
    plain, coroutine = _model.plain().function, _model.coroutine().function
    memo_plain, memo_async, drawn_plain, drawn_async = memo(plain), memo(coroutine), drawn(plain), drawn(coroutine)
    drawn_plain.draw(SLOTS, "x")
    runner.run(drawn_async.draw(SLOTS, "x"))
    return {
        "memo": repeated(lambda: memo_plain("x")),
        "memo async": repeated_async(runner, lambda: memo_async("x")),
        "drawn": repeated(lambda: drawn_plain("x")),
        "drawn async": repeated_async(runner, lambda: drawn_async("x")),
    }


def run() -> Iterator[Row | str]:
    yield from _peers.missing("async hit", _peers.ASYNC_PEERS)
    present = [peer for peer in _peers.ASYNC_PEERS if peer.installed]
    with new_cache() as cache, asyncio.Runner() as runner, ExitStack() as stack:
        contenders = ours(cache, runner) | {peer.name: contender(peer, stack, runner) for peer in present}
        times = in_turn(contenders)
    yield ratio("async memo hit", times["memo async"], "sync memo hit", times["memo"], at_most=1.5)
    for peer in present:
        yield ratio("async memo hit", times["memo async"], peer.name, times[peer.name])
    yield ratio("async durable draw", times["drawn async"], "sync durable draw", times["drawn"], at_most=1.5)
