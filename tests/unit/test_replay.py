"""Replays: a block reads what a namespace drew, from its start, whatever others drew since, and calls nothing."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import threading
import weakref

import pytest
from models import PATIENCE, Gates, run, until, until_in_loop

import memollm
import memollm.testing
from memollm import CacheMiss, OptionError, ReplayExhausted
from memollm._draws.replay import Replay
from memollm._types.calls import Call, Want
from memollm._values.codec import Codec
from memollm.stores.memory.store import MemoryStore


def asking(cache, **options):
    """Return a function whose answers are numbered over all calls."""
    numbers = itertools.count(1)
    options = {"namespace": "a", "name": "ask", "version": 1, **options}
    return cache.cached_llm(lambda prompt: f"{prompt} {next(numbers)}", **options)


def position(cache, name="a"):
    return {space.name: space.draws for space in cache.namespaces()}.get(name, 0)


def test_a_replay_reads_what_the_namespace_drew(cache):
    """After other namespaces drew more, it is what the namespace drew, in order, for nothing."""
    ask = asking(cache)
    drawn = [ask("x"), ask("y"), ask("x"), *ask.draw(2, "x")]
    with memollm.namespace("b"):
        ask.draw(9, "x")
        ask.draw(9, "y")
    for _ in range(2):
        with memollm.track() as tracked, memollm.replay("a"):
            assert [ask("x"), ask("y"), ask("x"), *ask.draw(2, "x")] == drawn
        assert (tracked.paid, tracked.hits) == (0, 5)
    assert position(cache) == 5


def test_a_replay_ends_where_its_namespace_stands(cache):
    """Past the end nothing is called, although more is stored; what there is can still be read."""
    ask = asking(cache)
    ask.draw(3, "x")
    with memollm.namespace("b"):
        ask.draw(5, "x")
    with memollm.replay("a"):
        with pytest.raises(ReplayExhausted, match=r"'a' drew no more of this call of ask: 4 more were .* 3 are left"):
            ask.draw(4, "x")
        assert ask.draw(3, "x") == ["x 1", "x 2", "x 3"]
        with pytest.raises(ReplayExhausted, match='then="draw"') as caught:
            ask("x")
        with pytest.raises(ReplayExhausted):
            ask("never asked")
    assert isinstance(caught.value, CacheMiss)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert position(cache) == 3


def test_a_replay_of_nothing_is_at_its_end(cache):
    """A namespace that never drew has nothing to replay, and is not made by it."""
    ask = asking(cache)
    with memollm.replay("never"), pytest.raises(ReplayExhausted, match=r"no namespace 'never' .*\(it has: none\)"):
        ask("x")
    assert cache.namespaces() == []


def test_a_misspelt_namespace_is_told(cache):
    """A replay that goes on may begin a namespace, and says so where its name is near that of another."""
    ask = asking(cache)
    with memollm.namespace("paper"):
        ask("x")
    with memollm.replay("papr"), pytest.raises(ReplayExhausted, match=r"no namespace 'papr' .* mean 'paper'\?"):
        ask("x")
    with memollm.replay("papr", then="draw"):
        with pytest.warns(memollm.MemollmWarning, match=r"mean 'paper'\? It begins with this draw"):
            ask("x")
        ask("y")
    with memollm.replay("quite another", then="draw"):
        ask("x")


def test_a_replay_that_goes_on_draws_as_the_namespace(cache):
    """With then="draw", past the end draws move the namespace's own cursor."""
    ask = asking(cache)
    ask.draw(2, "x")
    with memollm.replay("a", then="draw"):
        assert ask("x") == "x 1"
        assert ask.draw(3, "x") == ["x 2", "x 3", "x 4"]
        assert ask("x") == "x 5"
        assert position(cache) == 5
    with memollm.replay("a"):
        assert ask.draw(5, "x") == ["x 1", "x 2", "x 3", "x 4", "x 5"]
    assert ask("x") == "x 6"


def test_a_straddling_draw_that_fails_loses_nothing(cache):
    """P3: where the drawing part fails, the part that was read can be read again."""
    answers = iter(["one", "two", ConnectionError("no answer"), "three", "four"])

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ask.draw(2, "x")
    with memollm.replay("a", then="draw"):
        with pytest.raises(ConnectionError):
            ask.draw(4, "x")
        assert ask.draw(3, "x") == ["one", "two", "three"]
        assert ask("x") == "four"


def test_a_straddling_draw_that_is_cancelled_loses_nothing(cache):
    """P3: the same for a task that is cancelled while it draws."""

    @cache.cached_llm(namespace="a", name="ask", version=1, on_cancel="stop")
    async def ask(prompt):
        nonlocal begun
        begun += 1
        if begun == 2:
            await asyncio.get_running_loop().create_future()
        return f"answer {begun}"

    async def main():
        await ask("x")
        with memollm.replay("a", then="draw"):
            task = asyncio.create_task(ask.draw(2, "x"))
            while begun < 2:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await ask.draw(2, "x")

    begun = 0
    assert run(main()) == ["answer 1", "answer 3"]


def test_a_batch_is_replayed_item_by_item(cache):
    """Each item reads what was drawn of it; past an item's end the whole batch is at its end, and nothing is read."""
    numbers = itertools.count(1)

    @cache.cached_llm(batch="prompts", namespace="a", name="generate", version=1)
    def generate(prompts):
        return [f"{prompt} {next(numbers)}" for prompt in prompts]

    assert generate(["x", "y", "x"]) == ["x 1", "y 2", "x 3"]
    with memollm.replay("a"):
        with pytest.raises(ReplayExhausted):
            generate(["x", "y", "y"])
        assert generate(["y", "x"]) == ["y 2", "x 1"]
        assert generate.one("x") == "x 3"
        assert generate([]) == []
    with memollm.replay("a", then="draw"):
        assert generate(["z", "x", "y", "y"]) == ["z 4", "x 1", "y 2", "y 5"]
        assert generate.draw(2, ["x"]) == [["x 3", "x 6"]]


def test_count_asks_for_what_is_left_to_draw(cache):
    """P4: of four samples two are read and one call makes the other two."""
    asked = []

    @cache.cached_llm(count="n", namespace="a", name="several", version=1)
    def several(prompt, n=2):
        asked.append(n)
        return [f"{prompt} {len(asked)}.{number}" for number in range(n)]

    first = several("x")
    with memollm.replay("a", then="draw"):
        assert several("x", n=4) == [*first, "x 2.0", "x 2.1"]
    assert asked == [2, 2]


def test_streams_are_replayed_chunk_by_chunk(cache):
    """What a namespace heard is heard again; past its end nothing is called."""

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        nonlocal told
        told += 1
        yield prompt
        yield told
        return told * 10

    def whole():
        stream, chunks = tell("x"), []
        while True:
            try:
                chunks.append(next(stream))
            except StopIteration as end:
                return chunks, end.value

    told = 0
    drawn = [whole(), whole()]
    with memollm.replay("a"):
        assert [whole(), whole()] == drawn
        with pytest.raises(ReplayExhausted):
            whole()
    with memollm.replay("a", then="draw"):
        assert [whole(), whole(), whole()] == [*drawn, (["x", 3], 30)]
    assert told == 3


def test_async_functions_and_streams_are_replayed(cache):
    """The same for coroutine functions, async generator functions, and maps of them."""
    numbers = itertools.count(1)

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        await asyncio.sleep(0)
        return next(numbers)

    @cache.cached_llm(namespace="a", name="tell", version=1)
    async def tell(prompt):
        await asyncio.sleep(0)
        yield next(numbers)

    async def draw():
        chunks = [chunk async for chunk in tell("x")]
        return [await ask("x"), chunks, await ask.draw(2, "x"), await ask.map(["y", "z"])]

    async def main():
        drawn = await draw()
        with memollm.replay("a"):
            assert await draw() == drawn
            with pytest.raises(ReplayExhausted):
                await ask("x")
            with pytest.raises(ReplayExhausted):
                await anext(tell("x"))
        with memollm.replay("a", then="draw"):
            assert await draw() == drawn
            assert await ask("x") == next(numbers) - 1

    run(main())


def test_a_map_is_replayed(cache):
    """Each item reads its own; what was never drawn is an error of its own."""
    ask = asking(cache)
    drawn = ask.map(["x", "y", "x"])
    with memollm.replay("a"):
        assert ask.map(["x", "y", "x"]) == drawn
        (error,) = ask.map(["z"], on_error="return")
        assert isinstance(error, ReplayExhausted)
    with memollm.replay("a", then="draw"):
        assert ask.map(["x", "z"]) == ["x 1", "z 4"]


def test_a_map_that_fails_gives_back_what_it_had_read(cache):
    """P3: what a map read and nobody got can be read again, in its order, in threads, in tasks and as it comes."""
    fail, numbers = True, itertools.count(1)

    def answer(prompt):
        if prompt == "bad" and fail:
            raise ConnectionError("no answer")
        return f"{prompt} {next(numbers)}"

    async def answer_async(prompt):
        await asyncio.sleep(0)
        return answer(prompt)

    ask = cache.cached_llm(answer, namespace="a", name="ask", version=1)
    ask_async = cache.cached_llm(answer_async, namespace="a", name="ask", version=1)
    items = ["x", "y", "x", ("z",), "bad"]

    async def mapped(some):
        return await ask_async.map(some)

    drawn = ask.map(items[:3])
    with memollm.replay("a", then="draw"):
        for attempt in (lambda: ask.map(items, concurrency=1), lambda: ask.map(items), lambda: run(mapped(items))):
            with pytest.raises(ConnectionError):
                attempt()
        left = ask.map(items, as_completed=True, concurrency=1)
        assert next(left) == (0, drawn[0])
        left.close()
        fail = False
        # The first item's was given to whoever read the first result.
        assert ask.map(items[1:2]) == drawn[1:2]
        assert run(mapped(items[2:3])) == drawn[2:3]
    with memollm.replay("a"):
        assert ask.map(items[:3]) == drawn


def test_each_block_begins_at_the_start(cache):
    """A replay inside a replay of the same namespace is one of its own."""
    ask = asking(cache)
    ask.draw(2, "x")
    with memollm.replay("a"):
        assert ask("x") == "x 1"
        with memollm.replay("a"):
            assert ask.draw(2, "x") == ["x 1", "x 2"]
        assert ask("x") == "x 2"


def test_another_reader_inside_a_replay_draws(cache):
    """Whoever names a namespace inside the block, or insists on one, draws as that."""
    ask = asking(cache)
    ask.draw(2, "x")
    with memollm.replay("a"):
        with memollm.namespace("b"):
            assert ask.draw(3, "x") == ["x 1", "x 2", "x 3"]
        assert ask.with_options(namespace="c").draw(3, "x") == ["x 1", "x 2", "x 3"]
        assert ask.draw(2, "x") == ["x 1", "x 2"]
    assert (position(cache, "b"), position(cache, "c"), position(cache, "a")) == (3, 3, 2)


def test_a_pool_is_replayed_as_it_was_drawn(cache):
    """In a pool positions come round; a pool of one has no cursor and is as ever."""
    ask = asking(cache, pool=2)
    drawn = [ask("x") for _ in range(5)]
    memoized = cache.cached_llm(lambda prompt: prompt.upper(), pool=1, name="memoized", version=1)
    with memollm.replay("a"):
        assert [ask("x") for _ in range(5)] == drawn == ["x 1", "x 2", "x 1", "x 2", "x 1"]
        with pytest.raises(ReplayExhausted):
            ask("x")
        assert [memoized("x"), memoized("x")] == ["X", "X"]


def test_what_is_no_longer_stored_is_a_miss(cache):
    """After `forget` there is nothing to replay, and nothing else is given in its place."""
    ask = asking(cache)
    ask.draw(2, "x")
    with memollm.replay("a"):
        assert ask("x") == "x 1"
        ask.forget("x")
        with pytest.raises(CacheMiss, match=r"'a' drew slot 1 of this call of ask .*no longer stored"):
            ask("x")
    with memollm.replay("a"), pytest.raises(ReplayExhausted):
        ask("x")


def test_a_replay_that_could_not_be_read_is_read_again(cache, monkeypatch):
    """P3: a draw that found nothing to give gives its position back, so that no sample is passed over in silence."""
    ask = asking(cache)
    drawn = ask.draw(2, "x")
    with memollm.replay("a"):
        with monkeypatch.context() as broken:
            broken.setattr(type(cache.store), "peek", lambda *_: {})
            with pytest.raises(CacheMiss, match="drew slot 0"):
                ask("x")
        assert [ask("x"), ask("x")] == drawn


def test_a_sample_that_expired_or_is_replaced_is_replayed_as_it_stands(tmp_path):
    """A replay gives what is stored in the slots that were drawn, however old, also where they were refreshed."""
    clock = memollm.testing.FakeClock()
    with memollm.Cache("memory:", clock=clock) as cache:
        ask = asking(cache, ttl="1h")
        ask.draw(2, "x")
        clock.advance(7200)
        with memollm.replay("a"):
            assert ask.draw(2, "x") == ["x 1", "x 2"]
        with memollm.namespace("b"):
            ask("x")
        with memollm.replay("a"):
            assert ask.draw(2, "x") == ["x 3", "x 2"]


def test_a_position_that_was_given_back_is_not_replayed(cache):
    """P3: what was drawn and not delivered is no part of what a namespace drew."""
    numbers = itertools.count(1)

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        number = next(numbers)
        if number == 2:
            raise ConnectionError
        return number

    ask("x")
    with pytest.raises(ConnectionError):
        ask("x")
    with memollm.replay("a"):
        assert ask("x") == 1
        with pytest.raises(ReplayExhausted):
            ask("x")


def test_every_lane_replays_its_own(cache):
    """In a lane a replay reads what the lane drew, in any order of lanes; outside what was drawn outside."""
    ask = asking(cache)
    drawn = {}
    for turn in range(3):
        for name in ("one", "two"):
            with memollm.lane(name):
                drawn[name, turn] = ask("x")
        drawn[None, turn] = ask("x")
    with memollm.replay("a"):
        with memollm.lane("two"):
            assert ask.draw(3, "x") == [drawn["two", turn] for turn in range(3)]
        assert ask.draw(3, "x") == [drawn[None, turn] for turn in range(3)]
        with memollm.lane("one"):
            assert ask.draw(2, "x") == [drawn["one", 0], drawn["one", 1]]
            assert ask("x") == drawn["one", 2]
            with pytest.raises(ReplayExhausted, match="in lane 'one'"):
                ask("x")
        with memollm.lane("three"), pytest.raises(ReplayExhausted):
            ask("x")


def test_a_lane_goes_on_after_its_replay(cache):
    """With then="draw" a lane draws on as itself."""
    ask = asking(cache)
    for name in ("one", "two"):
        with memollm.lane(name):
            ask("x")
    with memollm.replay("a", then="draw"):
        with memollm.lane("one"):
            assert ask.draw(2, "x") == ["x 1", "x 3"]
        with memollm.lane("two"):
            assert ask.draw(2, "x") == ["x 2", "x 4"]
    with memollm.replay("a"), memollm.lane("one"):
        assert ask.draw(2, "x") == ["x 1", "x 3"]


def test_threads_of_one_replay_share_it(cache):
    """Within a block no sample is read twice, whoever reads."""
    ask = asking(cache)
    drawn = ask.draw(40, "x")
    got = []

    def read():
        got.extend([ask("x") for _ in range(10)])

    async def main():
        with memollm.replay("a"):
            await asyncio.gather(*(asyncio.to_thread(read) for _ in range(4)))

    run(main())
    assert sorted(got) == sorted(drawn)


def test_a_replay_in_each_mode(cache):
    """What a namespace drew is read in every mode that reads; mode off is the bare function."""
    ask = asking(cache)
    ask.draw(2, "x")
    for mode in ("auto", "offline", "refresh"):
        with memollm.replay("a"), memollm.mode(mode):
            assert ask.draw(2, "x") == ["x 1", "x 2"]
    with memollm.replay("a", then="draw"), memollm.mode("offline"):
        with pytest.raises(CacheMiss, match="slot 2 is not"):
            ask.draw(3, "x")
        assert ask.draw(2, "x") == ["x 1", "x 2"]
    with memollm.replay("a"), memollm.mode("off"):
        assert ask("x") == "x 3"


def test_what_replay_takes():
    """A misspelt `then` and a name that can be none are errors."""
    with pytest.raises(OptionError, match=r"then='drew'.*'draw'"), memollm.replay("a", then="drew"):
        pass
    with pytest.raises(OptionError, match="namespace=''"), memollm.replay(""):
        pass


def test_a_replay_is_read_while_its_namespace_draws(cache):
    """A replay knows what had been delivered when it first came to a call; what flies then is no part of it."""
    gates = Gates()
    ask = cache.cached_llm(lambda prompt: gates.fly(), namespace="a", name="ask", version=1)
    flying = threading.Thread(target=ask, args=("x",))
    flying.start()
    gate = gates.begun()
    with memollm.replay("a"):
        with pytest.raises(ReplayExhausted):
            ask("x")
        gate.put("answer")
        flying.join()
        until(lambda: position(cache) == 1)
        with pytest.raises(ReplayExhausted):
            ask("x")
    with memollm.replay("a"):
        assert ask("x") == "answer"


@pytest.fixture
def reading(cache, monkeypatch):
    """Note which threads read the records that are read again."""
    threads, codec = [], cache._engine.codec
    decode = codec.decode

    def noted(record, context=b""):
        threads.append(threading.get_ident())
        return decode(record, context)

    monkeypatch.setattr(codec, "decode", noted)
    return threads


@pytest.mark.parametrize(("n", "size"), [(1, 1), (2000, 1), (1, 100_000)])
def test_a_replay_of_much_leaves_the_loop_alone(cache, reading, n, size):
    """P12: many samples, or large ones, are listed, read and decoded in another thread, and come in their order."""
    answers = itertools.count()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        return [next(answers), prompt * size]

    async def main():
        drawn = await ask.draw(n, "x")
        reading.clear()
        with memollm.replay("a"):
            assert await ask.draw(n, "x") == drawn
        assert len(reading) == n
        assert threading.get_ident() not in reading

    run(main())


def test_draws_of_a_replay_keep_their_order_where_one_is_read_off_the_loop(cache):
    """Which draw was asked for first is given first, however much others ask for."""
    answers = itertools.count()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        return next(answers)

    async def main():
        await ask.draw(104, "x")
        with memollm.replay("a"):
            given = await asyncio.gather(ask("x"), ask.draw(100, "x"), ask("x"), ask.draw(2, "x"))
        assert given == [0, [*range(1, 101)], 101, [102, 103]]

    run(main())


def test_a_cancelled_replay_can_be_read_again(cache, monkeypatch):
    """P3: what was read off the loop for a task that is cancelled meanwhile was given to nobody."""
    store, peek = cache.store, cache.store.peek
    begun, go = threading.Event(), threading.Event()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        return "answer"

    def slow(*args):
        begun.set()
        assert go.wait(PATIENCE)
        return peek(*args)

    async def main():
        drawn = await ask.draw(40, "x")
        with memollm.replay("a"):
            with monkeypatch.context() as slowly:
                slowly.setattr(type(store), "peek", staticmethod(slow))
                task = asyncio.create_task(ask.draw(40, "x"))
                await until_in_loop(begun.is_set)
                task.cancel()
                go.set()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await ask.draw(40, "x") == drawn

    run(main())


def test_a_store_that_is_gone_is_not_taken_for_another():
    """P8: a replay keeps the stores that it has read, so that none takes another's place in memory."""
    store, call = MemoryStore(), Call(b"key", "form", "ask")
    replay, is_there = Replay("a", goes_on=True), weakref.ref(store)
    assert replay.read(store, Codec(), Want(call, "namespace:a", 1, None), wait=True) == []
    del store
    gc.collect()
    assert is_there() is not None
