"""Resuming: a run reads again what its namespace drew before, from its start, and then goes on as it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import contextmanager

import pytest
from models import Gates, numbering, run, until

import memollm
from memollm import Cache, CacheMiss, OptionError
from memollm._calls import stopped
from memollm.testing import FakeClock


def position(cache, name="a"):
    return {space.name: space.draws for space in cache.namespaces()}.get(name, 0)


def asking(cache, **options):
    return numbering(cache, **{"namespace": "a", **options})


@contextmanager
def resuming(name="a", run=None):
    """Resume a namespace as another run of the program would."""
    with memollm.run(run), memollm.namespace(name, resume=True):
        yield


def test_a_rerun_replays_and_goes_on(cache):
    """What was drawn before comes again for nothing, then what is new; the next run has all of it."""
    ask = asking(cache)
    drawn = [ask("x"), ask("y"), ask("x")]
    with memollm.track() as tracked, resuming():
        assert [ask("x"), ask("y"), ask("x")] == drawn
        assert (tracked.paid, position(cache)) == (0, 3)
        assert [ask("x"), ask("y"), ask("z")] == ["x 4", "y 5", "z 6"]
    assert (tracked.hits, tracked.paid, position(cache)) == (3, 3, 6)
    with resuming():
        assert [ask("x"), ask("y"), ask("x"), ask("x"), ask("y"), ask("z")] == [*drawn, "x 4", "y 5", "z 6"]
    assert ask("x") == "x 7"


def test_every_way_to_say_it(cache, monkeypatch):
    """The block, the mode, the decorator's mode, the configuration and the environment mean the same."""
    ask = asking(cache)
    drawn = ask.draw(2, "x")
    resumed = asking(cache, mode="resume")
    with memollm.run("1"), memollm.namespace("a"), memollm.mode("resume"):
        assert ask.draw(2, "x") == drawn
    with memollm.run("2"), memollm.namespace("a"):
        assert resumed.draw(2, "x") == drawn
    with memollm.run("3"), memollm.namespace("a"):
        assert ask.with_options(mode="resume").draw(2, "x") == drawn
    with memollm.run("4"), memollm.namespace("a"):
        monkeypatch.setenv("MEMOLLM_MODE", "resume")
        memollm.configure()
        assert ask.draw(2, "x") == drawn
    with memollm.run("5"), memollm.namespace("a"):
        monkeypatch.delenv("MEMOLLM_MODE")
        memollm.configure(mode="resume")
        assert ask.draw(2, "x") == drawn
    assert position(cache) == 2


def test_a_run_resumes_once(cache):
    """The cursor is the run's and not the block's: a second block goes on where the first one was."""
    ask = asking(cache)
    ask.draw(4, "x")
    with resuming(run="1"):
        assert ask.draw(2, "x") == ["x 1", "x 2"]
    with resuming(run="1"):
        assert ask.draw(3, "x") == ["x 3", "x 4", "x 5"]
    with resuming(run="2"):
        assert ask.draw(5, "x") == ["x 1", "x 2", "x 3", "x 4", "x 5"]


def test_what_the_run_draws_itself_is_not_read_again(cache):
    """P1: of a call that was new to the namespace, or all read, no sample of this run comes twice."""
    ask = asking(cache)
    with resuming(run="1"):
        first = [ask("x"), ask("x")]
    with resuming(run="1"):
        assert not {ask("x"), ask("x")} & {*first}
    assert position(cache) == 4


def test_threads_that_resume_share_the_cursor(cache):
    """P1: each sample is read by one of the threads, and what they go on with is distinct, too."""
    ask = asking(cache)
    drawn = ask.draw(20, "x")
    got = []

    def work():
        with memollm.namespace("a", resume=True):
            for _ in range(10):
                got.append(ask("x"))  # noqa: PERF401 - each is kept as it comes

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == len({*got}) == 30
    assert {*drawn} < {*got}


def test_two_runs_resume_side_by_side(cache):
    """P1, P2: each reads all of what was drawn; beyond it they are distinct, since both go on as the namespace."""
    ask = asking(cache)
    drawn = ask.draw(2, "x")
    with resuming(run="1"):
        one = ask.draw(3, "x")
    with resuming(run="2"):
        two = ask.draw(3, "x")
    assert one[:2] == two[:2] == drawn
    assert two == one
    with resuming(run="1"):
        more = ask.draw(2, "x")
    with resuming(run="2"):
        assert not {*more} & {*ask.draw(2, "x")}


def test_a_straddling_draw_that_fails_loses_nothing(cache):
    """P3: where the drawing part fails, the part that was read is read again."""
    answers = iter(["one", "two", ConnectionError("no answer"), "three", "four"])

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ask.draw(2, "x")
    with resuming():
        with pytest.raises(ConnectionError):
            ask.draw(4, "x")
        assert ask.draw(3, "x") == ["one", "two", "three"]
        assert ask("x") == "four"
    assert position(cache) == 4


def test_a_straddling_draw_that_is_cancelled_loses_nothing(cache):
    """P3: the same for a task that is cancelled while it draws."""
    begun = 0

    @cache.cached_llm(namespace="a", name="ask", version=1, on_cancel="stop")
    async def ask(prompt):
        nonlocal begun
        begun += 1
        if begun == 2:
            await asyncio.get_running_loop().create_future()
        return f"answer {begun}"

    async def main():
        await ask("x")
        with resuming():
            task = asyncio.create_task(ask.draw(2, "x"))
            while begun < 2:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await ask.draw(2, "x")

    assert run(main()) == ["answer 1", "answer 3"]


def test_a_batch_is_resumed_item_by_item(cache):
    """P4: each item reads what was drawn of it, and one call makes what is missing of all."""
    numbers, asked = itertools.count(1), []

    @cache.cached_llm(batch="prompts", namespace="a", name="generate", version=1)
    def generate(prompts):
        asked.append(prompts)
        return [f"{prompt} {next(numbers)}" for prompt in prompts]

    assert generate(["x", "y", "x"]) == ["x 1", "y 2", "x 3"]
    with resuming():
        assert generate(["z", "x", "y", "y"]) == ["z 4", "x 1", "y 2", "y 5"]
        assert generate.draw(2, ["x"]) == [["x 3", "x 6"]]
        assert generate([]) == []
    assert asked[1:] == [["z", "y"], ["x"]]


def test_count_asks_for_what_is_left_to_draw(cache):
    """P4: of four samples two are read and one call makes the other two."""
    asked = []

    @cache.cached_llm(count="n", namespace="a", name="several", version=1)
    def several(prompt, n=2):
        asked.append(n)
        return [f"{prompt} {len(asked)}.{number}" for number in range(n)]

    first = several("x")
    with resuming():
        assert several("x", n=4) == [*first, "x 2.0", "x 2.1"]
    assert asked == [2, 2]


def test_streams_are_resumed(cache):
    """What was heard is heard again, and then a new one; one that is dropped gives its place back (P3)."""
    told = itertools.count(1)

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        yield prompt
        yield next(told)

    assert [*tell("x")] == ["x", 1]
    with resuming():
        dropped = tell("x")
        assert next(dropped) == "x"
        dropped.close()
        assert [[*tell("x")] for _ in range(2)] == [["x", 1], ["x", 2]]


def test_async_functions_and_maps_are_resumed(cache):
    """The same for coroutine functions, async streams, and maps."""
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
        together = await asyncio.gather(*(ask("t") for _ in range(5)))
        return [await ask("x"), chunks, sorted(together), await ask.draw(2, "x"), await ask.map(["y", "z", "y"])]

    async def main():
        drawn = await draw()
        with resuming():
            assert await draw() == drawn
            assert await ask("x") == next(numbers) - 1
            assert await ask.map(["y", "y"]) == [next(numbers) - 2, next(numbers) - 2]

    run(main())


def test_every_lane_resumes_its_own(cache):
    """In a lane a run reads what the lane drew, in any order of lanes, and then goes on in it."""
    ask = asking(cache)
    drawn = {}
    for turn in range(2):
        for name in ("one", "two"):
            with memollm.lane(name):
                drawn[name, turn] = ask("x")
        drawn[None, turn] = ask("x")
    with resuming():
        with memollm.lane("two"):
            assert ask.draw(3, "x") == [drawn["two", 0], drawn["two", 1], "x 7"]
        assert ask.draw(2, "x") == [drawn[None, 0], drawn[None, 1]]
        with memollm.lane("one"):
            assert ask.draw(2, "x") == [drawn["one", 0], drawn["one", 1]]
    with resuming(), memollm.lane("two"):
        assert ask.draw(3, "x") == [drawn["two", 0], drawn["two", 1], "x 7"]


def test_a_pool_is_resumed(cache):
    """In a pool positions come round as they did; a pool of one has no cursor and is as ever."""
    ask = asking(cache, pool=2)
    drawn = [ask("x") for _ in range(3)]
    memoized = asking(cache, pool=1, name="memoized")
    once = memoized("x")
    with resuming():
        assert [ask("x") for _ in range(4)] == [*drawn, drawn[1]]
        assert [memoized("x"), memoized("x")] == [once, once]


def test_a_run_without_a_namespace_is_as_ever(cache):
    """Where no namespace is named there is nothing to resume: a rerun reads from the start as it is."""
    ask = asking(cache, namespace=None)
    with memollm.run("1"), memollm.mode("resume"):
        assert ask.draw(2, "x") == ["x 1", "x 2"]
    with memollm.run("2"), memollm.mode("resume"):
        assert ask.draw(3, "x") == ["x 1", "x 2", "x 3"]
    with memollm.run("1"), memollm.mode("resume"):
        assert ask("x") == "x 3"


def test_another_namespace_inside_draws(cache):
    """`resume=True` belongs to its namespace: whoever names another inside, or insists on one, draws as that."""
    ask = asking(cache)
    ask.draw(2, "x")
    with memollm.namespace("b"):
        ask("x")
    with resuming():
        with memollm.namespace("b"):
            assert ask("x") == "x 2"
        assert ask.with_options(namespace="b")("x") == "x 3"
        with memollm.replay("a"):
            assert ask.draw(2, "x") == ["x 1", "x 2"]
        assert ask.draw(2, "x") == ["x 1", "x 2"]


def test_offline_resumes_and_calls_nothing(cache):
    """Modes inside say what becomes of what is missing; with offline what is stored is drawn and no more."""
    ask = asking(cache)
    ask("x")
    with memollm.namespace("b"):
        ask.draw(2, "x")
    with resuming(), memollm.mode("offline"):
        assert ask.draw(2, "x") == ["x 1", "x 2"]
        with pytest.raises(CacheMiss):
            ask("x")
    assert position(cache) == 2


def test_readonly_resumes_and_moves_nothing(tmp_path):
    """What is drawn beyond it stays in this process, and the namespace stands where it stood."""
    with Cache(tmp_path / "cache") as cache:
        ask = asking(cache)
        ask.draw(3, "x")
        for _ in range(2):
            with resuming(), memollm.mode("readonly"):
                assert ask.draw(2, "x") == ["x 1", "x 2"]
                assert ask.draw(2, "x")[0] == "x 3"
                assert run(aloud(cache)) == ["x 5"]
        assert position(cache) == 3


async def aloud(cache):
    @cache.cached_llm(namespace="a", name="aloud", version=1)
    async def ask(prompt):
        return f"{prompt} 5"

    return await ask.draw(1, "x")


def test_refresh_makes_anew_what_was_drawn(cache):
    """With mode refresh a run that resumes replaces what the namespace drew, from its start."""
    ask = asking(cache)
    ask.draw(2, "x")
    with resuming(), memollm.mode("refresh"):
        assert ask.draw(3, "x") == ["x 3", "x 4", "x 5"]
    with resuming():
        assert ask.draw(3, "x") == ["x 3", "x 4", "x 5"]


def test_age_does_not_matter_to_what_is_read_again():
    """A sample that is older than its time to live is read again; what comes after is made anew."""
    clock = FakeClock()
    with Cache("memory:", clock=clock) as cache:
        ask = asking(cache, ttl="1h")
        ask("x")
        with memollm.namespace("b"):
            ask.draw(2, "x")
        clock.advance(7200)
        with resuming():
            assert ask.draw(2, "x") == ["x 1", "x 3"]


def test_what_is_no_longer_stored_is_drawn_anew(cache):
    """After `forget` the call begins anew, and a slot that is vacant is filled."""
    ask = asking(cache)
    ask.draw(2, "x")
    with resuming(run="1"):
        assert ask("x") == "x 1"
        ask.forget("x")
        assert [ask("x"), ask("x")] == ["x 3", "x 4"]


def test_what_fails_and_is_under_way_is_no_part(cache):
    """P3: what the namespace did not deliver is not read again; its position comes when it goes on."""
    gates = Gates()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        return gates.fly()

    threads = [threading.Thread(target=ask, args=("x",)) for _ in range(2)]
    first, second = [(thread.start(), gates.begun())[1] for thread in threads]
    second.put("second")
    until(lambda: position(cache) == 1)
    with resuming():
        assert ask("x") == "second"
        first.put("first")
        for thread in threads:
            thread.join(30)
        third = threading.Thread(target=ask, args=("x",))
        third.start()
        gates.begun().put("third")
        third.join(30)
    assert position(cache) == 3


def test_samples_of_older_code_are_resumed(cache):
    """With on_change="warn" what older code left and the namespace drew comes first; older code is never called."""
    calls = []

    def first(prompt):
        calls.append("first")
        return f"first {len(calls)}"

    def second(prompt):
        calls.append("second")
        return f"second {len(calls)}"

    older = cache.cached_llm(first, namespace="a", name="ask", on_change="ignore")
    with memollm.namespace("b"):
        older.draw(3, "x")
    assert older("x") == "first 1"
    newer = cache.cached_llm(second, namespace="a", name="ask", on_change="ignore")
    assert newer("x") == "first 2"
    with resuming(run="1"):
        assert [newer("x") for _ in range(4)] == ["first 1", "first 2", "first 3", "second 4"]
    with resuming(run="2"):
        assert newer.draw(5, "x") == ["first 1", "first 2", "first 3", "second 4", "second 5"]


def test_adopted_samples_are_resumed_as_they_were_drawn(cache):
    """P1: where the samples of two calls are joined, what was not drawn of either is not read again."""

    def first(prompt):
        return f"first {next(numbers)}"

    def second(prompt):
        return f"second {next(numbers)}"

    numbers = itertools.count(1)
    older = cache.cached_llm(first, namespace="a", name="ask", on_change="ignore", version="1")
    newer = cache.cached_llm(second, namespace="a", name="ask", on_change="ignore", version="2")
    with memollm.namespace("b"):
        older.draw(3, "x")
        newer.draw(3, "x")
    older.draw(2, "x")
    with resuming(run="1"):
        assert older("x") == "first 1"
    assert cache.adopt("ask", version="1") == 3
    with resuming(run="1"):
        drawn = newer.draw(6, "x")
    assert len({*drawn, "first 1"}) == 7


def test_a_misspelt_namespace_is_told(cache):
    """A namespace that there is not begins; where its name is near that of another, a warning says so."""
    ask = asking(cache)
    with memollm.namespace("paper"):
        ask("x")
    told = r"no namespace 'papr' to resume .* mean 'paper'\? It begins"
    with pytest.warns(memollm.MemollmWarning, match=told), memollm.namespace("papr", resume=True):
        ask("x")
    with memollm.namespace("quite another", resume=True):
        ask("y")


def test_cells_of_a_grid_are_no_misspelt_names(cache):
    """Names that this program resumes itself are near one another because they are meant to be: no warning."""
    ask = asking(cache)
    with memollm.namespace("small, 1 votes"):
        ask("x")
    for name in ("small, 1 votes", "small, 5 votes", "large, 5 votes"):
        with memollm.namespace(name, resume=True):
            ask("x")


def test_what_cannot_be_resumed_is_refused():
    """A name must be one, and a mode one that there is."""
    with pytest.raises(OptionError, match="namespace=''"), memollm.namespace("", resume=True):
        pass
    with pytest.raises(OptionError, match=r"mode='resum'.*'resume'"):
        memollm.configure(mode="resum")


@pytest.fixture
def told(monkeypatch):
    """Begin with nothing to say at the end of the program."""
    namespaces = {}
    monkeypatch.setattr(stopped, "_namespaces", namespaces)
    monkeypatch.setattr(stopped.atexit, "register", lambda _: None)
    return namespaces


def test_only_what_the_environment_would_resume_is_told(told, tmp_path):
    """A mode in the code wins, a run replays as it is, and what is in memory is gone: there is nothing to say."""
    with Cache(tmp_path / "cache") as cache, Cache("memory:") as memory:
        asking(memory)("x")
        asking(cache, namespace=None, name="run")("x")
        asking(cache, pool=1, name="memoized")("x")
        asking(cache, mode="auto", name="decorated")("x")
        asking(cache, mode="resume", name="resuming")("x")
        with memollm.mode("readonly"):
            asking(cache)("x")
        with memollm.run():
            asking(cache)("x")
        memollm.configure(mode="auto")
        asking(cache)("x")
        memollm.configure(mode=None)
        assert [*told] == []
        with memollm.replay("other"), pytest.raises(memollm.ReplayExhausted):
            asking(cache)("x")
        assert [*told] == []
        asking(cache)("x")
        with memollm.namespace("b"):
            asking(cache)("x")
        assert [*told] == ["a", "b"]


@pytest.mark.parametrize(("number", "named"), [(1, " '1'"), (2, "s '1' and '2'"), (5, "s '1', '2', '3' and 2 more")])
def test_what_is_told_at_the_end(told, number, named, monkeypatch, capsys):
    """It names the first namespaces; where no error has ended the main program it says nothing."""
    told.update(dict.fromkeys(map(str, range(1, number + 1))))
    monkeypatch.setattr("sys.last_value", None, raising=False)
    stopped._tell()
    assert capsys.readouterr().err == ""
    try:
        exec("raise KeyboardInterrupt", {"__name__": "__main__"})
    except KeyboardInterrupt as error:
        monkeypatch.setattr("sys.last_value", error, raising=False)
    stopped._tell()
    assert f"MEMOLLM_MODE=resume: it replays what namespace{named} drew." in capsys.readouterr().err
