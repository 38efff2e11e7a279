"""Caches with `get` and `set`: what they keep are samples."""

from __future__ import annotations

import asyncio
import logging

import pytest
from models import run
from traces import found, traces

import memollm
from memollm import Cache, CacheMiss
from memollm.integrations.getset import GetSet

MARK = "sk-ant-MARK0123456789abcdefMARK"


class Summaries:
    """A library that takes a strategy of the user's for its cache, as Kura does."""

    def __init__(self, strategy):
        self.strategy = strategy
        self.made = 0

    async def summarize(self, text):
        found = self.strategy.get(text)
        if found is not None:
            return found
        self.made += 1
        summary = f"{text} in short {self.made}"
        await asyncio.sleep(0)
        if text == "bad":
            raise ValueError("the provider is down")
        self.strategy.set(text, summary)
        return summary

    async def all(self, texts):
        return await asyncio.gather(*(self.summarize(text) for text in texts), return_exceptions=True)


def test_a_pool_of_one_is_an_ordinary_cache(cache):
    """The same key has the same value; a default is returned where there is none."""
    kept = GetSet(name="kept", cache=cache, pool=1)
    library = Summaries(kept)
    first = run(library.all(["a", "b"]))
    assert run(library.all(["b", "a"])) == first[::-1]
    assert library.made == 2
    assert kept.get("c", "nothing") == "nothing"
    assert "kept" in repr(kept)


def test_a_namespace_draws_distinct_values(cache):
    """P1, P2: equal keys at one moment are different draws, and another namespace reads them again."""
    library = Summaries(GetSet(name="kept", cache=cache, namespace="a"))
    first = run(library.all(["a"] * 4))
    assert len({*first}) == 4
    with memollm.namespace("b"):
        assert sorted(run(library.all(["a"] * 4))) == sorted(first)
    assert library.made == 4


def test_a_call_that_fails_holds_nothing(cache):
    """P3: the end of its task gives the position back, to whoever asks next."""
    kept = GetSet(name="kept", cache=cache, pool=1)
    run(Summaries(kept).all(["bad"]))
    assert kept.get("bad") is None
    kept.set("bad", "good")
    assert kept.get("bad") == "good"


def test_models_come_back_as_such(cache):
    """P11: a value may be any object that memollm keeps, and each get has its own."""
    kept = GetSet(name="kept", cache=cache, pool=1)
    kept.set("a", {"clusters": [1, 2]})
    kept.get("a")["clusters"].append(3)
    assert kept.get("a") == {"clusters": [1, 2]}


def test_offline_misses_are_errors(cache):
    """Where nothing may be called, a key without a value raises."""
    with memollm.mode("offline"), pytest.raises(CacheMiss):
        GetSet(name="kept", cache=cache, pool=1).get("a")


def test_no_secret_is_kept(tmp_path, caplog):
    """No key and no header of what is asked is in the cache, an export, a report or the log."""
    caplog.set_level(logging.DEBUG, logger="memollm")
    headers = {"Authorization": f"Bearer {MARK}", "X-Api-Key": MARK}
    with Cache(tmp_path / "secret") as cache:
        kept = GetSet(name="kept", cache=cache, namespace="a")
        for key in ({"prompt": "hi", "api_key": MARK, "headers": headers}, f"hi, by {MARK}"):
            assert kept.get(key) is None
            kept.set(key, "a summary")
        with memollm.namespace("b"):
            others = {"api_key": "another", "headers": {"Authorization": "another", "X-Api-Key": "another"}}
            assert kept.get({"prompt": "hi", **others}) == "a summary"
        with memollm.mode("offline"), pytest.raises(CacheMiss) as miss:
            kept.get({"prompt": "you", "api_key": MARK})
        left = traces(cache, tmp_path, miss.value, kept, caplog.text)
    assert len(found(left, "a summary")) >= 2
    assert found(left, MARK) == []
