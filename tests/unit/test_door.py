"""The lower door: draws, holds, lookups and updates keep the promises of decorated functions."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest
from models import PATIENCE, run, until, until_in_loop, waiting

import memollm
from memollm import BudgetExceeded, Cache, CacheMiss, HoldError, OptionError, ReplayExhausted
from memollm._draws import waits
from memollm.testing import FakeClock, FakeModel


@pytest.fixture
def model():
    return FakeModel()


def door_of(cache, **options):
    return cache.door("judge", **{"version": "1", "namespace": "a", **options})


# Draws.


def test_draws_are_distinct_and_other_namespaces_read_them_again(cache, model):
    """P1, P2: a door draws as a decorated function does."""
    door = door_of(cache)
    first = [door.draw("x", lambda: model("x")) for _ in range(2)]
    assert [*first, *door.draw("x", lambda: model("x"), n=2)] == ["x #1", "x #2", "x #3", "x #4"]
    with memollm.namespace("b"):
        assert door.draw("x", lambda: model("x"), n=5) == ["x #1", "x #2", "x #3", "x #4", "x #5"]


def test_tasks_draw_from_the_same_samples(cache, model):
    """P2: what threads have drawn is there for tasks; a lambda that returns something to be awaited will do."""
    door = door_of(cache, pool=4)

    async def main():
        one = await door.adraw("x", lambda: model.answer("x"))
        return [one, *await door.adraw("x", lambda: model.answer("x"), n=2)]

    assert door.draw("x", lambda: model("x")) == "x #1"
    assert run(main()) == ["x #2", "x #3", "x #4"]


def test_a_decorated_function_and_a_door_share_what_has_one_name(cache, model):
    """Material is keyed like an argument: a function of that name, version and parameter has the same samples."""

    @cache.cached_llm(name="judge", version="1", namespace="b")
    def ask(material):
        return model("decorated")

    door = door_of(cache)
    material = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    assert door.draw(material, lambda: model("door")) == "door #1"
    assert ask(material) == "door #1"
    assert ask.key(material) == door.key(material)


def test_another_version_has_other_samples(cache, model):
    """The name and the version are who a door is."""
    door_of(cache).draw("x", lambda: model("x"))
    assert door_of(cache, version=2, namespace="b").draw("x", lambda: model("x")) == "x #2"


def test_what_is_keyed_may_be_made_of_the_material(cache, model):
    """With `key=`, what it returns counts and nothing else."""
    door = door_of(cache, pool=1, key=lambda material: material["prompt"])
    assert door.draw({"prompt": "x", "time": 1}, lambda: model("x")) == "x #1"
    assert door.draw({"prompt": "x", "time": 2}, lambda: model("x")) == "x #1"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n", 3), ("ignore", "x"), ("count", "n"), ("batch", "xs"), ("on_change", "warn"), ("cache", "x"),
        ("gather", None), ("nmespace", "x"), ("pool", 0), ("lease", 0),
    ],
)  # fmt: skip
def test_an_option_without_a_meaning_is_refused(cache, option, value):
    """What makes no sense for a door is an error that says why."""
    with pytest.raises(OptionError, match=option):
        cache.door("judge", version="1", **{option: value})


def test_a_maker_of_the_wrong_kind_is_refused(cache, model):
    """P7: a coroutine where none is awaited, and the other way round, is an error that says what to use."""
    with pytest.raises(OptionError, match="adraw"):
        door_of(cache).draw("x", lambda: model.answer("x"))
    with pytest.raises(OptionError, match="draw"):
        run(door_of(cache).adraw("x", lambda: model("x")))
    with pytest.raises(OptionError, match="n=0"):
        door_of(cache).draw("x", lambda: model("x"), n=0)
    with pytest.raises(OptionError, match=r"produce=str.*put"):
        door_of(cache).draw("x", "a sample")


def test_a_failed_draw_gives_its_position_back(cache):
    """P3: the next draw gets the position of the one that failed."""
    model = FakeModel(failing={1}, error=ValueError)
    door = door_of(cache)
    with pytest.raises(ValueError):
        door.draw("x", lambda: model("x"))
    assert [door.draw("x", lambda: model("x")), door.peek("x")] == ["x #1", ["x #1"]]


def test_context_managers_hold_for_doors(cache, model):
    """Budgets, tracks, lanes, modes and replays say the same as around decorated functions."""
    door = door_of(cache)
    with memollm.budget(calls=1), memollm.track() as tracked:
        door.draw("x", lambda: model("x"))
        with pytest.raises(BudgetExceeded):
            door.draw("x", lambda: model("x"))
        with pytest.raises(BudgetExceeded), door.hold("x"):
            pass
        with pytest.raises(BudgetExceeded):
            door.lookup("x")
    assert len(tracked.draws) == 1
    with memollm.replay("a"):
        assert door.lookup("x") == "x #1"
        with pytest.raises(ReplayExhausted):
            door.lookup("x")
    with memollm.mode("off"):
        assert door.lookup("x") is None
        door.update("x", "unstored")
        assert door.put("x", "unstored") is False
        with door.hold("x") as held:
            held.fill("unstored")
        assert held.value == "unstored"
    assert door.peek("x") == ["x #1"]
    with memollm.mode("refresh"), memollm.namespace("b"), door.hold("x") as held:
        held.fill("new")
    assert door.peek("x") == ["new"]


def test_offline_misses_are_errors(cache):
    """A miss where nothing may be called raises, through every way in."""
    door = door_of(cache, mode="offline")
    with pytest.raises(CacheMiss):
        door.draw("x", lambda: 1)
    with pytest.raises(CacheMiss):
        door.lookup("x")
    with pytest.raises(CacheMiss), door.hold("x"):
        pass


def test_a_door_is_the_same_in_another_process(tmp_path, model):
    """A door can be pickled as a cache on disk can."""
    with Cache(tmp_path / "c") as cache:
        door = pickle.loads(pickle.dumps(door_of(cache, pool=1)))
        door_of(cache, pool=1).draw("x", lambda: model("x"))
        assert door.draw("x", lambda: model("x")) == "x #1"
        door.abandon()


# Holds.


def test_a_hold_is_filled_by_its_block(cache):
    """P4, P7: a hold says how many are missing, and takes them one by one."""
    door = door_of(cache)
    with door.hold("x") as held:
        assert (held.hit, held.missing) == (False, 1)
        held.fill("one")
    assert (held.value, held.values, held.missing) == ("one", ["one"], 0)
    with memollm.namespace("b"), door.hold("x", n=3) as held:
        assert (held.hit, held.missing) == (False, 2)
        while held.missing:
            held.fill(f"{held.missing} left")
    assert held.values == ["one", "2 left", "1 left"]
    with memollm.namespace("c"), door.hold("x", n=3) as held:
        assert (held.hit, held.values) == (True, ["one", "2 left", "1 left"])


def test_a_hold_of_a_task_is_filled_by_its_block(cache):
    """P4: the same with `async with`."""
    door = door_of(cache)

    async def main():
        async with door.hold("x", n=2) as held:
            while held.missing:
                await held.fill(f"{held.missing} left")
        async with door.hold("y") as released:
            await released.release()
            assert released.missing == 0
        async with memollm_namespace("b"), door.hold("x", n=2) as hit:
            return held.values, hit.hit, hit.values

    assert run(main()) == (["2 left", "1 left"], True, ["2 left", "1 left"])


class memollm_namespace:
    def __init__(self, name):
        self._inner = memollm.namespace(name)

    async def __aenter__(self):
        self._inner.__enter__()

    async def __aexit__(self, *_):
        self._inner.__exit__(None, None, None)


@pytest.mark.parametrize("leave", ["end", "release", "raise"])
def test_what_a_block_does_not_fill_goes_back(cache, leave):
    """P3, P7: a hold that is left gives its positions back; what was filled in stays."""
    door = door_of(cache)

    def block():
        with door.hold("x", n=2) as held:
            held.fill("kept")
            if leave == "release":
                held.release()
            if leave == "raise":
                raise ValueError
        with pytest.raises(HoldError, match="was left"):
            _ = held.values

    if leave == "raise":
        with pytest.raises(ValueError):
            block()
    else:
        block()
    with door.hold("x", n=2) as held:
        assert held.missing == 1
        held.fill("second")
    assert held.values == ["kept", "second"]


def test_a_hold_is_used_as_it_can_be(cache):
    """Reading what is not filled, filling what is not missing and entering twice are errors that say so."""
    door = door_of(cache)
    hold = door.hold("x")
    with hold as held:
        with pytest.raises(HoldError, match="not filled"):
            _ = held.value
        held.fill("one")
        with pytest.raises(HoldError, match="nothing to fill"):
            held.fill("two")
    with pytest.raises(HoldError, match="once"), hold:
        pass
    with door.hold("x", n=2) as held, pytest.raises(HoldError, match="values"):
        _ = held.value
    with pytest.raises(OptionError, match="n=0"):
        door.hold("x", n=0)


def test_a_hold_that_is_dropped_gives_its_position_back(cache):
    """P3: a block that never ends, because its generator was dropped, holds nothing for ever."""
    door = door_of(cache)

    def block():
        with door.hold("x"):
            yield

    blocks = block()
    next(blocks)
    del blocks
    assert door.draw("x", lambda: "next") == "next"
    assert door.peek("x") == ["next"]


def test_who_wants_what_is_held_waits_for_it(cache):
    """P5: of a pool of one, a second hold waits for the first and takes over when that is released."""
    door = door_of(cache, pool=1)
    taken = []

    def second():
        with door.hold("x") as held:
            taken.append((held.hit, held.missing))
            if held.missing:
                held.fill("second")

    with door.hold("x") as held:
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: waiting(cache) == 1)
        held.release()
    thread.join(PATIENCE)
    assert taken == [(False, 1)]
    assert door.peek("x") == ["second"]


def test_a_block_that_would_wait_for_itself_is_told(cache):
    """Asking inside a block for the very slot that it is to fill is an error and no deadlock."""
    door = door_of(cache, pool=1)
    with door.hold("x") as held:
        with pytest.raises(memollm.ReentrantCall):
            door.draw("x", lambda: 1)
        assert door.lookup("x") is None
        held.fill("one")
    assert held.value == "one"


def test_a_cancelled_block_gives_its_position_back(cache):
    """P3: a task that is cancelled while it holds loses nothing but its claim."""
    door = door_of(cache, pool=1)

    async def holding():
        async with door.hold("x"):
            await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(holding())
        await until_in_loop(lambda: cache.store.flights.under_way)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return await door.adraw("x", lambda: FakeModel().answer("next"))

    assert run(main()) == "next #1"


def test_what_a_hold_took_is_counted(cache):
    """P14: calls and their usage are counted for blocks, and `used` notes what a response took."""
    door = door_of(cache, usage=lambda value: value["usage"])
    with door.hold("x") as held:
        held.fill({"usage": {"input_tokens": 3, "output_tokens": 4}})
    with door.hold("y"):
        pass
    total = door.stats().total
    assert (total.paid, total.spent.input_tokens, total.spent.output_tokens, total.failed) == (1, 3, 4, 0)


# Lookups and updates.


def test_an_update_fills_what_was_looked_up(cache):
    """The plain round: a miss, an update, and a hit for another reader."""
    door = door_of(cache)
    assert door.lookup("x", "missing") == "missing"
    door.update("x", "one")
    with memollm.namespace("b"):
        assert door.lookup("x") == "one"


def test_the_first_that_was_looked_up_is_the_first_to_be_updated(cache):
    """Rule 1: of one material, lookups are answered in their order, and each is another draw."""
    door = door_of(cache)
    assert [door.lookup("x"), door.lookup("x"), door.lookup("y")] == [None] * 3
    for value in ("one", "two"):
        door.update("x", value)
    assert door.peek("x") == ["one", "two"]


def test_who_holds_anything_never_waits(cache):
    """Rule 2: two batch callers that look up each other's materials both go on; nothing is stored twice."""
    door = door_of(cache, pool=1)
    done = []
    both = threading.Barrier(2)

    def batch(first, second):
        found = [door.lookup(first)]
        both.wait(PATIENCE)
        found.append(door.lookup(second))
        both.wait(PATIENCE)
        for material in (first, second):
            door.update(material, f"{material} by {threading.current_thread().name}")
        done.append(found)

    threads = [threading.Thread(target=batch, args=order, name=order[0]) for order in (("x", "y"), ("y", "x"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert done == [[None, None]] * 2
    assert len(door.peek("x")) == len(door.peek("y")) == 1


def test_a_lookup_may_be_told_not_to_wait(cache):
    """Where somebody else makes the sample it is a miss that holds nothing; its update is stored, or comes second."""
    door = door_of(cache, pool=1)
    assert door.lookup("x", caller="first") is None

    async def main():
        return await door.alookup("x", "nothing", caller="second", wait=False)

    assert run(main()) == door.lookup("x", "nothing", caller="third", wait=False) == "nothing"
    assert door.abandon(caller="second") == door.abandon(caller="third") == 0
    door.update("x", "one", caller="first")
    assert door.lookup("x", wait=False) == "one"


def test_a_lookup_after_an_update_ends_the_round(cache):
    """Rule 3: what was looked up and never updated is released when the next round begins."""
    door = door_of(cache, pool=1)
    for material in ("failed", "answered"):
        door.lookup(material)
    door.update("answered", 1)
    door.lookup("next")
    assert door.abandon("failed") == 0
    drawn = []
    thread = threading.Thread(target=lambda: drawn.append(door.draw("failed", lambda: "drawn")))
    thread.start()
    thread.join(PATIENCE)
    assert drawn == ["drawn"]


@pytest.mark.parametrize("end", ["thread", "task", "abandon", "abandon one", "lease"])
def test_what_ends_a_lookup_releases_its_slot(cache, end):
    """Rule 4: the end of a thread or task, its word, and a lease let go of the slot for the next who asks."""
    door = door_of(cache, pool=1, lease=0.001 if end == "lease" else 600)

    async def task():
        assert await door.alookup("x") is None

    if end == "thread":
        thread = threading.Thread(target=door.lookup, args=("x",))
        thread.start()
        thread.join(PATIENCE)
    elif end == "task":
        run(task())
    else:
        assert door.lookup("x") is None
    if end.startswith("abandon"):
        assert door.abandon(*["x"][: end == "abandon one"]) == 1
    # Who asks in another thread waits for it, at most until then.
    taken = []
    thread = threading.Thread(target=lambda: taken.append(door.draw("x", lambda: "drawn")))
    thread.start()
    thread.join(PATIENCE)
    assert taken == ["drawn"]
    door.abandon()


def test_an_update_without_a_lookup_moves_no_cursor(cache):
    """Rule 5: it fills the first vacant slot, and the reader draws it as any other sample."""
    door = door_of(cache)
    door.update("x", "one")
    assert door.put("x", "two") is True
    assert [door.lookup("x"), door.lookup("x")] == ["one", "two"]
    full = door_of(cache, pool=2)
    assert full.put("x", "three") is False
    assert door.peek("x") == ["one", "two"]


def test_an_update_after_its_lease_counts_as_delivered(cache):
    """Rule 5, P1: whoever looked up has that answer, so its namespace does not draw it again."""
    door, before = door_of(cache), {*waits.driven}
    assert door.lookup("x") is None
    cache._engine.lookups.end_leases(float("inf"))
    with memollm.namespace("b"):
        assert door.draw("x", lambda: "of b") == "of b"
    door.update("x", "late")
    assert {*waits.driven} == before, "a position that was passed over is still taken for a draw"
    assert door.peek("x") == ["of b", "late"]
    assert [door.lookup("x"), door.lookup("x")] == ["of b", None]
    door.abandon()


def test_an_update_of_another_task_names_its_caller(cache):
    """Hosts that write in another task say by a name who looked up."""
    door = door_of(cache)

    async def main():
        await asyncio.create_task(door.alookup("x", caller="call 1"))
        await asyncio.create_task(door.alookup("x", caller="call 2"))
        await asyncio.create_task(door.aupdate("x", "two", caller="call 2"))
        await asyncio.create_task(door.aupdate("x", "one", caller="call 1"))

    run(main())
    assert door.peek("x") == ["one", "two"]


def test_an_update_that_is_cancelled_counts_as_delivered(tmp_path, monkeypatch):
    """P1, P7: whoever looked up has the answer, though its update is cancelled while it is written, as a loop ends."""
    writing, go_on = threading.Event(), threading.Event()

    async def main(door):
        assert await door.alookup("x", caller=1) is None
        perform = cache.store.perform

        def held(requests):
            writing.set()
            assert go_on.wait(PATIENCE)
            return perform(requests)

        monkeypatch.setattr(cache.store, "perform", held)
        task = asyncio.create_task(door.aupdate("x", "one", caller=1))
        await until_in_loop(writing.is_set)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait([task])
        assert task.cancelled()

    with Cache(tmp_path / "c") as cache:
        door = door_of(cache)
        run(main(door))
        assert door.peek("x") == ["one"]
        assert door.draw("x", lambda: "two") == "two"


def test_what_is_refused_is_not_stored(cache):
    """`accept` holds for updates, fills and puts."""
    door = door_of(cache, accept=lambda value: value != "bad")
    door.lookup("x")
    door.update("x", "bad")
    door.update("x", "bad")
    assert door.put("x", "bad") is False
    with door.hold("x") as held:
        held.fill("bad")
    assert held.value == "bad"
    assert door.peek("x") == []
    assert door.draw("x", lambda: "good") == "good"


def test_a_sample_that_was_put_costs_nothing(cache):
    """P14: what was made elsewhere counts neither as paid nor as drawn; an update counts as paid."""
    door = door_of(cache)
    run(door.aput("x", "one"))
    assert door.stats().total.paid == 0
    door.lookup("y")
    door.update("y", "two")
    door.update("y", "three")
    assert door.stats().total.paid == 2


def test_what_is_stored_can_be_forgotten(cache):
    """One material, or all of a door's."""
    door = door_of(cache)
    for material in ("x", "y"):
        door.put(material, 1)
    assert (door.forget("x"), door.peek("x"), door.clear(), door.peek("y")) == (1, [], 1, [])


def test_an_expired_sample_is_replaced(tmp_path):
    """With `ttl` an old sample is vacant, for lookups and for puts."""
    clock = FakeClock()
    with Cache(tmp_path / "c", clock=clock) as cache:
        door = door_of(cache, pool=1, ttl=10)
        door.put("x", "old")
        clock.advance(11)
        assert door.lookup("x") is None
        door.update("x", "new")
        assert door.lookup("x") == "new"
        clock.advance(11)
        assert door.put("x", "newer") is True
        assert door.lookup("x") == "newer"


def test_a_thousand_tasks_that_want_one_slot_make_one_call(cache):
    """P5: 1,000 tasks look one material up; one of them makes it, and all others are given its answer."""
    door = door_of(cache, pool=1)
    made = []

    async def ask(let_go):
        found = await door.alookup("x")
        if found is None:
            made.append(1)
            await let_go.wait()
            await door.aupdate("x", "answer")
            return "answer"
        return found

    async def main():
        let_go = asyncio.Event()
        tasks = [asyncio.create_task(ask(let_go)) for _ in range(1000)]
        await until_in_loop(lambda: waiting(cache) == 999)
        let_go.set()
        return await asyncio.gather(*tasks)

    assert run(main()) == ["answer"] * 1000
    assert len(made) == 1


def test_callers_of_any_name_that_want_one_slot_make_one_call(cache):
    """P5: whoever waits stays known by its name, whatever others look up, and what it takes over is its own."""
    door = door_of(cache, pool=1)
    made = []

    async def ask(number):
        if await door.alookup("x", caller=number) is None:
            made.append(number)
            if number == made[0]:
                # The next one takes over, and holds the slot while all others look up.
                await until_in_loop(lambda: waiting(cache) == 49)
                door.abandon(caller=number)
                return
            for other in range(50, 60):
                await door.alookup("y", caller=other)
            await door.aupdate("x", "answer", caller=number)

    async def main():
        await asyncio.gather(*(ask(number) for number in range(50)))

    run(main())
    assert len(made) == 2
    lookups = cache._engine.lookups
    assert len(lookups._remembered) == 10
    for other in range(50, 60):
        door.abandon(caller=other)
    assert len(lookups._remembered) == 0


def test_lookups_that_wait_take_over_one_after_another(cache):
    """P5: where each task gives up, each of the others has its turn, and none hangs."""
    door = door_of(cache, pool=1)
    tried = []

    async def ask(number):
        if await door.alookup("x") is None:
            tried.append(number)
            if number % 2:
                door.abandon()

    async def main():
        await asyncio.gather(*(ask(number) for number in range(20)))

    run(main())
    assert sorted(tried) == [*range(20)]


def test_a_closed_cache_releases_what_was_looked_up(tmp_path):
    """P3: closing lets go of what is held, so that the next who opens it draws the same position."""
    with Cache(tmp_path / "c") as cache:
        door_of(cache).lookup("x")
    with Cache(tmp_path / "c") as cache:
        assert door_of(cache).draw("x", lambda: "first") == "first"
        assert door_of(cache, namespace="b").draw("x", lambda: "second") == "first"


def test_a_door_of_the_project_reads_what_its_functions_read(project, model):
    """Without a cache named, a door is one of the configured or the project's cache."""
    cache = Cache("memory:")
    memollm.configure(cache=cache)
    door = memollm.door("judge", pool=1)
    assert door.draw("x", lambda: model("x")) == "x #1"
    assert cache.door("judge", pool=1).lookup("x") == "x #1"
    assert door.lookup("y") is None
    assert door.abandon() == 1
    assert (repr(door), repr(cache.door("judge"))) == (
        "memollm.door('judge', version='1')",
        "Cache('memory:').door('judge', version='1')",
    )
    cache.close()
