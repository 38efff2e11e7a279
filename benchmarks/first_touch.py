"""The first touch of stored calls as in a new process: a new Cache and function a round, opening not counted."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _model, _peers
from benchmarks._bare import Bare
from benchmarks._caches import folder, new_cache
from benchmarks._measure import Row, Timed, each, in_turn, ratio
from benchmarks._model import ANSWER
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = 1000
PEERS_CALLS = 100
"""Some take seconds to store more."""


def memo(cache: Cache):
    """Decorate anew, as a new process would."""

    @cache.cached_llm(pool=1, name="touched", version=1)
    def ask(prompt: str, model: str = "m") -> str:
        return ANSWER

    return ask


def fill(cache: Cache) -> None:
    """Store the calls that are to be touched."""
    ask = memo(cache)
    for i in range(CALLS):
        ask(f"prompt {i}")


def toucher(cache: Cache) -> Timed:
    """Touch calls in a cache opened anew."""

    def touch(number: int) -> float:
        with Cache(cache.store.files.database) as anew:
            return touched(memo(anew), number)

    return touch


def touched(ask: _peers.Ask, number: int) -> float:
    """Time the calls after the first, which opens files."""
    ask("prompt 0", model="m")
    begin = time.perf_counter()
    for i in range(1, number + 1):
        ask(f"prompt {i}", model="m")
    return time.perf_counter() - begin


def peers_toucher(peer: _peers.Peer, at: Path) -> Timed:
    """Do the same with a peer."""
    paid = _model.plain()
    with peer.open(at, paid.function) as ask:
        touched(ask, PEERS_CALLS - 1)

    def touch(number: int) -> float:
        with peer.open(at, paid.function) as ask, _peers.only_hits(peer.name, paid):
            return touched(ask, number)

    return touch


def reader(bare: Bare) -> Timed:
    """Read the samples of calls by their primary key."""
    calls = [call for (call,) in bare.execute("SELECT id FROM call ORDER BY id LIMIT ?", (CALLS,)).fetchall()]

    def read(number: int) -> float:
        begin = time.perf_counter()
        for call in itertools.islice(calls, number):
            bare.read(call)
        return time.perf_counter() - begin

    return read


def run() -> Iterator[Row | str]:
    yield from _peers.missing("first touch", _peers.DURABLE)
    present = [peer for peer in _peers.DURABLE if peer.installed]
    with new_cache() as cache, ExitStack() as stack:
        fill(cache)
        contenders = {
            "touch": each(toucher(cache), CALLS - 1),
            "read": each(reader(stack.enter_context(Bare(cache))), CALLS - 1),
        }
        for peer in present:
            at = stack.enter_context(folder())
            contenders[peer.name] = each(peers_toucher(peer, at), PEERS_CALLS - 1)
        times = in_turn(contenders, rounds=15, number=1)
    yield ratio("first touch", times["touch"], "bare select and decode", times["read"], at_most=4)
    for peer in present:
        yield ratio("first touch", times["touch"], peer.name, times[peer.name])
