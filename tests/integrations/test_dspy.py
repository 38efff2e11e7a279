"""DSPy: what its models answer are samples, awaited or not, and a call that fails holds nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Else it asks the network as it is imported.
dspy = pytest.importorskip("dspy")

from models import run
from traces import found, traces

import memollm
from memollm import Cache, CacheMiss
from memollm.integrations.dspy import DSPyCache, material_of

# What DSPy does within itself is its own business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::memollm.MemollmWarning")]


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture(autouse=True)
def tidy():
    """Leave DSPy as it was; what it leaves open is closed here, where no warning about it counts."""
    yield
    dspy.cache = None
    gc.collect()


@pytest.fixture(params=["auto", "litellm"])
def engine(request):
    """Ask by DSPy's own client, and by LiteLLM."""
    return request.param


def model(provider, **options):
    given = {"api_base": provider.openai_url, "api_key": provider.key, "num_retries": 0, **options}
    return dspy.LM("openai/gpt-4o-mini", **given)


def said(lm, prompt="hi", **options):
    (answer,) = lm(prompt, **options)
    return answer


async def said_async(lm, prompt="hi", **options):
    (answer,) = await lm.acall(prompt, **options)
    return answer


def test_other_caches_are_pools_of_one(cache, provider, engine):
    """With `pool=1` the same call has the same answer, from threads and tasks alike."""
    dspy.cache = DSPyCache(cache=cache, pool=1)
    lm = model(provider, engine=engine)
    assert len({said(lm), said(lm), run(said_async(lm)), run(said_async(lm))}) == 1
    assert said(lm, temperature=0.5) != said(lm)
    assert provider.calls == 2


def test_a_namespace_draws_distinct_answers(cache, provider, engine):
    """P1, P2: in a namespace no answer comes twice, and another reads the same ones for nothing."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    lm = model(provider, engine=engine)
    first = [said(lm), run(said_async(lm)), said(lm)]
    with memollm.namespace("b"):
        assert [run(said_async(lm)), said(lm), run(said_async(lm))] == first
    assert len({*first}) == provider.calls == 3


@pytest.mark.parametrize("times", [8, 40])
def test_tasks_draw_what_they_have_asked_for(cache, provider, engine, times):
    """P1, P5: each task's answer goes to its own slot, though DSPy stores in other threads than it looks up in."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    lm = model(provider, engine=engine)

    async def main():
        return await asyncio.gather(*(said_async(lm) for _ in range(times)))

    first = run(main())
    assert len({*first}) == provider.calls == times
    with memollm.namespace("b"):
        assert sorted(run(main())) == sorted(first)
    assert provider.calls == times


def test_tasks_that_want_one_sample_do_not_wait_for_one_another(cache, provider):
    """More tasks than there are threads for them come to their end, and the first answer that is stored is kept."""
    dspy.cache = DSPyCache(cache=cache, pool=1)
    lm = model(provider)

    async def main():
        return await asyncio.gather(*(said_async(lm) for _ in range(60)))

    answers = run(main())
    kept = said(lm)
    assert kept in answers
    assert {*run(main())} == {kept}


def test_programs_draw(cache, provider):
    """Signatures in DSPy's own threads draw distinct answers without a rollout_id, and another namespace the same."""
    provider.answer = lambda _, number: f"[[ ## answer ## ]]\nanswer {number}\n\n[[ ## completed ## ]]"
    program = dspy.Predict("question -> answer")
    asked = [(program, dspy.Example(question="why?").with_inputs("question")) for _ in range(6)]

    def answers(namespace):
        dspy.cache = DSPyCache(cache=cache, namespace=namespace)
        with dspy.context(lm=model(provider)):
            return sorted(each.answer for each in dspy.Parallel(num_threads=3, disable_progress_bar=True)(asked))

    first = answers("a")
    assert answers("b") == first
    assert len({*first}) == provider.calls == 6


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_failed_call_holds_nothing(cache, provider, engine, colour):
    """P3: the position goes back at once, to whoever asks next, in whichever thread."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    lm = model(provider, engine=engine)
    provider.fail(500)
    with pytest.raises(Exception, match=r"As planned|500"):
        said(lm) if colour == "sync" else run(said_async(lm))
    first = said(lm)
    with memollm.namespace("b"):
        assert said(lm) == first
    assert provider.calls == 1


def test_a_call_that_is_cancelled_holds_nothing(cache, provider):
    """P3: nor does one of a task that is cancelled while the provider is asked."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    lm = model(provider)

    async def main():
        with provider.held():
            task = asyncio.create_task(said_async(lm))
            await asyncio.to_thread(provider.wait_for, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return await said_async(lm)

    first = run(main())
    with memollm.namespace("b"):
        assert said(lm) == first


def test_callbacks_that_are_set_anew_change_nothing(cache, provider):
    """A program that sets its own callbacks later draws as before."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    lm = model(provider)
    with dspy.context(callbacks=[]):

        async def main():
            return await asyncio.gather(*(said_async(lm) for _ in range(6)))

        first = run(main())
        with memollm.namespace("b"):
            assert sorted(run(main())) == sorted(first)
    assert len({*first}) == provider.calls == 6


def test_a_hit_keeps_what_the_answer_took(cache, provider, engine):
    """P11, P14: tokens are counted as saved; a hit is an object of its own, and DSPy counts nothing for it."""
    dspy.cache = kept = DSPyCache(cache=cache, pool=1)
    lm = model(provider, engine=engine)
    said(lm), said(lm)
    paid, hit = lm.history[-2:]
    assert (paid["usage"]["completion_tokens"] > 0, hit["usage"], paid["outputs"]) == (True, {}, hit["outputs"])
    total = kept.door.stats().total
    assert total.paid == 1
    assert total.spent.output_tokens == total.saved.output_tokens == paid["usage"]["completion_tokens"]


def test_several_outputs_of_one_call_are_one_sample(cache, provider, engine):
    """`n` of a call are kept together, as DSPy asks for them."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    lm = model(provider, engine=engine)
    first = lm("hi", n=3, temperature=1.0)
    with memollm.namespace("b"):
        assert lm("hi", n=3, temperature=1.0) == first
    assert len({*first}) == 3


def test_offline_asks_no_model(cache, provider, engine):
    """A miss where nothing may be called is an error that DSPy lets through."""
    dspy.cache = DSPyCache(cache=cache, pool=1)
    lm = model(provider, engine=engine)
    first = said(lm)
    with memollm.mode("offline"):
        assert said(lm) == run(said_async(lm)) == first
        for ask in (said, lambda lm, prompt: run(said_async(lm, prompt))):
            with pytest.raises(CacheMiss):
                ask(lm, "you?")
    assert provider.calls == 1


def test_embeddings_are_made_once(cache, provider):
    """They are no samples, so there is one of each, in threads and tasks."""
    dspy.cache = DSPyCache(cache=cache, namespace="a")
    embedder = dspy.Embedder("openai/text-embedding-3-small", api_base=provider.openai_url, api_key=provider.key)
    first = embedder(["a", "bb"])
    assert (embedder(["a", "bb"]) == first).all()
    assert (run(embedder.acall(["a", "bb"])) == first).all()
    assert provider.calls == 1


def test_what_counts_of_a_call():
    """P8: the address counts, and so does whatever DSPy's own key has; whether it is awaited does not."""
    one = {"model": "m", "messages": [], "api_base": "http://a", "_fn_identifier": "dspy.clients.lm.litellm_completion"}
    awaited = {**one, "_fn_identifier": "dspy.clients.lm.alitellm_completion", "api_key": "k", "user": "u"}
    assert material_of(awaited) == material_of(one)
    for other in ({"api_base": "http://b"}, {"rollout_id": 1}, {"headers": {"Anthropic-Beta": "x"}}, {"model": "n"}):
        assert material_of({**one, **other}) != material_of(one)
    typed = {"_fn_identifier": "dspy.clients.lm15.complete", "request": {"model": "m"}, "rollout_id": None}
    assert material_of({**typed, "_fn_identifier": "dspy.clients.lm15.complete.async"}) == material_of(typed)


def test_no_secret_is_kept(tmp_path, provider, engine, caplog):
    """No key and no header is in the cache, an export, a report or the log."""
    caplog.set_level(logging.DEBUG, logger="memollm")
    with Cache(tmp_path / "secret") as kept:
        dspy.cache = DSPyCache(cache=kept, namespace="a")
        lm = model(provider, engine=engine, extra_headers={"X-Secret": "MARKER"})
        said(lm), run(said_async(lm))
        with memollm.mode("offline"), pytest.raises(CacheMiss) as miss:
            said(lm, "you?")
        left = traces(kept, tmp_path, miss.value, caplog.text)
    assert len(found(left, *provider.samples)) >= 2
    assert found(left, provider.key, "MARKER") == []
