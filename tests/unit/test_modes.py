"""Modes: what each does with what is stored and with what is missing, for every kind of function, on both stores."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import run

import memollm
import memollm._upkeep.explain
from memollm import Cache, CacheMiss, NotStoredWarning, OptionError, StoreClosed, configure
from memollm._calls.configuration import Configuration, configuration
from memollm.stores import reading
from memollm.stores.looking import looking

FORMS = ("plain", "coroutine", "stream", "stream_async", "method", "count", "batch", "map", "map_async", "draw", "one")


class Form:
    """A function of some form, asked one prompt at a time; its answers are numbered over all calls."""

    def __init__(self, cache, form, **options):
        self.calls = 0
        self._numbers = itertools.count(1)
        options = {"namespace": "a", "name": "ask", "version": 1, **options}
        self._ask = getattr(self, f"_{form}")(cache.cached_llm, options)

    def __call__(self, prompt="x"):
        return self._ask(prompt)

    def _answer(self, prompt):
        self.calls += 1
        return f"{prompt} {next(self._numbers)}"

    def _plain(self, cached_llm, options):
        return cached_llm(**options)(lambda prompt: self._answer(prompt))  # noqa: PLW0108 - a bound method would be keyed by its object

    def _coroutine(self, cached_llm, options):
        @cached_llm(**options)
        async def ask(prompt):
            await asyncio.sleep(0)
            return self._answer(prompt)

        return lambda prompt: run(ask(prompt))

    def _stream(self, cached_llm, options):
        @cached_llm(**options)
        def ask(prompt):
            yield from self._answer(prompt).partition(" ")

        return lambda prompt: "".join(ask(prompt))

    def _stream_async(self, cached_llm, options):
        @cached_llm(**options)
        async def ask(prompt):
            for chunk in self._answer(prompt).partition(" "):
                await asyncio.sleep(0)
                yield chunk

        async def whole(prompt):
            return "".join([chunk async for chunk in ask(prompt)])

        return lambda prompt: run(whole(prompt))

    def _method(self, cached_llm, options):
        class Agent:
            @cached_llm(**options, ignore="agent")
            def ask(agent, prompt):
                return self._answer(prompt)

        return Agent().ask

    def _count(self, cached_llm, options):
        @cached_llm(**options, count="n")
        def ask(prompt, n=1):
            return [self._answer(prompt) for _ in range(n)]

        return lambda prompt: ask(prompt)[0]

    def _batch(self, cached_llm, options):
        @cached_llm(**options, batch="prompts")
        def ask(prompts):
            return [*map(self._answer, prompts)]

        return lambda prompt: ask([prompt])[0]

    def _one(self, cached_llm, options):
        @cached_llm(**options, batch="prompts", gather=memollm.Gather(max_wait=0))
        async def ask(prompts):
            await asyncio.sleep(0)
            return [*map(self._answer, prompts)]

        return lambda prompt: run(ask.one(prompt))

    def _map(self, cached_llm, options):
        ask = self._plain(cached_llm, options)
        return lambda prompt: ask.map([prompt])[0]

    def _map_async(self, cached_llm, options):
        @cached_llm(**options)
        async def ask(prompt):
            await asyncio.sleep(0)
            return self._answer(prompt)

        async def mapped(prompt):
            return (await ask.map([prompt]))[0]

        return lambda prompt: run(mapped(prompt))

    def _draw(self, cached_llm, options):
        ask = self._plain(cached_llm, options)
        return lambda prompt: ask.draw(1, prompt)[0]


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def test_auto_reads_and_writes(cache, form):
    """What is missing is called and stored; another namespace reads it for nothing."""
    ask = Form(cache, form)
    assert [ask(), ask()] == ["x 1", "x 2"]
    with memollm.mode("auto"), memollm.namespace("b"):
        assert [ask(), ask(), ask()] == ["x 1", "x 2", "x 3"]
    assert ask.calls == 3


def test_offline_gives_what_is_stored_and_calls_nothing(cache, form):
    """A miss raises CacheMiss and moves no cursor: the next draw takes the same position."""
    ask = Form(cache, form)
    assert ask() == "x 1"
    with memollm.mode("offline"):
        with memollm.namespace("b"):
            assert ask() == "x 1"
        for _ in range(2):
            with pytest.raises(CacheMiss, match="slot 1 is not"):
                ask()
        with pytest.raises(CacheMiss, match="Nothing is stored"):
            ask("y")
    assert ask.calls == 1
    assert [ask(), ask("y")] == ["x 2", "y 3"]
    assert {space.name: space.draws for space in cache.namespaces()} == {"a": 3, "b": 1}


def test_refresh_replaces_what_it_draws(cache, form):
    """Every drawn slot is made anew, and what took its place is what everybody reads from then on."""
    ask = Form(cache, form)
    assert [ask(), ask()] == ["x 1", "x 2"]
    with memollm.mode("refresh"), memollm.namespace("b"):
        assert [ask(), ask(), ask()] == ["x 3", "x 4", "x 5"]
    with memollm.namespace("c"):
        assert [ask(), ask(), ask()] == ["x 3", "x 4", "x 5"]
    assert ask() == "x 5"
    assert ask.calls == 5


def test_readonly_reads_calls_and_stores_nothing(cache, form):
    """What is stored is given, what is missing is called for; the store and its cursors are as they were."""
    ask = Form(cache, form)
    assert ask() == "x 1"
    with memollm.mode("readonly"):
        with memollm.namespace("b"):
            assert [ask(), ask(), ask("y")] == ["x 1", "x 2", "y 3"]
        assert ask() != "x 1"
    assert {space.name: space.draws for space in cache.namespaces()} == {"a": 1}
    with memollm.mode("offline"), memollm.namespace("c"):
        assert ask() == "x 1"
        with pytest.raises(CacheMiss):
            ask()


def test_off_is_the_bare_function(cache, form):
    """The store is neither read nor written, and no cursor moves."""
    ask = Form(cache, form)
    assert ask() == "x 1"
    with memollm.mode("off"):
        assert [ask(), ask()] == ["x 2", "x 3"]
    with memollm.namespace("b"):
        assert [ask(), ask()] == ["x 1", "x 4"]
    assert {space.name: space.draws for space in cache.namespaces()} == {"a": 1, "b": 2}


def test_a_pool_of_one_in_each_mode(cache, form):
    """Plain memoization heeds the mode although the process remembers what it has read."""
    ask = Form(cache, form, pool=1, namespace=None)
    with memollm.mode("offline"), pytest.raises(CacheMiss):
        ask()
    assert [ask(), ask()] == ["x 1", "x 1"]
    with memollm.mode("offline"):
        assert ask() == "x 1"
    with memollm.mode("off"):
        assert ask() == "x 2"
    assert ask() == "x 1"
    with memollm.mode("refresh"):
        assert [ask(), ask()] == ["x 3", "x 4"]
    assert ask() == "x 4"
    assert ask.calls == 4


def test_readonly_draws_are_distinct_among_themselves(cache):
    """P1: what was made in this process and stored nowhere is a sample like any other until it ends."""
    ask = Form(cache, "plain")
    ask()
    with memollm.mode("readonly"), memollm.namespace("b"):
        drawn = [ask() for _ in range(4)]
    assert len({*drawn}) == 4
    assert drawn[0] == "x 1"
    with memollm.mode("readonly"), memollm.replay("a"):
        assert ask() == "x 1"
        with pytest.raises(memollm.ReplayExhausted):
            ask()


def test_readonly_calls_once_for_what_it_gives_again(cache):
    """P2: in this process what was called for serves every reader, and a pool; the store has none of it."""
    numbers = itertools.count(1)
    ask = cache.cached_llm(lambda prompt: next(numbers), name="ask", version=1)
    with memollm.mode("readonly"):
        assert [ask.with_options(pool=1)("x") for _ in range(3)] == [1, 1, 1]
        assert [ask.with_options(pool=2, namespace="p")("x") for _ in range(4)] == [1, 2, 1, 2]
        for name in "ab":
            assert ask.with_options(namespace=name).draw(3, "x") == [1, 2, 3]
        with memollm.replay("a"):
            assert [ask("x"), ask("x"), ask("x")] == ask.peek("x") == [1, 2, 3]
    assert ask.peek("x") == cache.namespaces() == []


def test_threads_that_begin_to_read_at_once_share_what_they_have_read(cache, monkeypatch):
    """P1: one place for all threads, also where several of them are the first that want it."""
    make, both = reading.reading_store, threading.Barrier(2)

    def slowly(store):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return make(store)

    monkeypatch.setattr("memollm.stores.reading.reading_store", slowly)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: cache._engine.reading, range(2))
    assert one is other


def test_several_samples_in_each_mode(cache):
    """A draw of n is offline whole or not at all, and is made anew whole."""
    numbers = itertools.count(1)
    ask = cache.cached_llm(lambda prompt: next(numbers), namespace="a", n=3, name="ask", version=1)
    assert ask("x") == [1, 2, 3]
    with memollm.mode("offline"), memollm.namespace("b"):
        assert ask.draw(2, "x") == [1, 2]
        with pytest.raises(CacheMiss, match="slot 3 is not"):
            ask("x")
        assert ask.draw(1, "x") == [3]
    with memollm.mode("refresh"), memollm.namespace("c"):
        assert ask("x") == [4, 5, 6]
    assert ask.peek("x") == [4, 5, 6]


def test_a_batch_offline_is_whole_or_nothing(cache):
    """One item that is missing makes the batch a miss, which takes nothing from those that are stored."""
    generate = cache.cached_llm(
        lambda prompts: [*map(str.upper, prompts)], batch="prompts", namespace="a", name="g", version=1
    )
    assert generate(["x", "y"]) == ["X", "Y"]
    with memollm.mode("offline"), memollm.namespace("b"):
        with pytest.raises(CacheMiss, match='"z"'):
            generate(["x", "z"])
        assert generate(["x", "y"]) == ["X", "Y"]


def test_a_map_offline_returns_what_is_stored(cache):
    """Items that are missing are errors of their own."""
    ask = cache.cached_llm(str.upper, namespace="a", name="ask", version=1)
    ask("x")
    with memollm.mode("offline"), memollm.namespace("b"):
        first, second = ask.map(["x", "y"], on_error="return")
    assert first == "X"
    assert isinstance(second, CacheMiss)


def test_off_takes_arguments_that_cannot_be_keys(cache):
    """The bare function takes what it takes."""
    ask = cache.cached_llm(lambda thing: "answer", namespace="a", name="ask", version=1)
    with memollm.mode("off"):
        assert ask(threading.Lock()) == "answer"


def test_off_draws_lists_as_ever(cache):
    """With `n`, `count` and `batch` the bare function gives lists of the same shape as elsewhere."""
    ask = cache.cached_llm(lambda prompt: prompt, n=2, mode="off")
    several = cache.cached_llm(lambda prompt, n: [prompt] * n, count="n", mode="off")
    generate = cache.cached_llm(lambda prompts: prompts, batch="prompts", mode="off", n=2)
    assert ask("x") == ["x", "x"]
    assert ask.draw(3, "x") == ["x", "x", "x"]
    assert several("x", 3) == ["x", "x", "x"]
    assert generate(["x", "y"]) == [["x", "x"], ["y", "y"]]
    assert generate([]) == []
    assert looking(cache.store).readers() == []


def test_a_failure_in_each_mode_leaves_everything_as_it_was(cache):
    """P3: what raises in mode refresh or off replaces and moves nothing."""
    fail = False

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        if fail:
            raise ConnectionError("no answer")
        return prompt

    assert ask("x") == "x"
    fail = True
    for mode in ("refresh", "off"):
        with memollm.mode(mode), memollm.namespace("b"), pytest.raises(ConnectionError):
            ask("x")
    with memollm.mode("offline"), memollm.namespace("b"):
        assert ask("x") == "x"


def test_a_failed_refresh_keeps_the_old_sample(cache):
    """P7: what was paid for is replaced by an answer or not at all."""
    answers = iter(["old", ConnectionError("no answer")])

    @cache.cached_llm(pool=1, name="ask", version=1)
    def ask(prompt):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert ask("x") == "old"
    with memollm.mode("refresh"), pytest.raises(ConnectionError):
        ask("x")
    assert ask("x") == "old"


# Which mode it is.


def mode_of(ask):
    """Tell "offline" and "off" from each other and from all else by what they do where nothing is stored."""
    try:
        ask("x")
    except CacheMiss:
        return "offline"
    return "stored" if ask.peek("x") else "off"


def test_who_says_the_mode(cache, project, monkeypatch):
    """with_options goes before a context manager, the decorator, configure, the environment, and pyproject.toml."""
    monkeypatch.setattr(configuration, "_project", None)
    (project / "pyproject.toml").write_text('[tool.memollm]\nmode = "offline"\n')
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version=1)
    assert mode_of(ask) == "offline"
    monkeypatch.setenv("MEMOLLM_MODE", "off")
    configure(mode=None)
    assert mode_of(ask) == "off"
    configure(mode="offline")
    assert mode_of(ask) == "offline"
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version=1, mode="off")
    assert mode_of(ask) == "off"
    with memollm.mode("offline"):
        assert mode_of(ask) == "offline"
        assert mode_of(ask.with_options(mode="off")) == "off"
        assert mode_of(ask.with_options(n=1)) == "offline"
        with memollm.mode("off"):
            assert mode_of(ask) == "off"
        assert mode_of(ask) == "offline"
        assert mode_of(ask.with_options(mode="auto")) == "stored"


def test_a_mode_follows_tasks_and_threads_with_their_context(cache):
    """A context manager holds for what is started inside it, and for nothing else."""
    ask = Form(cache, "plain")

    async def main():
        with memollm.mode("offline"):
            task = asyncio.create_task(asyncio.to_thread(mode_here))
            bare = threading.Thread(target=lambda: elsewhere.append(ask()))
            bare.start()
        return await task, await asyncio.to_thread(bare.join)

    def mode_here():
        with pytest.raises(CacheMiss):
            ask("y")
        return "offline"

    elsewhere = []
    assert run(main())[0] == "offline"
    assert elsewhere == ["x 1"]


def test_a_mode_that_there_is_not(cache, monkeypatch):
    """A misspelt mode is an error wherever it is said, and names the nearest."""
    with pytest.raises(OptionError, match=r"mode='ofline'.*'offline'"), memollm.mode("ofline"):
        pass
    with pytest.raises(OptionError, match=r"mode='refersh'.*'refresh'"):
        cache.cached_llm(mode="refersh")
    with pytest.raises(OptionError, match=r"mode='of'.*'off'"):
        configure(mode="of")
    with pytest.raises(OptionError, match=r"mode=True"):
        configure(mode=True)
    monkeypatch.setenv("MEMOLLM_MODE", "Auto")
    with pytest.raises(OptionError, match=r"MEMOLLM_MODE='Auto'.*'auto'"):
        Configuration().get("mode")


# What a miss says.


def test_a_miss_names_the_nearest_stored_call(cache):
    """The message says in what the call differs from those that are stored, and what to do."""
    ask = cache.cached_llm(lambda prompt, temperature=1.0: prompt, namespace="a", name="ask", version=1)
    ask("x")
    ask("y", temperature=0.5)
    with memollm.mode("offline"), pytest.raises(CacheMiss) as caught:
        ask("x", temperature=0.7)
    message = str(caught.value)
    assert "Nothing is stored of this call of " in message
    assert ask.key("x") in message
    assert message.index("temperature: ") < message.index("prompt: ")
    assert 'mode="auto"' in message
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_a_miss_where_nothing_is_stored_says_so(cache):
    """There is no nearest call of a function that has none."""
    ask = cache.cached_llm(lambda prompt: prompt, mode="offline", name="ask", version=1)
    with pytest.raises(CacheMiss, match="Nothing is stored of any call of ask"):
        ask("x")


def test_a_miss_without_arguments_says_why_it_cannot_compare(cache):
    """With keep_arguments=False a digest is all there is, on either side."""

    def ask(prompt):
        return prompt

    readable = cache.cached_llm(ask, name="ask", version=1)
    digested = readable.with_options(keep_arguments=False)
    digested("x")
    with memollm.mode("offline"):
        with pytest.raises(CacheMiss, match="1 stored calls cannot be compared: keep_arguments=False"):
            digested("y")
        with pytest.raises(CacheMiss, match="1 stored calls cannot be compared: keep_arguments=False"):
            readable("y")
    digested.forget("x")
    readable("z")
    with memollm.mode("offline"), pytest.raises(CacheMiss, match="1 stored calls cannot be compared: keep_arguments"):
        digested("y")


def test_a_miss_of_a_coroutine_function_is_explained_off_the_loop(cache, monkeypatch):
    """P12: comparing with all that is stored takes its time, in a thread of its own."""
    threads = []
    explain = memollm._upkeep.explain.missing
    monkeypatch.setattr(
        "memollm._upkeep.explain.missing", lambda *args: threads.append(threading.get_ident()) or explain(*args)
    )

    @cache.cached_llm(mode="offline")
    async def ask(prompt):
        return prompt

    async def main():
        with pytest.raises(CacheMiss):
            await ask("x")
        return threading.get_ident()

    assert run(main()) not in threads
    assert len(threads) == 1


def test_cache_that_may_only_be_read_is_drawn_from(tmp_path, monkeypatch):
    """Where the folder cannot be written, what is stored is given, all else is called for, and one warning says so."""
    calls = itertools.count()

    def numbered(prompt):
        return f"{prompt} {next(calls)}"

    with Cache(tmp_path / "cache") as cache:
        cache.cached_llm(numbered, namespace="a", version=1).draw(2, "x")
    before = {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir() if path.is_file()}
    monkeypatch.setattr("os.access", lambda path, mode, **_: not mode & os.W_OK)
    with Cache(tmp_path / "cache") as cache:
        ask = cache.cached_llm(numbered, namespace="b", version=1)
        with pytest.warns(NotStoredWarning, match=r"cannot be written: .* mode=\"readonly\""):
            assert ask.draw(3, "x") == ["x 0", "x 1", "x 2"]
        assert ask("x") == "x 3"
        assert ask.peek("x") == ["x 0", "x 1", "x 2", "x 3"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir() if path.is_file()} == before


def test_closed_cache_draws_nothing_readonly_either(tmp_path):
    """Closing a cache closes it for every mode."""
    cache = Cache(tmp_path / "cache")
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version=1, namespace="a")
    ask("x")
    with memollm.mode("readonly"), memollm.namespace("b"):
        assert ask("x") == "x"
        cache.close()
        with pytest.raises(StoreClosed):
            ask("x")
