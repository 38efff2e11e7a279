"""Coroutine functions are drawn by asyncio; elsewhere they say so, and what works."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from memollm import NoEventLoop


def step(awaitable):
    """Do the first step of a coroutine, as another kind of event loop would."""
    awaitable.__await__().send(None)


def asked(cache):
    """Return what asks for a coroutine function in each way."""

    async def ask(prompt):
        return prompt

    async def tell(prompt):
        yield prompt

    ask = cache.cached_llm(ask, namespace="a")
    tell = cache.cached_llm(tell, namespace="a")
    return {
        "call": lambda: ask("x"),
        "draw": lambda: ask.draw(2, "x"),
        "map": lambda: ask.map(["x"]),
        "stream": lambda: anext(tell("x")),
    }


@pytest.mark.parametrize("way", ["call", "draw", "map", "stream"])
def test_a_coroutine_function_says_that_it_needs_an_event_loop(cache, way):
    """Nothing is taken, and the error names what works."""
    with pytest.raises(NoEventLoop, match="no event loop of asyncio runs"):
        step(asked(cache)[way]())
    assert cache.namespaces() == []


def test_trio_is_named(cache, monkeypatch):
    """Who runs a program by trio reads what to write there."""
    trio = ModuleType("trio")
    trio.lowlevel = SimpleNamespace(current_trio_token=object)
    monkeypatch.setitem(sys.modules, "trio", trio)
    with pytest.raises(NoEventLoop, match=r"where trio runs.*await trio\.to_thread\.run_sync"):
        step(asked(cache)["call"]())
