"""Telling what is drawn: blocks that track, the user's hook, and the log."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import copy_context

import pytest
from models import AsyncGates, Gates, asking, ours, run, until, waiting

import memollm
from memollm import DrawEvent, NotCountedWarning, OptionError, configure
from memollm.testing import FakeModel


def priced(cache, **options):
    """Return a function whose every answer tells 100 tokens in, 10 out, and half a dollar."""

    def answer(prompt):
        return {"text": prompt, "usage": {"input_tokens": 100, "output_tokens": 10, "cost": 0.5}}

    return cache.cached_llm(answer, **{"namespace": "a", "name": "ask", "version": 1, **options})


def test_a_block_tracks_what_it_draws(cache):
    """Hits, shared and paid samples, and what was spent and saved."""
    ask = priced(cache)
    with memollm.track() as before:
        ask.draw(2, "x")
    with memollm.track() as tracked, memollm.namespace("b"):
        ask.draw(3, "x")
    assert (before.hits, before.paid) == (0, 2)
    assert (tracked.hits, tracked.shared, tracked.made, tracked.failed, tracked.refused) == (2, 0, 1, 0, 0)
    assert tracked.spent[1:4] == (100, 10, 0.5)
    assert tracked.saved[1:4] == (200, 20, 1.0)
    assert tracked.saved.tokens == 220
    assert 0 < tracked.saved.seconds < 60
    assert [event.kind for event in tracked.draws] == ["hit", "hit", "made"]


def test_an_event_says_what_was_given(cache):
    """Which slot of which call, to whom, in which lane, how, and what making it took."""
    ask = priced(cache)
    with memollm.track() as tracked, memollm.lane("one"):
        ask("x")
    (event,) = tracked.draws
    assert isinstance(event, DrawEvent)
    told = DrawEvent("ask", ask.key("x"), 0, "made", 0, 0.5, 100, 10, "namespace:a", "one", 0)
    assert event._replace(seconds=0, latency=0) == told
    assert event.latency > 0
    memoized = ask.with_options(pool=1)
    with memollm.track() as tracked, memollm.lane("one"):
        memoized("x")
        memoized("x")
    assert [event[2:4] + event[8:10] for event in tracked.draws] == [(0, "hit", None, "one")] * 2
    with memollm.track() as tracked, memollm.run("r"):
        ask.with_options(namespace=None)
        cache.cached_llm(lambda: 1, name="other", version=1)()
    assert tracked.draws[0].reader == "run:r"
    assert tracked.draws[0].cost is None


def test_a_remembered_hit_is_counted(cache):
    """A sample that the process remembers is a hit like any other."""
    ask = priced(cache, pool=1, namespace=None)
    with memollm.track() as tracked:
        for _ in range(5):
            ask("x")
    assert (tracked.hits, tracked.paid, tracked.saved.cost) == (4, 1, 2.0)


def test_blocks_nest(cache):
    """What an inner block draws is drawn in the outer one too."""
    ask = priced(cache)
    with memollm.track() as outer:
        ask("x")
        with memollm.track() as inner:
            ask("x")
        ask("x")
    assert (inner.paid, outer.paid, len(outer.draws)) == (1, 3, 3)


def test_a_block_follows_tasks_and_threads_with_their_context(cache):
    """What the block starts is tracked, what others do is not."""
    ask = priced(cache)

    async def main():
        with memollm.track() as tracked:
            task = asyncio.create_task(asyncio.to_thread(ask, "x"))
            bare = threading.Thread(target=ask, args=("x",))
            bare.start()
        await task
        await asyncio.to_thread(bare.join)
        return tracked

    assert run(main()).paid == 1


def test_shared_samples(cache):
    """Who waited for what another draw was making is told that it was shared."""
    gates = Gates()
    ask = cache.cached_llm(lambda prompt: gates.fly(), pool=1, name="ask", version=1)
    with memollm.track() as tracked:
        threads = [threading.Thread(target=copy_context().run, args=(ask, "x")) for _ in range(3)]
        for thread in threads:
            thread.start()
        gate = gates.begun()
        until(lambda: waiting(cache) == 2)
        gate.put("answer")
        for thread in threads:
            thread.join()
    assert (tracked.paid, tracked.shared, tracked.hits) == (1, 2, 0)
    assert sorted(event.kind for event in tracked.draws) == ["made", "shared", "shared"]
    assert tracked.saved.seconds == pytest.approx(2 * tracked.spent.seconds)


def test_failed_and_refused_calls(cache):
    """A call that raised and an answer that was not kept are told apart from those that were."""
    answers = iter([ConnectionError(), "bad", "good"])

    @cache.cached_llm(namespace="a", accept=lambda answer: answer == "good", name="ask", version=1)
    def ask(prompt):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with memollm.track() as tracked:
        with pytest.raises(ConnectionError):
            ask("x")
        assert [ask("x"), ask("x")] == ["bad", "good"]
    assert (tracked.failed, tracked.refused, tracked.paid, len(tracked.draws)) == (1, 1, 2, 2)
    assert [event.slot for event in tracked.draws] == [0, 0]


def test_a_cancelled_call_is_not_a_failed_one(cache):
    """Who gives up has not been failed by the model, and nothing was given."""
    gates = AsyncGates()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        return await gates.fly()

    async def main():
        with memollm.track() as tracked:
            task = asyncio.create_task(ask("x"))
            await gates.begun()
            task.cancel()
            await asyncio.wait([task])
        return tracked

    tracked = run(main())
    assert (tracked.failed, tracked.paid, tracked.draws) == (0, 0, [])


def test_several_in_one_call(cache):
    """With `count` and `batch` a call counts once, and what it took is divided so that it adds up."""

    def usage(_):
        return memollm.Usage(100, 11, 0.07)

    several = cache.cached_llm(
        lambda prompt, n: [f"{prompt}{i}" for i in range(n)], count="n", usage=usage, name="several", version=1
    )
    generate = cache.cached_llm(
        lambda prompts: [*map(str.upper, prompts)], batch="prompts", usage=usage, name="generate", version=1
    )
    for call in (lambda: several("x", 3), lambda: generate(["x", "y", "z"])):
        with memollm.run(), memollm.track() as first:
            call()
        with memollm.run(), memollm.track() as again:
            call()
        assert (first.paid, first.hits, first.spent[1:4]) == (1, 0, (100, 11, 0.07))
        assert (again.paid, again.hits) == (0, 3)
        assert again.saved[1:3] == (100, 11)
        assert again.saved.cost == pytest.approx(0.07)
        assert [event.input_tokens for event in again.draws] == [34, 33, 33]


def test_gathered_items_share_what_their_call_took(cache):
    """Single items of many tasks are one call, divided among those who wait for it."""

    @cache.cached_llm(batch="prompts", usage=lambda _: memollm.Usage(100, 11, 0.07), name="generate", version=1)
    async def generate(prompts):
        await asyncio.sleep(0)
        return [*map(str.upper, prompts)]

    async def main():
        with memollm.track() as tracked:
            await asyncio.gather(*map(generate.one, "xyz"))
        return tracked

    tracked = run(main())
    assert (tracked.paid, tracked.spent[1:3]) == (1, (100, 11))
    assert tracked.spent.cost == pytest.approx(0.07)


def test_who_leaves_a_gathered_call_leaves_its_part_to_the_others(cache):
    """A call that one of many waited for in vain is counted, whole, by those who stayed."""
    gates = AsyncGates()

    @cache.cached_llm(
        batch="prompts",
        usage=lambda _: memollm.Usage(100, 11, 0.07),
        gather=memollm.Gather(max_size=3, max_wait=3600),
        name="generate",
        version=1,
    )
    async def generate(prompts):
        return await gates.fly()

    async def main():
        with memollm.track() as tracked:
            tasks = [asyncio.create_task(generate.one(prompt)) for prompt in "xyz"]
            gate = await gates.begun()
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            gate.set_result(["X", "Y", "Z"])
            assert await asyncio.gather(*tasks[1:]) == ["Y", "Z"]
        return tracked

    tracked = run(main())
    assert (tracked.paid, tracked.spent[1:3]) == (1, (100, 11))


def test_streams_are_tracked(cache):
    """A stream is given when it has ended; one that was left is not."""

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        yield "one"
        yield {"usage": {"input_tokens": 5, "output_tokens": 2, "cost": 0.25}}

    with memollm.track() as tracked:
        left = tell("x")
        next(left)
        left.close()
        assert (tracked.paid, tracked.failed, tracked.draws) == (0, 0, [])
        list(tell("x"))
    with memollm.track() as again, memollm.namespace("b"):
        list(tell("x"))
    assert (tracked.paid, tracked.spent[1:4]) == (1, (5, 2, 0.25))
    assert (again.hits, again.saved[1:4]) == (1, (5, 2, 0.25))


def test_maps_and_modes_are_tracked(cache):
    """What a map draws and what mode off calls is told like any other; a replay gives hits."""
    ask = priced(cache)
    with memollm.track() as tracked:
        ask.map(["x", "y", "x"])
    assert tracked.paid == 3
    with memollm.track() as tracked, memollm.mode("off"):
        ask("x")
    assert (tracked.paid, tracked.spent.cost) == (1, 0.5)
    with memollm.track() as tracked, memollm.replay("a", then="draw"):
        ask.draw(3, "x")
    assert (tracked.paid, tracked.hits, tracked.saved.cost) == (1, 2, 1.0)
    assert sorted(event.slot for event in tracked.draws) == [0, 1, 2]


def test_a_track_is_shown(cache):
    """As text, and as a table in notebooks."""
    ask = priced(cache)
    with memollm.track() as tracked:
        ask("x")
    assert "$0.50, 110 tokens" in str(tracked)
    assert "<table>" in tracked._repr_html_()
    assert repr(tracked) == "<track: 1 draws (0 hits, 0 shared, 1 made), 1 paid, 0 failed>"


# The hook.


def test_the_hook_is_told_of_every_sample(cache):
    """`configure(on_draw=...)` holds for functions that were decorated before, until it is taken back."""
    told = []
    ask = priced(cache)
    configure(on_draw=told.append)
    ask("x")
    with memollm.namespace("b"):
        ask.draw(2, "x")
    configure(on_draw=None)
    ask("x")
    assert [(event.kind, event.slot, event.reader) for event in told] == [
        ("made", 0, "namespace:a"),
        ("hit", 0, "namespace:b"),
        ("made", 1, "namespace:b"),
    ]


@pytest.mark.parametrize("pool", [None, 1])
def test_a_hook_that_raises_loses_no_answer(cache, caplog, pool):
    """P7: what it raises is logged, the answer is given and stored, and the next event is told."""
    told = []

    def hook(event):
        told.append(event)
        raise ValueError("the hook is broken")

    ask = priced(cache, pool=pool)
    configure(on_draw=hook)
    assert ask("x")["text"] == "x"
    assert ask("x")["text"] == "x"
    assert len(ask.peek("x")) == (1 if pool else 2)
    assert len(told) == 2
    assert [record.levelname for record in ours(caplog)] == ["ERROR", "ERROR"]
    assert "on_draw raised" in caplog.text
    assert "the hook is broken" in caplog.text


def test_what_is_no_hook():
    """Something that cannot be called is an error where it is said."""

    async def hook(_):
        pass

    with pytest.raises(OptionError, match=r"on_draw=<function .*: it must be a plain function"):
        configure(on_draw=hook)
    with pytest.raises(OptionError, match=r"on_draw=3: it must be a plain function that takes a memollm.DrawEvent"):
        configure(on_draw=3)


# The log.


def test_every_draw_is_a_line_at_level_debug(cache, caplog):
    """Which sample, to whom and how; nothing where nobody listens."""
    ask = priced(cache)
    ask("x")
    assert ours(caplog) == []
    with caplog.at_level(logging.DEBUG, logger="memollm"):
        with memollm.lane("one"):
            ask("x")
        with memollm.namespace("b"):
            ask("x")
        ask.with_options(pool=1)("x")
        ask.with_options(pool=1)("x")
    lines = [record.getMessage() for record in ours(caplog)]
    key = ask.key("x")[:12]
    assert [line.partition(" (")[0] for line in lines] == [
        f"made: ask {key} slot 1 for namespace:a in lane one",
        f"hit: ask {key} slot 0 for namespace:b",
        f"hit: ask {key} slot 0 for all",
        f"hit: ask {key} slot 0 for all",
    ]
    assert all(line.endswith(", $0.50)") for line in lines)


def test_what_nobody_knows_is_not_zero(cache):
    """P14: calls of unknown cost are said to be unknown, what was spent on them and what was saved by them."""
    ask = asking(cache, FakeModel(), namespace="a")
    with memollm.track() as tracked:
        ask.draw(2, "x")
        with memollm.namespace("b"):
            ask.draw(2, "x")
    assert (tracked.spent.unpriced, tracked.saved.unpriced) == (2, 2)
    assert "2 calls of unknown cost, 0 tokens" in str(tracked)
    assert "$" not in str(tracked) + str(cache.stats())
    assert cache.stats().total.saved.unpriced == 2


# What a call took.


def test_a_usage_function_that_fails_loses_no_answer(cache):
    """P7: what a call took is then not known, which is told; the answer is given and stored."""

    def usage(_):
        raise KeyError("tokens")

    ask = cache.cached_llm(lambda prompt: prompt, usage=usage, namespace="a", name="ask", version=1)
    with (
        memollm.track() as tracked,
        pytest.warns(NotCountedWarning, match="a call of ask took could not be told.*tokens"),
    ):
        assert ask("x") == "x"
    assert (tracked.paid, tracked.spent.cost) == (1, 0.0)
    assert ask.peek("x") == ["x"]


def test_where_warnings_are_errors_a_usage_function_that_fails_loses_no_answer(cache):
    """P7: the warning is raised when the answer is stored, and the call is counted."""
    ask = cache.cached_llm(lambda prompt: prompt, usage=lambda _: 1 / 0, namespace="a", name="ask", version=1)
    with memollm.budget(calls=1) as budget:
        with pytest.raises(NotCountedWarning):
            ask("x")
        assert budget.calls == 1
        assert ask.peek("x") == ["x"]
        assert ask("x") == "x"


def test_where_warnings_are_errors_a_gathered_call_ends(cache):
    """P7: whoever waits for a call whose usage cannot be told is told so, when its answer is stored."""

    @cache.cached_llm(batch="prompts", usage=lambda _: 1 / 0, name="generate", version=1)
    async def generate(prompts):
        await asyncio.sleep(0)
        return prompts

    async def main():
        return await asyncio.gather(*map(generate.one, "xy"), return_exceptions=True)

    assert [type(each) for each in run(main())] == [NotCountedWarning, NotCountedWarning]
    assert [generate.peek([each]) for each in "xy"] == [["x"], ["y"]]


class Mute(Exception):
    """An error that cannot even be read."""

    def __str__(self):
        raise RuntimeError


def raising_mute(_):
    raise Mute


HOSTILE_USAGE = {
    "an error that raises when it is read": (raising_mute, "unknown: Mute"),
    "more tokens than a store can hold": (lambda _: memollm.Usage(input_tokens=2**70), "tokens are told"),
    "tokens that add up to too many": (lambda _: [{"usage": {"prompt_tokens": 2**62}, "n": n} for n in (1, 2)], "told"),
}


@pytest.mark.parametrize("name", HOSTILE_USAGE)
def test_a_hostile_usage_function_loses_no_answer(cache, name):
    """P7: whatever usage is told, the answer is given and stored, and counting goes on."""
    usage, told = HOSTILE_USAGE[name]
    ask = cache.cached_llm(lambda prompt: prompt, usage=usage, namespace="a", name="ask", version=1)
    with pytest.warns(NotCountedWarning, match=told):
        assert ask("x") == "x"
    assert ask.peek("x") == ["x"]
    assert cache.stats()["ask"].paid == 1


def test_a_usage_that_is_none(cache):
    """A wrong kind of usage is told in the same way."""
    ask = cache.cached_llm(lambda prompt: prompt, usage=lambda _: "much", namespace="a", name="ask", version=1)
    with pytest.warns(NotCountedWarning, match="returned a str"):
        assert ask("x") == "x"


def test_tokens_are_priced_by_the_configured_table(cache):
    """`configure(prices=...)`: dollars for a million tokens, by model."""
    configure(prices={"small-*": (1.0, 10.0)})

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(model):
        return {"model": model, "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

    with memollm.track() as tracked:
        ask("small-1")
    assert tracked.spent.cost == pytest.approx(0.002)
    with memollm.track() as tracked:
        ask("nobody-knows-this-model")
    assert (tracked.spent.cost, tracked.spent.tokens) == (0.0, 1100)
    assert tracked.draws[0].cost is None
