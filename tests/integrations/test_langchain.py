"""LangChain: what its models answer are samples, streamed or not, and a model that fails holds nothing."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("langchain_core")
from langchain_core.embeddings import Embeddings
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation
from models import PATIENCE, run
from traces import found, traces

import memollm
from memollm import Cache, CacheMiss, OptionError
from memollm.integrations.langchain import LangChainCache, LangChainEmbeddings, memoized

USED = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
calls = []


class Chat(BaseChatModel):
    """A provider's model: it numbers its answers."""

    temperature: float = 1.0
    failing: tuple = ()

    @property
    def _llm_type(self):
        return "chat"

    @property
    def _identifying_params(self):
        return {"temperature": self.temperature}

    def answer(self, messages):
        calls.append(messages[-1].content)
        if len(calls) in self.failing:
            raise ValueError("the provider is down")
        return f"{messages[-1].content} {len(calls)}"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage(self.answer(messages), usage_metadata=USED, response_metadata={"model_name": "m"})
        return ChatResult(generations=[ChatGeneration(message=message)])


class Streaming(Chat):
    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for word in self.answer(messages).split():
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=USED))


class Completing(LLM):
    @property
    def _llm_type(self):
        return "llm"

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        calls.append(prompt)
        if prompt == "bad":
            raise ValueError("the provider is down")
        return f"{prompt} {len(calls)}"


@pytest.fixture(autouse=True)
def fresh():
    calls.clear()
    yield
    set_llm_cache(None)


def text(message):
    return message.content


# The cache.


def test_other_caches_are_pools_of_one(cache):
    """With `pool=1` the same question has the same answer, as from any cache of LangChain."""
    set_llm_cache(LangChainCache(cache=cache, pool=1))
    model = Chat()
    assert [text(model.invoke("x")) for _ in range(3)] == ["x 1"] * 3
    assert text(run(model.ainvoke("x"))) == "x 1"
    assert text(Chat(temperature=0.5).invoke("x")) == "x 2"


def test_a_namespace_draws_distinct_answers(cache):
    """P1, P2: in a namespace no answer comes twice, and another reads the same ones for nothing."""
    model = Chat(cache=LangChainCache(cache=cache, namespace="a"))
    assert [text(model.invoke("x")) for _ in range(2)] == ["x 1", "x 2"]
    with memollm.namespace("b"):
        assert [text(model.invoke("x")) for _ in range(3)] == ["x 1", "x 2", "x 3"]


def test_a_batch_in_threads_and_tasks_is_distinct(cache):
    """P1, P5: equal questions of one batch are different draws, and each is asked once."""
    model = Chat(cache=LangChainCache(cache=cache, namespace="a"))
    assert len({text(each) for each in model.batch(["x"] * 8)}) == 8
    assert len({text(each) for each in run(model.abatch(["x"] * 8))}) == 8
    assert len(calls) == 16


def test_equal_questions_of_a_pool_of_one_are_asked_once(cache):
    """P5: tasks that ask the same wait for the one that asks the model."""
    model = Chat(cache=LangChainCache(cache=cache, pool=1))
    assert {text(each) for each in run(model.abatch(["x"] * 20))} == {"x 1"}


def test_a_hit_keeps_what_the_answer_took(cache):
    """P11, P14: tokens are told on a hit, too, and counted as saved; a hit is an object of its own."""
    kept = LangChainCache(cache=cache, pool=1)
    model = Chat(cache=kept)
    model.invoke("x")
    hit = model.invoke("x")
    assert (hit.usage_metadata["input_tokens"], hit.usage_metadata["output_tokens"]) == (3, 4)
    hit.content = "changed"
    assert text(model.invoke("x")) == "x 1"
    total = kept.door.stats().total
    assert (total.paid, total.spent.input_tokens, total.saved.input_tokens) == (1, 3, 6)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_failed_model_holds_nothing(cache, colour):
    """P3: the position goes back at once, to whoever asks next."""
    model = Chat(cache=LangChainCache(cache=cache, pool=1), failing=(1,))
    ask = model.invoke if colour == "sync" else lambda prompt: run(model.ainvoke(prompt))
    with pytest.raises(ValueError):
        ask("x")
    asked = []
    thread = threading.Thread(target=lambda: asked.append(text(model.invoke("x"))))
    thread.start()
    thread.join(PATIENCE)
    assert asked == ["x 2"]


def test_a_failed_model_is_tried_again(cache):
    """P3: a retry in the same thread draws the position that failed."""
    model = Chat(cache=LangChainCache(cache=cache, namespace="a"), failing=(1, 2))
    assert text(model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke("x")) == "x 3"
    with memollm.namespace("b"):
        assert text(model.invoke("x")) == "x 3"


def test_a_batch_of_a_completion_model_looks_up_all_first(cache):
    """Models of texts look up a whole batch before they ask: what fails gives all of it back."""
    model = Completing(cache=LangChainCache(cache=cache, namespace="a"))
    assert [each[0].text for each in model.generate(["x", "y", "x"]).generations] == ["x 1", "y 2", "x 3"]
    with pytest.raises(ValueError):
        model.generate(["z", "bad"])
    assert text_of(model.generate(["z"])) == "z 6"
    with memollm.namespace("b"):
        assert [each[0].text for each in model.generate(["x", "y", "x", "z"]).generations] == [
            "x 1",
            "y 2",
            "x 3",
            "z 6",
        ]


def text_of(result):
    return result.generations[0][0].text


def test_offline_asks_no_model(cache):
    """A miss where nothing may be called is an error that LangChain lets through."""
    model = Chat(cache=LangChainCache(cache=cache, pool=1))
    model.invoke("x")
    with memollm.mode("offline"):
        assert text(model.invoke("x")) == "x 1"
        with pytest.raises(CacheMiss):
            model.invoke("y")
        with pytest.raises(CacheMiss):
            run(model.ainvoke("y"))
    assert calls == ["x"]


@pytest.mark.parametrize("options", [{"pool": 1}, {"namespace": "a"}, {}])
def test_what_is_told_is_found(cache, options):
    """The behaviours of LangChain's own suite: empty, updated, several generations, cleared; sync and async."""
    kept = LangChainCache(cache=cache, **options)
    several = [Generation(text="one", generation_info={"reason": "test"}), Generation(text="two")]
    assert kept.lookup("p", "llm") is None
    kept.door.abandon()
    kept.update("p", "llm", several)
    assert kept.lookup("p", "llm") == several
    kept.clear()
    assert kept.lookup("p", "llm") is None
    kept.door.abandon()

    async def main():
        await kept.aupdate("q", "llm", several)
        found = await kept.alookup("q", "llm")
        await kept.aclear()
        return found, await kept.alookup("q", "llm")

    assert run(main()) == (several, None)


class Sending(Chat):
    """A provider's model that is sent headers, and tells LangChain of them."""

    default_headers: dict | None = None
    default_query: dict | None = None
    number: int = 0

    @classmethod
    def is_lc_serializable(cls):
        return True


class SendingPlainly(Sending):
    @classmethod
    def is_lc_serializable(cls):
        return False

    @property
    def _identifying_params(self):
        return {"default_headers": self.default_headers, "number": self.number}


@pytest.mark.parametrize("kind", [Sending, SendingPlainly])
@pytest.mark.parametrize("way", ["cache", "memoized"])
def test_no_header_is_kept(tmp_path, kind, way):
    """Headers and queries of a model are not in the cache and do not count, but for those that change answers."""
    secret = {"default_headers": {"X-Secret": "MARKER"}, "default_query": {"key": "MARKER"}}
    with Cache(tmp_path / "secret") as kept:
        told = LangChainCache(cache=kept, pool=1)

        def ask(model, **given):
            model = memoized(model, cache=kept, pool=1) if way == "memoized" else model
            return text(model.invoke("x", **given))

        def model(**given):
            return kind(cache=told if way == "cache" else None, **given)

        first = ask(model(**secret))
        assert first == ask(model()) == ask(model(default_headers={"X-Other": "MARKER"}))
        assert ask(model(**secret), extra_headers={"Cookie": "MARKER"}) == ask(model(), extra_headers={})
        others = {ask(model(default_headers={"anthropic-beta": "b"})), ask(model(number=1)), ask(model(), stop=["y"])}
        assert len({first, *others}) == 4
        # What cannot be read is kept as a digest.
        ask(model(), extra_headers={"Cookie": "MARKER"}, tool=object)
        left = traces(kept, tmp_path)
    assert len(found(left, first)) >= 2
    assert found(left, "MARKER", "X-Secret", "Cookie") == []


# Memoized models.


def test_a_memoized_model_is_of_the_same_type(cache):
    """It has the settings of the model, and is told apart from no other by LangChain."""
    model = memoized(Streaming(temperature=0.5), cache=cache, namespace="a")
    assert (type(model).__name__, isinstance(model, Streaming), model.temperature) == ("Streaming", True, 0.5)
    assert model._get_llm_string() == Streaming(temperature=0.5)._get_llm_string()
    with pytest.raises(OptionError, match="chat model"):
        memoized("x")


def test_streams_are_replayed(cache):
    """P1, P2: chunks are passed on and replayed; the next draw of a namespace is another stream."""
    model = memoized(Streaming(), cache=cache, namespace="a")
    assert [text(each) for each in model.stream("x") if text(each)] == ["x", "1"]

    async def stream():
        return [text(each) async for each in model.astream("x") if text(each)]

    assert run(stream()) == ["x", "2"]
    with memollm.namespace("b"):
        assert [text(each) for each in model.stream("x") if text(each)] == ["x", "1"]
        assert run(stream()) == ["x", "2"]
    assert len(calls) == 2


def test_one_answer_serves_streams_and_others(cache):
    """What was streamed is there in one piece, and the other way round, with its tokens."""
    model = memoized(Streaming(), cache=cache, pool=1)
    list(model.stream("x"))
    whole = model.invoke("x")
    assert (text(whole), whole.usage_metadata["input_tokens"]) == ("x1", 3)
    assert text(model.invoke("y")) == "y 2"
    (chunk, *_) = [each for each in model.stream("y") if text(each)]
    assert (text(chunk), chunk.usage_metadata["input_tokens"]) == ("y 2", 3)
    assert calls == ["x", "y"]


def test_an_abandoned_stream_gives_its_position_back(cache):
    """P3: who leaves a stream before its end has drawn nothing; one that fails, too."""
    model = memoized(Streaming(failing=(2,)), cache=cache, pool=1)
    left = model.stream("x")
    next(left)
    left.close()
    with pytest.raises(ValueError):
        list(model.stream("x"))
    assert text(run(model.ainvoke("x"))) == "x 3"


def test_a_model_that_does_not_stream_is_asked_in_one_piece(cache):
    """`.stream()` of such a model is a draw of its own kind, memoized as any other."""
    model = memoized(Chat(), cache=cache, pool=1)
    assert [text(each) for each in model.stream("x") if text(each)] == ["x 1"]
    assert text(model.invoke("x")) == "x 1"
    assert text(run(model.ainvoke([HumanMessage("x", id="another")]))) == "x 1"


# Embeddings.


class Vectors(Embeddings):
    def embed_documents(self, texts):
        calls.append(list(texts))
        return [[float(len(each))] for each in texts]

    def embed_query(self, text):
        calls.append(text)
        return [float(len(text))]


def test_each_text_is_embedded_once(cache):
    """P4: of a list only what is missing is embedded, in threads and tasks alike."""
    vectors = LangChainEmbeddings(Vectors(), name="small", cache=cache)
    assert vectors.embed_documents(["a", "bb"]) == [[1.0], [2.0]]
    assert run(vectors.aembed_documents(["bb", "ccc"])) == [[2.0], [3.0]]
    assert [vectors.embed_query("a"), run(vectors.aembed_query("a"))] == [[1.0], [1.0]]
    assert calls == [["a", "bb"], ["ccc"], "a"]
