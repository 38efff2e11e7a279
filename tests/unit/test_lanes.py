"""Lanes: what each part of a concurrent program draws does not depend on what the others do meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from models import AsyncGates, asking, asking_async, run

import memollm
from memollm import Cache, OptionError
from memollm.testing import FakeClock, FakeModel, ModelDown

LANES = 20
TURNS = 3
PROMPTS = ("common", "shared")
TIMES = 10


class Agents:
    """A program of many lanes that draw two calls in common, each in an order of its own, after random delays."""

    def __init__(self, cache, of=(), **options):
        self.model = FakeModel()
        self.of = of
        self.ask = asking(cache, self.model, **options)
        self.ask_async = asking_async(cache, self.model, **options)

    def in_tasks(self, seed, lanes=LANES):
        """Run the program in tasks of one event loop, and return what each lane drew."""

        async def lane(name, delays):
            drawn = []
            with memollm.lane(name, of=self.of):
                for prompt in order_of(name):
                    for _ in range(delays.randrange(4)):
                        await asyncio.sleep(0)
                    drawn.append(await self.ask_async(prompt))
            return drawn

        async def main():
            tasks = {name: asyncio.create_task(lane(name, delays)) for name, delays in started(seed, lanes)}
            return {name: await task for name, task in tasks.items()}

        return run(main())

    def in_threads(self, seed, lanes=LANES):
        """Run the same in threads."""

        def lane(name):
            with memollm.lane(name, of=self.of):
                return [self.ask(prompt) for prompt in order_of(name)]

        with ThreadPoolExecutor(8) as pool:
            futures = {name: pool.submit(copy_context().run, lane, name) for name, _ in started(seed, lanes)}
            return {name: future.result() for name, future in futures.items()}


def order_of(name):
    """Return what a lane's own program draws, always the same."""
    return random.Random(name).sample(PROMPTS * TURNS, 2 * TURNS)


def started(seed, lanes):
    """Give the lanes in some order of start, each with a source of delays."""
    shuffled = random.Random(seed)
    names = [f"agent-{number}" for number in range(lanes)]
    shuffled.shuffle(names)
    return [(name, random.Random(shuffled.random())) for name in names]


def samples(drawn):
    return [sample for of_lane in drawn.values() for sample in of_lane]


@pytest.fixture(params=["in_tasks", "in_threads"])
def program(request, cache):
    agents = Agents(cache)
    return agents.model, getattr(agents, request.param)


def test_every_run_gives_every_lane_the_same(program):
    """P1, P2: runs with other delays and orders of start read the same, pay nothing, and repeat no sample."""
    model, draw = program
    with memollm.run():
        first = draw(0)
    assert len(set(samples(first))) == len(samples(first)) == LANES * TURNS * 2 == model.calls
    for seed in range(1, TIMES):
        with memollm.run():
            assert draw(seed) == first
    assert model.calls == LANES * TURNS * 2


def test_lanes_that_are_added_change_nothing_for_the_others(program):
    """P1, P2: five more lanes pay for what is theirs; the first twenty read what they read before."""
    model, draw = program
    with memollm.run():
        first = draw(0)
    for seed in range(1, 4):
        with memollm.run():
            more = draw(seed, LANES + 5)
        assert {name: more[name] for name in first} == first
        assert len(set(samples(more))) == len(samples(more)) == (LANES + 5) * TURNS * 2 == model.calls
    with memollm.run():
        assert draw(9) == first


def test_a_rewound_namespace_gives_every_lane_the_same(cache, program):
    """P2: in a namespace that is set back to its start, lanes read again what they had."""
    model, draw = program
    with memollm.namespace("a"):
        first = draw(0)
        for seed in range(1, TIMES):
            cache.rewind("a")
            assert draw(seed) == first
        assert model.calls == LANES * TURNS * 2
        assert not {*samples(draw(99))} & {*samples(first)}


def test_a_replay_gives_every_lane_the_same(program):
    """P2: a replay reads what each lane drew, while its namespace and others draw on."""
    _, draw = program
    with memollm.namespace("a"):
        first = draw(0)
    with memollm.namespace("b"):
        draw(5)
    for seed in range(1, 4):
        with memollm.replay("a"):
            assert draw(seed) == first
        with memollm.namespace("a"):
            draw(seed)


def test_another_namespace_has_lanes_of_its_own(cache):
    """What is recorded for the lanes of one namespace binds no other: its lanes share all samples as they come."""
    ask = Agents(cache).ask
    with memollm.namespace("a"):
        for name in ("one", "two"):
            with memollm.lane(name):
                ask("x")
    with memollm.namespace("b"), memollm.lane("two"):
        assert ask("x") == "x #1"


def test_without_lanes_order_decides(cache):
    """Who asks first gets the first sample: the same program with other timing may read other samples."""
    agents = Agents(cache)

    def draw(*names):
        with memollm.run():
            return {name: agents.ask("x") for name in names}

    assert draw("one", "two") == {"one": "x #1", "two": "x #2"}
    assert draw("two", "one") == {"two": "x #1", "one": "x #2"}


def test_what_is_drawn_outside_lanes_is_not_a_lanes(cache):
    """Beside lanes a run draws what is recorded for none; each part reads the same again in any order."""
    ask = Agents(cache).ask

    def draw(order):
        got = {}
        with memollm.run():
            for name in order:
                if name is None:
                    got[name] = ask("x")
                else:
                    with memollm.lane(name):
                        got[name] = ask("x")
        return got

    first = draw(["one", None, "two"])
    assert len({*first.values()}) == 3
    for order in itertools.permutations(first):
        assert draw(order) == first


def test_lanes_nest(cache):
    """A lane inside a lane is one of its own, and so is the same name elsewhere."""
    ask = Agents(cache).ask

    def draw(outers):
        got = {}
        with memollm.run():
            for outer in outers:
                with memollm.lane(outer) as full:
                    got[full] = ask("x")
                    for inner in ("critic", "author"):
                        with memollm.lane(inner) as nested:
                            got[nested] = ask("x")
        return got

    first = draw(["agent-1", "agent-2"])
    assert {*first} == {"agent-1", "agent-2", *(f"agent-{n}/{who}" for n in (1, 2) for who in ("critic", "author"))}
    assert len({*first.values()}) == 6
    assert draw(["agent-2", "agent-1"]) == first


def test_lanes_follow_tasks_and_threads_with_their_context(cache):
    """What a lane starts belongs to it."""
    agents = Agents(cache)

    async def draw():
        with memollm.run(), memollm.lane("one"):
            task = asyncio.create_task(agents.ask_async("x"))
        return await task

    async def draw_both():
        with memollm.run():
            with memollm.lane("two"):
                second = asyncio.create_task(agents.ask_async("x"))
            with memollm.lane("one"):
                first = asyncio.create_task(asyncio.to_thread(agents.ask, "x"))
            return await first, await second

    assert run(draw()) == "x #1"
    assert run(draw_both()) == ("x #1", "x #2")


def test_several_samples_and_batches_in_lanes(cache):
    """`draw`, `n`, `count`, `batch`, `map` and streams draw in the lane around them."""
    model = FakeModel()
    ask = cache.cached_llm(model.__call__, ignore="self", name="ask", version=1)
    generate = cache.cached_llm(lambda prompts: [*map(model, prompts)], batch="prompts", name="generate", version=1)
    several = cache.cached_llm(
        lambda prompt, k: [model(prompt) for _ in range(k)], count="k", name="several", version=1
    )

    @cache.cached_llm(name="tell", version=1)
    def tell(prompt):
        yield model(prompt)

    def draw(name):
        with memollm.lane(name):
            drawn = [ask.draw(2, "x"), generate(["x", "y"]), several("x", 2), list(tell("x")), ask.map(["x", "y"])]
            return [*drawn, generate.one("y")]

    names = ["one", "two", "three"]
    with memollm.run():
        first = {name: draw(name) for name in names}
    calls = model.calls
    for order in itertools.permutations(names):
        with memollm.run():
            assert {name: draw(name) for name in order} == first
    assert model.calls == calls


def test_a_failed_draw_gives_its_sample_to_the_next_of_its_lane(cache):
    """P3: what a lane was to get and did not stays its own, whatever others draw meanwhile."""
    model = FakeModel(failing={2})
    ask = cache.cached_llm(model.__call__, ignore="self", namespace="a", name="ask", version=1)
    with memollm.lane("one"):
        assert ask("x") == "x #1"
        with pytest.raises(ModelDown):
            ask("x")
    with memollm.lane("two"):
        assert ask("x") == "x #2"
    with memollm.lane("one"):
        assert ask("x") == "x #3"
    cache.rewind("a")
    with memollm.lane("two"):
        assert ask("x") == "x #2"
    with memollm.lane("one"):
        assert ask.draw(2, "x") == ["x #1", "x #3"]
    # The position that failed lies before the one that another lane took.
    assert ask.peek("x") == ["x #1", "x #3", "x #2"]


def test_a_cancelled_draw_gives_its_sample_to_the_next_of_its_lane(cache):
    """P3: the same for a task that is cancelled and whose call is stopped."""
    gates = AsyncGates()

    @cache.cached_llm(namespace="a", name="ask", version=1, on_cancel="stop")
    async def ask(prompt):
        return await gates.fly()

    async def main():
        with memollm.lane("one"):
            task = asyncio.create_task(ask("x"))
            await gates.begun()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        drawn = {}
        for name in ("two", "one"):
            with memollm.lane(name):
                task = asyncio.create_task(ask("x"))
                (await gates.begun()).set_result(f"for {name}")
                drawn[name] = await task
        return drawn

    assert run(main()) == {"two": "for two", "one": "for one"}
    assert ask.peek("x") == ["for one", "for two"]


def test_a_pool_of_one_has_no_lanes(cache):
    """The same arguments give the same answer, in whichever lane."""
    ask = Agents(cache, pool=1).ask
    with memollm.lane("one"):
        assert ask("x") == "x #1"
    with memollm.lane("two"):
        assert ask("x") == "x #1"


def test_what_a_lane_may_be_called(cache):
    """A name that would be taken for nested lanes, or is none, is an error."""
    for name, reason in (("a/b", "nested"), ("", "printable"), (3, "printable"), ("a\nb", "printable")):
        with pytest.raises(OptionError, match=reason), memollm.lane(name):
            pass


# What a rerun cannot have again. One program: 13 lanes draw one call three times each, with random delays.


class Thirteen:
    """Agents that draw the same call; what a rerun gives each is compared with what the first run gave."""

    def __init__(self, cache, **options):
        self.model = FakeModel()
        self.ask = asking_async(cache, self.model, **options)

    def draw(self, seed):
        """Return what each of the 39 draws got, by lane and turn."""

        async def agent(number, delays):
            with memollm.lane(f"agent-{number}"):
                got = []
                for _ in range(3):
                    for _ in range(delays.randrange(4)):
                        await asyncio.sleep(0)
                    got.append(await self.ask("x"))
                return got

        async def main():
            started = [*range(13)]
            delays = random.Random(seed)
            delays.shuffle(started)
            got = await asyncio.gather(*(agent(number, random.Random(delays.random())) for number in started))
            return {
                (number, turn): text for number, of in zip(started, got, strict=True) for turn, text in enumerate(of)
            }

        with memollm.run():
            return run(main())


def differing(one, other):
    return {draw for draw in one if one[draw] != other[draw]}


def number_of(text):
    return int(text.rpartition("#")[2])


def test_what_accept_refused_is_asked_for_again_in_its_place(cache):
    """P2: of 39 draws those that were refused differ in a rerun, and no other: 9, not all 39."""
    thirteen = Thirteen(cache, accept=lambda text: number_of(text) % 4)
    first = thirteen.draw(0)
    refused = {draw for draw, text in first.items() if not number_of(text) % 4}
    assert (len(first), len(refused)) == (39, 9)
    second = thirteen.draw(1)
    assert differing(first, second) == refused
    # Of the nine that were asked for again three were refused again, and the others stay from now on.
    again = {draw for draw in refused if not number_of(second[draw]) % 4}
    assert len(again) == 3
    assert differing(second, thirteen.draw(2)) == again


def test_a_draw_of_several_of_which_one_is_refused(cache):
    """P2: the others keep their places, and the lane goes on after all of them."""
    model = FakeModel()
    ask = asking(cache, model, accept=lambda text: text != "x #2")

    def draw():
        with memollm.run(), memollm.lane("one"):
            return [ask.draw(3, "x"), ask("x")]

    assert draw() == [["x #1", "x #2", "x #3"], "x #4"]
    assert draw() == [["x #1", "x #5", "x #3"], "x #4"] == draw()


def test_outside_lanes_what_is_refused_gives_its_place_back(cache):
    """P3: without lanes the next draw takes the place of an answer that was not kept."""
    ask = asking(cache, FakeModel(), accept=lambda text: text != "x #1")
    with memollm.run():
        assert [ask("x"), ask("x"), ask("x")] == ["x #1", "x #2", "x #3"]
    with memollm.run():
        assert [ask("x"), ask("x")] == ["x #2", "x #3"]


def test_a_replay_leaves_out_what_was_refused(cache):
    """What was refused is no part of what was drawn; a replay calls nothing and reads the others in their order."""
    ask = asking(cache, FakeModel(), namespace="a", accept=lambda text: text != "x #2")
    with memollm.lane("one"):
        assert [ask("x") for _ in range(3)] == ["x #1", "x #2", "x #3"]
        with memollm.replay("a"):
            assert [ask("x"), ask("x")] == ["x #1", "x #3"]
        assert ask("x") == "x #4"


def test_what_has_expired_is_made_anew_in_its_place():
    """P2: of 39 draws those whose time to live is over differ in a rerun, and no other; the next rerun is the same."""
    clock = FakeClock()
    with Cache("memory:", clock=clock) as cache:
        thirteen = Thirteen(cache, ttl=10)
        old = thirteen.ask.with_options(ttl=None)
        with memollm.run():
            run(asking_twenty(old))
        clock.advance(8)
        first = thirteen.draw(0)
        clock.advance(8)
        expired = {draw for draw, text in first.items() if number_of(text) <= 20}
        assert (len(first), len(expired)) == (39, 20)
        second = thirteen.draw(1)
        assert differing(first, second) == expired
        assert thirteen.draw(2) == second


async def asking_twenty(ask):
    assert len(await ask.draw(20, "x")) == 20


def test_what_was_forgotten_begins_anew(cache):
    """With a forgotten call goes what its lanes got: all 39 draws differ once, and the next rerun is the same."""
    thirteen = Thirteen(cache)
    first = thirteen.draw(0)
    thirteen.ask.forget("x")
    second = thirteen.draw(1)
    assert len(differing(first, second)) == 39
    assert thirteen.draw(2) == second


# A first run in an order.


@pytest.mark.parametrize("program", ["in_tasks", "in_threads"])
def test_a_first_run_in_an_order_is_the_same_whatever_the_timing(program):
    """P1, P2: where lanes stand in an order, each gets its slots of each round, in a first run as in any other."""
    for seed in range(5):
        with Cache("memory:") as cache:
            agents = Agents(cache, of=[f"agent-{number}" for number in range(7)])
            given = getattr(agents, program)(seed, 7)
            for prompt in PROMPTS:
                stored = agents.ask.peek(prompt)
                assert sorted(stored) == sorted(text for of in given.values() for text in of if prompt in text)
                for number in range(7):
                    mine = [text for text in given[f"agent-{number}"] if prompt in text]
                    assert mine == [stored[number + 7 * turn] for turn in range(TURNS)]


def test_stored_samples_are_given_in_the_order_of_lanes(cache):
    """P2: what another namespace has paid for goes to the lanes in their order, whoever asks first."""
    ask = asking(cache, FakeModel(), namespace="a")
    assert ask.draw(6, "x") == [f"x #{number}" for number in range(1, 7)]
    names = ["one", "two", "three"]
    for order in itertools.permutations(names):
        got = {}
        with memollm.namespace("b " + "".join(order)):
            for name in order:
                with memollm.lane(name, of=names):
                    got[name] = [ask("x"), ask("x")]
        assert got == {"one": ["x #1", "x #4"], "two": ["x #2", "x #5"], "three": ["x #3", "x #6"]}


def test_lanes_of_an_order_that_nest(cache):
    """An order is among the lanes of one block; a lane inside of one is none of it."""
    ask = asking(cache, FakeModel())
    with memollm.run(), memollm.lane("agent"):
        with memollm.lane("second", of=("first", "second")) as full:
            assert (full, ask("x")) == ("agent/second", "x #1")
            with memollm.lane("inner"):
                ask("x")
        with memollm.lane("first", of=("first", "second")):
            assert ask("x") == "x #3"
    assert ask.peek("x") == ["x #3", "x #1", "x #2"]


def test_a_lane_of_an_order_that_never_draws_stops_nobody(cache):
    """P3: what is kept for a lane waits for it alone, and no other lane waits."""
    ask = asking(cache, FakeModel(), namespace="a")
    with memollm.lane("late", of=("never", "late")):
        assert [ask("x"), ask("x")] == ["x #1", "x #2"]
    with memollm.namespace("b"):
        assert ask.draw(4, "x") == ["x #3", "x #1", "x #4", "x #2"]


def test_what_an_order_may_be():
    """A lane that is not among those of its order, and one that is there twice, is an error that says so."""
    for of, reason in (
        (["two"], "not among"),
        (["one", "one"], "twice"),
        (["one", "a/b"], "nested"),
        ("one!", "among"),
    ):
        with pytest.raises(OptionError, match=reason), memollm.lane("one", of=of):
            pass
