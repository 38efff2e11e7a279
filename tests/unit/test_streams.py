"""Streams: chunks pass through as they come, and a stored stream is replayed chunk by chunk, on both stores."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import threading

import pytest
from models import PATIENCE, run, show_time, until, until_in_loop, waiting

import memollm
from memollm import NotStoredWarning, OptionError, ReentrantCall, ReplayedStream
from memollm._draws.waits import under
from memollm._types.calls import Place
from memollm._types.requests import Fill, Write


def whole(stream):
    """Read a stream to its end: its chunks, and what its generator returned."""
    chunks = []
    while True:
        try:
            chunks.append(next(stream))
        except StopIteration as end:
            return chunks, end.value


async def whole_async(stream):
    return [chunk async for chunk in stream]


def telling(cache, **options):
    """Return a generator function that numbers its chunks over all calls, and the list of what it has produced."""
    produced = []

    @cache.cached_llm(**options)
    def tell(prompt, chunks=3):
        for _ in range(chunks):
            produced.append(f"{prompt}{len(produced)}")
            yield produced[-1]
        return len(produced)

    return tell, produced


def telling_async(cache, **options):
    produced = []

    @cache.cached_llm(**options)
    async def tell(prompt, chunks=3):
        for _ in range(chunks):
            await asyncio.sleep(0)
            produced.append(f"{prompt}{len(produced)}")
            yield produced[-1]

    return tell, produced


def test_decorated_generator_functions_are_generator_functions(cache):
    """What frameworks ask of a function before they stream from it stays true, for methods and partials, too."""
    tell, _ = telling(cache)
    tell_async, _ = telling_async(cache)

    class Agent:
        tell = cache.cached_llm(ignore="self")(lambda self: (yield 1))

    assert inspect.isgeneratorfunction(tell)
    assert inspect.isgenerator(tell("x"))
    assert inspect.isasyncgenfunction(tell_async)
    assert inspect.isasyncgen(tell_async("x"))
    assert inspect.isgeneratorfunction(Agent().tell)
    assert whole(Agent().tell()) == ([1], None)
    assert whole(cache.cached_llm(functools.partial(tell.__wrapped__, chunks=1))("p"))[1] is not None


def test_the_first_chunk_arrives_before_the_second_is_produced(cache):
    """Chunks pass through as they come: nothing is read ahead."""
    tell, produced = telling(cache)
    stream = tell("x")
    assert next(stream) == "x0"
    assert produced == ["x0"]


def test_the_first_chunk_arrives_before_the_second_is_produced_in_an_event_loop(cache):
    """Chunks of an async generator function pass through as they come, too."""
    tell, produced = telling_async(cache)

    async def main():
        stream = tell("x")
        first = await anext(stream)
        seen = list(produced)
        await stream.aclose()
        return first, seen

    assert run(main()) == ("x0", ["x0"])


def test_a_replayed_stream_equals_the_live_one_chunk_for_chunk(cache):
    """P2: boundaries between chunks, empty chunks and what the generator returned are kept; nothing is called."""
    made = 0

    @cache.cached_llm(namespace="a")
    def tell(prompt):
        nonlocal made
        made += 1
        yield from ["He", "", "llo", {"usage": [1, 2]}]
        return ("stop", made)

    live = whole(tell("x"))
    with memollm.namespace("b"):
        assert whole(tell("x")) == live == (["He", "", "llo", {"usage": [1, 2]}], ("stop", 1))
    assert made == 1
    assert tell.peek("x") == [live[0]]


def test_a_replayed_async_stream_equals_the_live_one(cache):
    """P2: another namespace gets the same chunks, for nothing."""
    tell, produced = telling_async(cache)

    async def main():
        with memollm.namespace("a"):
            live = await whole_async(tell("x"))
        with memollm.namespace("b"):
            return live, await whole_async(tell("x"))

    assert run(main()) == (["x0", "x1", "x2"],) * 2
    assert len(produced) == 3


def test_a_namespace_never_replays_its_own_stream(cache):
    """P1: draws of one namespace are distinct streams."""
    tell, _ = telling(cache, namespace="a")
    assert [whole(tell("x"))[0] for _ in range(2)] == [["x0", "x1", "x2"], ["x3", "x4", "x5"]]


def test_a_pool_of_one_replays_for_ever(cache):
    """With `pool=1` the function streams once; each replay is made of objects of its own (P11)."""
    calls = itertools.count()

    @cache.cached_llm(pool=1)
    def tell(prompt):
        yield {"call": next(calls)}

    for _ in range(4):
        (chunk,) = tell("x")
        assert chunk == {"call": 0}
        chunk["call"] = 7


def test_changing_a_live_chunk_changes_nothing_stored(cache):
    """P11: what its reader does to a chunk before the stream ends is not recorded."""

    @cache.cached_llm(namespace="a")
    def tell(prompt):
        yield {"delta": ["a"]}
        yield {"delta": ["b"]}

    for chunk in tell("x"):
        chunk["delta"].clear()
    assert tell.peek("x") == [[{"delta": ["a"]}, {"delta": ["b"]}]]


def test_nothing_happens_before_the_first_chunk_is_asked_for(cache):
    """P3: a stream that is never read takes no position and calls nothing."""
    tell, produced = telling(cache, namespace="a")
    tell("x")
    tell("x").close()
    assert produced == []
    assert cache.namespaces() == []


@pytest.mark.parametrize("end", ["closed", "collected", "thrown into", "never ended"])
def test_an_abandoned_stream_gives_its_position_back(cache, end):
    """P3: nothing of it is stored, and the next draw has its position."""
    tell, _ = telling(cache, namespace="a")
    stream = tell("x")
    next(stream)
    if end == "closed":
        stream.close()
    elif end == "thrown into":
        with pytest.raises(KeyError):
            stream.throw(KeyError("x"))
    elif end == "never ended":
        # All chunks were read, and not that there are no more.
        assert list(itertools.islice(stream, 2)) == ["x1", "x2"]
    del stream
    gc.collect()
    assert tell.peek("x") == []
    after = whole(tell("x"))[0]
    assert tell.peek("x") == [after]
    assert cache.namespaces() == [memollm.Namespace("a", 1, 1)]


@pytest.mark.parametrize("end", ["closed", "collected", "cancelled"])
def test_an_abandoned_async_stream_gives_its_position_back(cache, end):
    """P3: also when the task that reads it is cancelled; the function's own generator is closed."""
    closed = []

    @cache.cached_llm(namespace="a")
    async def tell(prompt):
        try:
            yield 1
            if not closed:
                await asyncio.Event().wait()
            yield 2
        finally:
            closed.append(prompt)

    async def main():
        stream = tell("x")
        assert await anext(stream) == 1
        if end == "closed":
            await stream.aclose()
        elif end == "cancelled":
            task = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        del stream
        gc.collect()
        await until_in_loop(lambda: closed)
        assert tell.peek("x") == []
        return await whole_async(tell("x"))

    assert run(main()) == [1, 2]
    assert tell.peek("x") == [[1, 2]]
    assert cache.namespaces() == [memollm.Namespace("a", 1, 1)]


@pytest.mark.parametrize("end", ["closed", "collected", "thrown into", "sent to", "never ended"])
def test_an_abandoned_replayed_stream_gives_its_position_back(cache, end):
    """P3: where its chunks come from makes no difference, so the next draw of the namespace replays them."""
    tell, produced = telling(cache, name="tell", version=1)
    with memollm.namespace("a"):
        whole(tell("x"))
    with memollm.namespace("b"):
        stream = tell("x")
        next(stream)
        if end == "closed":
            stream.close()
        elif end == "thrown into":
            with pytest.raises(KeyError):
                stream.throw(KeyError("x"))
        elif end == "sent to":
            with pytest.raises(ReplayedStream):
                stream.send("x")
        elif end == "never ended":
            assert list(itertools.islice(stream, 2)) == ["x1", "x2"]
        del stream
        gc.collect()
        assert whole(tell("x"))[0] == ["x0", "x1", "x2"] == produced
        assert whole(tell("x"))[0] == ["x3", "x4", "x5"]


@pytest.mark.parametrize("end", ["closed", "collected", "cancelled"])
def test_an_abandoned_replayed_async_stream_gives_its_position_back(cache, end):
    """P3: it is one rule for live and replayed streams, in tasks, too."""
    tell, _ = telling_async(cache, name="tell", version=1)

    async def read_one():
        async for _ in tell("x"):
            await asyncio.sleep(PATIENCE)

    async def main():
        with memollm.namespace("a"):
            first = await whole_async(tell("x"))
        with memollm.namespace("b"):
            if end == "cancelled":
                task = asyncio.create_task(read_one())
                await until_in_loop(lambda: cache.namespaces()[-1].name == "b")
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                stream = tell("x")
                await anext(stream)
                if end == "closed":
                    await stream.aclose()
                del stream
            gc.collect()
            await until_in_loop(lambda: cache.namespaces()[-1].draws == 0)
            return first == await whole_async(tell("x")), await whole_async(tell("x"))

    assert run(main()) == (True, ["x3", "x4", "x5"])


def test_a_stream_that_is_read_again_and_left_is_read_again(cache):
    """P3: a block that replays a namespace begins again with the stream that nobody heard to its end."""
    tell, _ = telling(cache, namespace="a")
    drawn = [whole(tell("x"))[0] for _ in range(2)]
    with memollm.replay("a", then="draw"):
        next(tell("x"))
        assert [whole(tell("x"))[0] for _ in range(2)] == drawn
        assert whole(tell("x"))[0] == ["x6", "x7", "x8"]


def test_a_stream_that_fails_stores_nothing(cache):
    """P3: the error reaches the reader in its place, and the next draw has the position."""
    errors = [ConnectionError("cut"), None]

    @cache.cached_llm(namespace="a")
    def tell(prompt):
        yield "first"
        if error := errors.pop(0):
            raise error
        yield "second"

    stream = tell("x")
    assert next(stream) == "first"
    with pytest.raises(ConnectionError, match="cut"):
        next(stream)
    assert tell.peek("x") == []
    assert list(tell("x")) == ["first", "second"] == tell.peek("x")[0]


def test_a_second_reader_waits_and_then_replays(cache):
    """P5: in another thread, the slot that is streaming is waited for; the function is called once."""
    tell, produced = telling(cache, pool=1)
    stream = tell("x")
    heard = [next(stream)]
    second = []
    thread = threading.Thread(target=lambda: second.extend(tell("x")), daemon=True)
    thread.start()
    until(lambda: waiting(cache) == 1)
    assert second == []
    heard += stream
    thread.join(PATIENCE)
    assert second == heard == produced


def test_a_second_task_takes_over_from_a_stream_that_is_closed(cache):
    """P5: readers in other tasks wait; when the stream is abandoned exactly one of them streams, for all."""
    tell, produced = telling_async(cache, pool=1)

    async def main():
        stream = tell("x")
        await anext(stream)
        tasks = [asyncio.create_task(whole_async(tell("x"))) for _ in range(5)]
        # Made in this task, they are told by its context that it reads the stream; real readers are not.
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await stream.aclose()
        return results

    assert all(isinstance(result, ReentrantCall) for result in run(main()))

    async def reader(first, opened, leave):
        stream = tell("y")
        if first:
            await anext(stream)
            opened.set()
            await leave.wait()
            await stream.aclose()
            return None
        await opened.wait()
        return await whole_async(stream)

    async def apart():
        opened, leave = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(reader(number == 0, opened, leave)) for number in range(6)]
        await until_in_loop(lambda: waiting(cache) == 5)
        leave.set()
        return await asyncio.gather(*tasks)

    produced.clear()
    assert run(apart()) == [None, *[["y1", "y2", "y3"]] * 5]


def test_reading_the_slot_that_one_is_streaming_is_an_error(cache):
    """Where a stream is being read, waiting for its own sample would never end."""
    tell, _ = telling(cache, pool=1)
    stream = tell("x")
    next(stream)
    with pytest.raises(ReentrantCall, match="where its stream is being read"):
        next(tell("x"))
    assert list(stream) == ["x1", "x2"]
    assert list(tell("x")) == ["x0", "x1", "x2"]


def test_streams_of_one_namespace_are_read_side_by_side(cache):
    """P1, P6: they are two slots, and belong to whoever asked first."""
    tell, _ = telling(cache, namespace="a")
    first, second = tell("x"), tell("x")
    heard = [next(first), next(second), next(second), next(second), *second]
    assert heard == ["x0", "x1", "x2", "x3"]
    assert list(first) == ["x4", "x5"]
    assert tell.peek("x") == [["x0", "x4", "x5"], ["x1", "x2", "x3"]]


def test_a_stream_that_was_sent_to_passes_through_and_is_not_stored(cache):
    """P8: what a reader says to a stream is no part of its key, so no other reader gets what came of it."""

    @cache.cached_llm(namespace="a")
    def talk(prompt):
        said = yield "hello"
        while said:
            said = yield f"you said {said}"

    stream = talk("x")
    assert next(stream) == "hello"
    assert stream.send("this") == "you said this"
    assert list(stream) == []
    assert talk.peek("x") == []
    assert list(talk("x")) == ["hello"]
    with memollm.namespace("b"):
        stream = talk("x")
        next(stream)
        with pytest.raises(ReplayedStream, match="replayed from the store"):
            stream.send("this")


def test_an_async_stream_handles_what_is_thrown_into_it(cache):
    """What is thrown or sent reaches the live generator; the stream that comes of it is not stored."""

    @cache.cached_llm(namespace="a")
    async def talk(prompt):
        try:
            said = yield "hello"
            yield f"you said {said}"
        except KeyError as error:
            yield f"you threw {error.args[0]}"

    async def main():
        sent, thrown = talk("x"), talk("x")
        heard = [
            await anext(sent),
            await anext(thrown),
            await sent.asend("this"),
            await thrown.athrow(KeyError("that")),
        ]
        return heard, await whole_async(sent), await whole_async(thrown)

    assert run(main()) == (["hello", "hello", "you said this", "you threw that"], [], [])
    assert talk.peek("x") == []
    assert run(whole_async(talk("x"))) == ["hello", "you said None"]
    assert len(talk.peek("x")) == 1


def test_closing_a_stream_closes_the_generator_of_the_function(cache):
    """Its `finally` runs at once, as undecorated."""
    log = []

    @cache.cached_llm(namespace="a")
    def tell(prompt):
        try:
            yield 1
        finally:
            log.append("closed")

    stream = tell("x")
    next(stream)
    stream.close()
    assert log == ["closed"]


def test_an_unstorable_chunk_is_given_with_a_warning(cache):
    """P7: chunks that cannot be kept pass through; the warning comes at the end and the position goes back."""

    @cache.cached_llm(namespace="a")
    def tell(prompt):
        yield threading.Lock()

    stream = tell("x")
    assert next(stream).acquire()
    with pytest.warns(NotStoredWarning, match="tell"):
        assert list(stream) == []
    assert tell.peek("x") == []


def test_accept_is_asked_about_the_list_of_chunks(cache):
    """A stream that it refuses is passed on and not stored."""
    tell, _ = telling(cache, namespace="a", accept=lambda chunks: "x4" in chunks)
    assert list(tell("x")) == ["x0", "x1", "x2"]
    assert tell.peek("x") == []
    assert list(tell("x")) == ["x3", "x4", "x5"]
    assert tell.peek("x") == [["x3", "x4", "x5"]]


def test_a_stream_reads_for_whom_it_was_called(cache):
    """The namespace around the call counts, not the one around the reading."""
    tell, _ = telling(cache)
    with memollm.namespace("a"):
        stream = tell("x")
    assert list(stream) == ["x0", "x1", "x2"]
    assert cache.namespaces() == [memollm.Namespace("a", 1, 1)]


def test_several_samples_of_a_stream_are_refused(cache):
    """`n` and `count` are errors at decoration, `draw` at the call; each says why."""
    for option in ({"n": 2}, {"count": "chunks"}):
        with pytest.raises(OptionError, match=r"telling\.<locals>\.tell is a generator function"):
            telling(cache, **option)
    tell, produced = telling(cache)
    with pytest.raises(OptionError, match="read one at a time"):
        tell.draw(2, "x")
    assert produced == []


def test_a_stream_that_is_over_is_waited_for_nowhere(cache):
    """Who has read a stream, or dropped one, is not taken for its reader any more, and no trace of it piles up."""
    tell, _ = telling(cache, namespace="a")
    for _ in range(20):
        next(tell("x"))
        list(tell("x"))
    stream = tell("x")
    next(stream)
    assert len(under.get()) <= 3
    stream.close()


def test_a_stream_that_outlives_its_closed_cache_leaves_no_thread(cache):
    """What it owes can never be written, and nobody tries for ever."""

    @cache.cached_llm(namespace="a")
    def tell(prompt):
        yield prompt
        yield "more"

    engine, stream = cache._engine, tell("x")
    assert next(stream) == "x"
    cache.close()
    stream.close()
    assert engine.desk.debts
    engine.tender.begin()
    until(lambda: engine.tender._thread is None)


def test_a_stream_took_what_its_function_took(cache, monkeypatch):
    """P14: the time of each step counts, and that which its reader takes between them does not."""
    show_time(monkeypatch, itertools.count().__next__)
    tell, _ = telling(cache)
    with memollm.track() as tracked:
        whole(tell("x", chunks=3))
    # Each step reads its own clock and the shared one, twice.
    assert [(draw.seconds, draw.latency) for draw in tracked.draws] == [(4.0, 12.0)]


def fill(cache, function):
    """Fill the first slot of a call before whoever is filling it, as one does who takes its process for dead."""
    donor = cache.cached_llm(name="donor", version=1, pool=1)(lambda prompt: (yield from ("other", "stream")))
    list(donor("x"))
    call, given = (each._self_invocation(("x",), {}).keyed() for each in (function, donor))
    engine = cache._engine
    change = Fill(engine.flights.depart(), Place(call, 0), engine.store.peek(given)[0])
    engine.store.perform((Write(engine.flights.new_id(), [change]),))


@pytest.mark.parametrize("options", [{"namespace": "n"}, {"pool": 1}, {"namespace": "n", "mode": "refresh"}], ids=str)
@pytest.mark.parametrize("colour", ["plain", "async"])
@pytest.mark.parametrize("what", ["forgotten", "filled"])
def test_a_stream_that_is_being_read_is_heard_once(cache, options, colour, what):
    """Where its call is forgotten meanwhile, or another fills its slot first, its reader hears what is being made."""
    numbers = itertools.count()
    decorate = cache.cached_llm(**options, name="tell", version=1)

    def chunks():
        number = next(numbers)
        yield f"first {number}"
        if number == 0:
            ask.forget("x") if what == "forgotten" else fill(cache, ask)
        yield f"last {number}"

    if colour == "plain":
        ask = decorate(lambda prompt: (yield from chunks()))
        assert list(ask("x")) == ["first 0", "last 0"]
    else:

        @decorate
        async def ask(prompt):
            for chunk in chunks():
                yield chunk

        assert run(whole_async(ask("x"))) == ["first 0", "last 0"]
    assert next(numbers) == 1
    stored = ["other", "stream"] if what == "filled" else ["first 0", "last 0"]
    assert ask.peek("x") == [stored]
