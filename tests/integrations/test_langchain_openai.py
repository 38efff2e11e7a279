"""LangChain's model of OpenAI, through its cache, memoized, and through a transport: the same promises each way."""

from __future__ import annotations

import asyncio
import gc
import logging

import httpx
import pytest

pytest.importorskip("langchain_openai")

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from models import run
from traces import found, traces

import memollm
import memollm.http
from memollm import Cache, CacheMiss
from memollm.integrations.langchain import LangChainCache, LangChainEmbeddings, memoized

# What LangChain and the SDKs leave open is their own business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::memollm.MemollmWarning")]


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture(autouse=True)
def tidy():
    """Have what LangChain leaves open closed here, where no warning about it counts."""
    yield
    gc.collect()


@pytest.fixture(params=["cache", "memoized", "transport"])
def model(request, provider):
    """Make a model that draws from a cache, in one of the three ways."""

    def make(kept, *, pool=None, **options):
        given = {"model": "gpt-4o-mini", "base_url": provider.openai_url, "api_key": provider.key, "max_retries": 0}
        if request.param == "transport":
            plain = memollm.http.Transport(cache=kept, pool=pool)
            awaited = memollm.http.AsyncTransport(cache=kept, pool=pool)
        else:
            plain, awaited = httpx.HTTPTransport(), httpx.AsyncHTTPTransport()
        http = {
            "http_client": httpx.Client(transport=plain),
            "http_async_client": httpx.AsyncClient(transport=awaited),
        }
        if request.param == "cache":
            options["cache"] = LangChainCache(cache=kept, pool=pool)
        made = ChatOpenAI(**given, **options, **http)
        return memoized(made, cache=kept, pool=pool) if request.param == "memoized" else made

    make.way = request.param
    return make


def said(model, prompt="hi", **options):
    return model.invoke(prompt, **options).content


def test_answers_are_drawn(model, cache, provider):
    """P1, P2: distinct in a namespace, of threads and tasks alike, and the same for another, for nothing."""
    asking = model(cache)

    async def three():
        return [each.content for each in await asyncio.gather(*(asking.ainvoke("hi") for _ in range(3)))]

    with memollm.namespace("a"):
        drawn = [said(asking), *run(three()), said(asking)]
    with memollm.namespace("b"):
        assert sorted(said(asking) for _ in range(5)) == sorted(drawn)
    assert len({*drawn}) == provider.calls == 5


def test_streams_are_replayed_where_they_are_kept(model, cache, provider):
    """A stream is a sample, too, but for LangChain's cache, which is asked for none."""
    asking = model(cache, pool=1, stream_usage=True)
    texts = {"".join(chunk.content for chunk in asking.stream("hi")) for _ in range(2)}
    assert provider.calls == len(texts) == (2 if model.way == "cache" else 1)


def test_what_fails_holds_nothing(model, cache, provider):
    """P3: the position of a call that failed is the next one's."""
    asking = model(cache)
    with memollm.namespace("a"):
        provider.fail(500)
        with pytest.raises(Exception, match="As planned"):
            said(asking)
        first = said(asking)
    with memollm.namespace("b"):
        assert said(asking) == first
    assert provider.calls == 1


def test_offline_asks_no_model(model, cache, provider):
    """A miss where nothing may be called comes out of LangChain as it is."""
    asking = model(cache, pool=1)
    first = said(asking)
    with memollm.mode("offline"):
        assert said(asking) == first
        with pytest.raises(CacheMiss):
            said(asking, "you?")
    assert provider.calls == 1


def test_no_secret_is_kept(model, tmp_path, provider, caplog):
    """No key and no header is in the cache, an export, a report or the log; they do not count either."""
    caplog.set_level(logging.DEBUG, logger="memollm")
    with Cache(tmp_path / "secret") as kept:
        secret = {"default_headers": {"X-Secret": "MARKER"}, "default_query": {"key": "MARKER"}}
        first = said(model(kept, pool=1, **secret))
        assert first == said(model(kept, pool=1)) == said(model(kept, pool=1, default_headers={"X-Other": "MARKER"}))
        said(model(kept, pool=1), extra_headers={"Cookie": "MARKER"})
        with memollm.mode("offline"), pytest.raises(CacheMiss) as miss:
            said(model(kept, pool=1, **secret), "you?")
        left = traces(kept, tmp_path, miss.value, caplog.text)
    assert provider.calls == 1
    assert len(found(left, first)) >= 2
    assert found(left, provider.key, "MARKER", "X-Secret") == []


def test_embeddings_are_made_once(cache, provider):
    """Each text of a list is embedded once, whatever list it comes in."""
    given = {"base_url": provider.openai_url, "api_key": provider.key, "check_embedding_ctx_length": False}
    vectors = LangChainEmbeddings(OpenAIEmbeddings(model="m", **given), name="m", cache=cache)
    first = vectors.embed_documents(["a", "b"])
    assert vectors.embed_documents(["b", "a", "c"])[:2] == first[::-1]
    assert [request.body["input"] for request in provider.requests] == [["a", "b"], ["c"]]
