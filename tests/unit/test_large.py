"""Large answers: what takes its time to write or to read is done where no event loop waits for it (P12)."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
from array import array

import numpy as np
import pytest
from models import PATIENCE, run, until_in_loop, waiting

import memollm
from memollm import DamagedRecord
from memollm._values.codec import Codec
from memollm._values.frame import LARGE, weight
from memollm._values.weight import is_large

BIG = "text " * 20_000
MANY = [{"id": number} for number in range(3_000)]


@dataclasses.dataclass
class Letter:
    body: object


class Hostile:
    @property
    def __dict__(self):
        raise RuntimeError


class Gate:
    """Notes which threads write and read records; while it is closed, whoever writes a large one waits."""

    def __init__(self, codec, monkeypatch):
        self.wrote, self.read = [], []
        self.open, self._encode, self._decode = threading.Event(), codec.encode, codec.decode
        self.open.set()
        monkeypatch.setattr(codec, "encode", self.encode)
        monkeypatch.setattr(codec, "decode", self.decode)

    def encode(self, value, context=b""):
        self.wrote.append(threading.get_ident())
        if is_large(value):
            assert self.open.wait(PATIENCE)
        return self._encode(value, context)

    def decode(self, record, context=b""):
        self.read.append(threading.get_ident())
        return self._decode(record, context)


@pytest.fixture
def gate(cache, monkeypatch):
    return Gate(cache._engine.codec, monkeypatch)


def answering(cache, answer, **options):
    """Decorate a coroutine function that answers at once."""

    async def ask(prompt):
        return answer(prompt) if callable(answer) else answer

    return cache.cached_llm(ask, **{"name": "ask", "version": 1, **options})


@pytest.mark.parametrize("value", [BIG, MANY, {"a": [MANY]}, Letter(BIG), np.zeros(100_000)])
@pytest.mark.parametrize("namespace", [None, "n"])
def test_a_large_answer_is_written_and_read_in_another_thread(cache, gate, value, namespace):
    """As it is stored, and as it is drawn by another."""
    ask = answering(cache, value, namespace=namespace)

    async def main():
        await ask("x")
        with memollm.namespace("other"):
            got = await ask("x")
        with memollm.run("other"):
            await ask.with_options(namespace=None)("x")
        assert (type(got), len(gate.wrote), len(gate.read)) == (type(value), 1, 2)
        assert threading.get_ident() not in {*gate.wrote, *gate.read}

    run(main())


def test_a_small_answer_stays_where_it_is(cache, gate):
    """What takes no time is not worth a thread."""
    ask = answering(cache, "small")

    async def main():
        await ask("x")
        with memollm.namespace("other"):
            await ask("x")
        assert {*gate.wrote, *gate.read} == {threading.get_ident()}

    run(main())


def test_a_plain_function_does_all_itself(cache, gate):
    """A thread has nothing better to do."""
    ask = cache.cached_llm(lambda prompt: BIG, name="ask", version=1)
    ask("x")
    with memollm.namespace("other"):
        ask("x")
    assert {*gate.wrote, *gate.read} == {threading.get_ident()}


def test_many_samples_are_read_in_another_thread(cache, gate):
    """They are as much as a large one."""
    answers = itertools.count()
    ask = answering(cache, lambda _: next(answers))

    async def main():
        await ask.draw(2000, "x")
        with memollm.namespace("other"):
            assert await ask.draw(2000, "x") == [*range(2000)]
        assert len(gate.read) == 2000
        assert threading.get_ident() not in gate.read

    run(main())


def test_a_large_stream_is_written_and_read_in_another_thread(cache, gate):
    """A stream is as large as its chunks together."""

    @cache.cached_llm(name="tell", version=1)
    async def tell(prompt):
        for chunk in MANY:
            yield chunk

    async def main():
        assert [chunk async for chunk in tell("x")] == MANY
        with memollm.namespace("other"):
            assert [chunk async for chunk in tell("x")] == MANY
        assert threading.get_ident() not in {*gate.wrote, *gate.read}

    run(main())


def test_results_of_one_call_are_told_apart(cache, gate):
    """Of several, each is written where it belongs."""

    @cache.cached_llm(name="ask", version=1, count="n")
    async def ask(prompt, n=1):
        return [BIG, "small"][:n]

    async def main():
        assert await ask.draw(2, "x") == [BIG, "small"]
        assert [each == threading.get_ident() for each in gate.wrote] == [False, True]

    run(main())


def test_who_is_cancelled_while_it_is_written_keeps_it(cache, gate):
    """It is paid for (P7); the position goes back (P3)."""
    ask = answering(cache, BIG, namespace="n")

    async def main():
        gate.open.clear()
        task = asyncio.ensure_future(ask("x"))
        await until_in_loop(lambda: gate.wrote)
        task.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ask.peek("x") == [BIG]
        gate.wrote.clear()
        assert await ask("x") == BIG
        assert gate.wrote == []

    run(main())


def test_who_is_cancelled_while_it_is_read_gives_it_back(cache, gate, monkeypatch):
    """It was taken already (P3)."""
    ask = answering(cache, BIG, namespace="n")
    reading, go = threading.Event(), threading.Event()
    decode = cache._engine.codec.decode

    def slow(record, context=b""):
        reading.set()
        assert go.wait(PATIENCE)
        return decode(record, context)

    async def main():
        await ask("x")
        monkeypatch.setattr(cache._engine.codec, "decode", slow)
        with memollm.namespace("m"):
            task = asyncio.ensure_future(ask("x"))
            await until_in_loop(reading.is_set)
            task.cancel()
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [space.draws for space in cache.namespaces() if space.name == "m"] == [0]

    run(main())


def test_nobody_waits_for_a_large_answer_of_another(cache, gate):
    """Draws of other calls come and go while it is written."""
    ask = answering(cache, lambda prompt: BIG if prompt == "big" else prompt)

    async def main():
        gate.open.clear()
        task = asyncio.ensure_future(ask("big"))
        await until_in_loop(lambda: gate.wrote)
        assert await ask("small") == "small"
        with memollm.run("other"):
            assert await ask("small") == "small"
        assert not task.done()
        gate.open.set()
        assert await task == BIG

    run(main())


def test_the_slot_of_an_answer_that_is_written_is_kept(cache, gate):
    """What else of the draw is not kept is let go of, and this is not: others wait for it (P5)."""
    made = itertools.count()
    ask = answering(
        cache, lambda _: BIG if next(made) == 0 else "refused", namespace="n", accept=lambda value: value == BIG
    )

    async def main():
        gate.open.clear()
        task = asyncio.ensure_future(ask.draw(2, "x"))
        await until_in_loop(lambda: gate.wrote and next(made) > 1)
        with memollm.namespace("m"):
            other = asyncio.ensure_future(ask("x"))
            await until_in_loop(lambda: waiting(cache))
        gate.open.set()
        assert await task == [BIG, "refused"]
        assert await other == BIG

    run(main())


def test_a_large_record_that_cannot_be_read_is_told(cache, monkeypatch):
    """As a small one is; nothing of it is delivered (P3)."""
    ask = answering(cache, BIG)

    def damaged(record, context=b""):
        raise DamagedRecord("it is")

    async def main():
        await ask("x")
        with monkeypatch.context() as patched, memollm.namespace("m"):
            patched.setattr(cache._engine.codec, "decode", damaged)
            with pytest.raises(DamagedRecord):
                await ask("x")
        assert [space.draws for space in cache.namespaces() if space.name == "m"] == [0]

    run(main())


@pytest.mark.parametrize("value", ["x" * LARGE, [0] * 3000, {str(n): n for n in range(3000)}, [[0] * 100] * 100])
@pytest.mark.parametrize("wrapped", [lambda value: value, lambda value: [value], Letter, lambda value: {"a": (value,)}])
def test_what_is_large(value, wrapped):
    """However it is put together."""
    assert is_large(wrapped(value))


@pytest.mark.parametrize("value", [None, 1, "text", [1, 2], {"a": ["b"]}, Letter("x"), Letter, Hostile(), array("b")])
def test_what_is_small(value):
    """What cannot be told is taken for small."""
    assert not is_large(value)


def test_what_is_endless_is_large():
    """A value that holds itself is looked at for a while only; the codec says what is wrong with it."""
    value = []
    value.append(value)
    assert is_large(value)


@pytest.mark.parametrize("value", ["text", "text" * 5000, Letter("text" * 5000), Letter(b"\0" * LARGE)])
def test_the_weight_of_a_record_is_what_it_unpacks_to(value):
    """One that is compressed announces it; no other is far from its length."""
    record = Codec().encode(value)
    body = Codec().opened(record)[1]
    assert len(body) <= weight(record) <= len(body) + 100


def test_a_record_that_announces_nothing_weighs_its_length():
    """Damage is told by who reads it."""
    assert weight(b"j1:00000000:no number") == len(b"j1:00000000:no number")
