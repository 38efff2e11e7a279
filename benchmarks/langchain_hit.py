"""A stored answer through LangChain's cache, memollm's beside its own on disk: a lookup, and a call of a model."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_MOST = 0.3
SLOTS = 8
QUESTION = "Why is the sky blue? Answer in one sentence."
THEIRS = "LangChain's SQLiteCache"


def run() -> Iterator[Row | str]:
    if find_spec("langchain_community") is None:
        yield "a hit through LangChain: langchain-community is not installed"
        return
    from langchain_community.cache import SQLiteCache
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration

    from memollm.integrations.langchain import LangChainCache

    with tempfile.TemporaryDirectory() as folder, new_cache() as cache:
        caches = {
            "pool=1": LangChainCache(cache=cache, pool=1, name="memo"),
            "a namespace": LangChainCache(cache=cache, pool=SLOTS, namespace="bench", name="draws"),
            THEIRS: SQLiteCache(database_path=str(Path(folder) / "langchain.db")),
        }
        models = {name: FakeListChatModel(responses=[ANSWER], cache=each) for name, each in caches.items()}
        generations = [ChatGeneration(message=AIMessage(ANSWER))]
        settings = FakeListChatModel(responses=[ANSWER])._get_llm_string()
        for name, each in caches.items():
            for _ in range(SLOTS):
                models[name].invoke(QUESTION)
                if each.lookup(QUESTION, settings) is None:
                    each.update(QUESTION, settings, generations)
        lookups = {name: repeated(lambda each=each: each.lookup(QUESTION, settings)) for name, each in caches.items()}
        calls = {name: repeated(lambda model=model: model.invoke(QUESTION)) for name, model in models.items()}
        for what, at_most, times in (
            ("a lookup", AT_MOST, in_turn(lookups)),
            ("a model's call", None, in_turn(calls)),
        ):
            for name in caches:
                if name != THEIRS:
                    yield ratio(f"{what}, {name}", times[name], THEIRS, times[THEIRS], at_most=at_most)
