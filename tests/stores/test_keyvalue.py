"""A back end of the user's with `get` and `set` serves `pool=1`, and says what it cannot do."""

import asyncio
import json
import threading

import pytest
from models import PATIENCE, numbering, run, until_in_loop
from stored_types import Point

import memollm
from memollm import Cache, NotStoredWarning, OptionError, StoreRefused, stores
from memollm._types.calls import Call
from memollm.stores import KeyValue
from memollm.stores.keyvalue import key_of
from memollm.testing import FakeClock


@pytest.fixture
def kept():
    return {}


@pytest.fixture
def cache(kept):
    """Make a cache upon a dict."""
    with Cache(KeyValue(kept.get, kept.__setitem__)) as made:
        yield made


def in_folder(folder):
    """Make a back end that is a folder, and gives bytes back."""

    def get(key):
        file = folder / key
        return file.read_bytes() if file.exists() else None

    return KeyValue(get, lambda key, text: (folder / key).write_text(text, encoding="utf-8"))


def test_equal_calls_have_one_answer(cache, kept):
    """A dict is enough; what is in it is JSON that tells its call."""
    ask = numbering(cache, pool=1)
    assert [ask("x"), ask("x"), ask("y"), ask("x")] == ["x 1", "x 1", "y 2", "x 1"]
    assert ask.peek("x") == ["x 1"]
    first = json.loads(kept[f"memollm-{ask.key('x')}"])
    assert json.loads(first["form"])["arguments"] == {"prompt": "x"}
    assert first["function"] == "ask"


def test_what_is_stored_is_read_by_all(tmp_path):
    """A folder keeps it for other programs, and gives bytes for texts; objects of classes come back as such."""
    made = []
    for _ in range(2):
        with Cache(in_folder(tmp_path)) as cache:

            @cache.cached_llm(pool=1, version=1, name="points")
            def point(x):
                made.append(x)
                return Point(x, 2)

            assert point(1) == Point(1, 2)
    assert made == [1]


def test_a_back_end_of_one_sample_refuses_readers(cache):
    """P1: it cannot know who has drawn what, so draws in a namespace or a run are errors that say what to do."""
    for options in ({}, {"namespace": "a"}, {"pool": 2}):
        with pytest.raises(StoreRefused, match="Say pool=1"):
            numbering(cache, **options)("x")
    with pytest.raises(StoreRefused, match="Remove it there"):
        numbering(cache, pool=1).forget("x")
    with pytest.raises(StoreRefused, match="cannot list"):
        cache.stats()


def test_a_back_end_is_two_functions(kept):
    """What is none is refused, and so is a name that `stores` does not have."""
    with pytest.raises(OptionError, match="two functions"):
        KeyValue(kept, kept)
    with pytest.raises(AttributeError, match="Nothing"):
        stores.Nothing  # noqa: B018 - its absence is asked for


def test_tasks_and_threads_that_want_one_sample_make_one_call(cache):
    """P5: in a process one of them makes it, and all others wait for it."""
    made, let_go = [], threading.Event()

    def make(prompt):
        made.append(prompt)
        assert let_go.wait(PATIENCE)
        return f"{prompt} {len(made)}"

    ask = cache.cached_llm(make, pool=1, name="made", version=1)

    async def main():
        tasks = [asyncio.create_task(asyncio.to_thread(ask, "x")) for _ in range(8)]
        await until_in_loop(lambda: made)
        let_go.set()
        return await asyncio.gather(*tasks)

    assert run(main()) == ["x 1"] * 8
    assert made == ["x"]


def test_coroutines_wait_for_one_another(cache):
    """P5: a hundred tasks are one call of a coroutine function, too, and a second loop finds its answer."""
    made = []

    @cache.cached_llm(pool=1, name="made", version=1)
    async def ask(prompt):
        made.append(prompt)
        await asyncio.sleep(0)
        return f"{prompt} {len(made)}"

    async def main():
        return await asyncio.gather(*(ask("x") for _ in range(100)))

    assert run(main()) == run(main()) == ["x 1"] * 100
    assert made == ["x"]


def test_a_failed_call_holds_nothing(cache):
    """P3: whoever asks next makes it."""
    failing = [True]

    @cache.cached_llm(pool=1, name="made", version=1)
    def ask(prompt):
        if failing.pop() if failing else False:
            raise ValueError("the provider is down")
        return prompt

    with pytest.raises(ValueError, match="down"):
        ask("x")
    assert ask("x") == "x"


def test_what_is_too_old_is_replaced(kept):
    """With `ttl`, and in the mode "refresh", the next answer takes the place of what is there."""
    clock = FakeClock()
    with Cache(KeyValue(kept.get, kept.__setitem__), clock=clock) as cache:
        ask = numbering(cache, pool=1, ttl=10)
        assert [ask("x"), ask("x")] == ["x 1", "x 1"]
        clock.advance(11)
        assert [ask("x"), ask("x")] == ["x 2", "x 2"]
        clock.advance(1)
        with memollm.mode("refresh"):
            assert ask("x") == "x 3"
        assert ask("x") == "x 3"
    assert len(kept) == 1


def test_the_first_that_was_stored_is_everybodys(kept):
    """Two processes that make one sample at one moment are given the same: what was stored first."""
    caches = [Cache(KeyValue(kept.get, kept.__setitem__)) for _ in range(2)]
    one, other = (numbering(cache, start, pool=1) for cache, start in zip(caches, (1, 5), strict=True))
    with caches[1].door("ask", version=1, pool=1).hold("x") as held:
        assert not held.hit
        assert caches[0].door("ask", version=1, pool=1).draw("x", lambda: "first") == "first"
        held.fill("second")
    assert held.value == "first"
    assert one("y") == other("y") == "y 1"
    for cache in caches:
        cache.close()


def test_a_lookup_holds_the_slot_for_its_update(cache):
    """The lower door works upon it: one caller looks up and updates, another waits for it."""
    door = cache.door("chat", version=1, pool=1)
    assert door.lookup("hi") is None
    door.update("hi", "hello")
    assert door.lookup("hi") == "hello"


@pytest.mark.parametrize("broken", ["get", "set"])
def test_a_back_end_that_fails_costs_no_answer(kept, broken):
    """P7: the answer is returned with a warning, and kept again when the back end works again."""
    works = []

    def failing(does):
        def do(*args):
            if not works:
                raise ConnectionError("the server is away")
            return does(*args)

        return do

    get = failing(kept.get) if broken == "get" else kept.get
    put = failing(kept.__setitem__) if broken == "set" else kept.__setitem__
    with Cache(KeyValue(get, put)) as cache:
        ask = numbering(cache, pool=1)
        with pytest.warns(NotStoredWarning, match="the server is away"):
            assert ask("x") == "x 1"
        works.append(True)
        assert [ask("x"), ask("x")] == ["x 2", "x 2"]


def test_what_is_not_ours_is_no_answer(cache, kept):
    """P8: another call's sample under the same key is a miss; what memollm has not written is said to be so."""
    ask = numbering(cache, pool=1)
    ask("x")
    call = Call(bytes.fromhex(ask.key("x")), "", "ask")
    kept[key_of(call)] = kept[key_of(call)].replace('\\"x\\"', '\\"z\\"')
    assert ask("x") == "x 2"
    damaged = json.dumps(json.loads(kept[key_of(call)]) | {"record": 3})
    for wrong in ("hello", "[]", "{}", '{"memollm": 2}', damaged, b"\xff"):
        kept[key_of(call)] = wrong
        cache._engine._warned.clear()
        with pytest.warns(NotStoredWarning, match="no sample that memollm has written"):
            ask("x")


def test_what_counts_as_a_text_and_what_does_not(cache, kept):
    """Records that are no text, as those of arrays and of long answers, come back as they were."""
    numpy = pytest.importorskip("numpy")
    vector = numpy.array([1.5, 2.5], dtype="float32")
    embed = cache.cached_llm(lambda text: vector, pool=1, name="embed", version=1)
    assert embed("x").dtype == embed("x").dtype == vector.dtype
    assert embed("x").tolist() == [1.5, 2.5]
    long = cache.cached_llm(lambda text: text * 100_000, pool=1, name="long", version=1)
    assert long("ab") == long("ab") == "ab" * 100_000
    assert "base64" in json.loads(next(iter(kept.values())))["record"]
