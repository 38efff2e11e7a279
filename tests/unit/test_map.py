"""Many items at a time: results in order, what is begun when, what goes back, and what progress tells."""

from __future__ import annotations

import asyncio
import contextvars
import io
import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

import memollm
from memollm import OptionError, Progress
from memollm._drive.progress import RECENT, TICK, Bar, Tally, listener_for, now_and_then
from memollm._spending.track import Spending
from memollm._types.counting import Counts
from memollm.testing import FakeClock, FakeModel, ModelDown

DEADLINE = 20


def function_of(cache, colour, model, **options):
    """Decorate a model as a plain or as a coroutine function of one parameter."""
    if colour == "plain":

        @cache.cached_llm(**options)
        def ask(prompt):
            return model(prompt)

    else:

        @cache.cached_llm(**options)
        async def ask(prompt):
            return await model.answer(prompt)

    return ask


def finish(result):
    """Wait for what a coroutine function gives; a plain one has given it."""
    if not asyncio.iscoroutine(result):
        return result

    async def main():
        return await asyncio.wait_for(result, DEADLINE)

    return asyncio.run(main())


def results_of(given):
    """Give, in either colour, what a map gives as it comes."""
    if not hasattr(given, "__aiter__"):
        yield from given
        return

    async def step():
        return await asyncio.wait_for(anext(given, None), DEADLINE)

    with asyncio.Runner() as runner:
        while (mapped := runner.run(step())) is not None:
            yield mapped
        runner.run(given.aclose())


def streamed(ask, *args, **options):
    """Collect what a map gives as it comes."""
    return list(results_of(ask.map(*args, as_completed=True, **options)))


def eventually(condition):
    """Wait for what another thread does, and tell whether it did in time."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(100 * DEADLINE))


@pytest.fixture(params=["plain", "coroutine"])
def colour(request):
    return request.param


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def ask(cache, colour, model):
    return function_of(cache, colour, model, namespace="a")


def test_results_stand_in_the_order_of_the_items(ask, model):
    """Whatever the order of answers; duplicates are draws of their own, in the order of the items (P1)."""
    prompts = [f"p{i % 30}" for i in range(90)]
    results = finish(ask.map(prompts))
    # Two calls for one prompt fly side by side, and the model numbers them as they come to it.
    assert results == [ask.peek(f"p{i % 30}")[i // 30] for i in range(90)]
    assert sorted(results) == sorted(f"p{i % 30} #{i // 30 + 1}" for i in range(90))
    assert model.calls == 90


def test_another_namespace_gets_them_for_nothing(ask, model):
    """P2: what one map has paid for, the other gets, and is told so."""
    first = finish(ask.map(["x", "y", "x"]))
    told = []
    assert finish(ask.with_options(namespace="b").map(["x", "y", "x"], progress=told.append)) == first
    assert model.calls == 3
    assert (told[-1].done, told[-1].total, told[-1].hits, told[-1].paid) == (3, 3, 3, 0)


def test_no_items_give_no_results(ask):
    """An empty map is an empty list, or an iterator that ends."""
    assert finish(ask.map([])) == streamed(ask, iter(())) == []


def test_as_they_come_each_result_has_its_number(ask):
    """`as_completed` gives pairs of number and result, in whatever order."""
    assert sorted(streamed(ask, ["x", "y", "z"])) == [(0, "x #1"), (1, "y #1"), (2, "z #1")]
    assert {mapped.at for mapped in streamed(ask, ["abc"])} == {0}


def test_each_item_gives_what_a_call_gives(cache, colour, model):
    """With `n` that is a list of samples."""
    ask = function_of(cache, colour, model, namespace="a", n=2)
    assert finish(ask.map(["x", "y"])) == [["x #1", "x #2"], ["y #1", "y #2"]]


def test_a_pool_of_one_pays_for_equal_items_once(cache, colour, model):
    """P5: equal items under way at once share one call, and count as hits."""
    ask = function_of(cache, colour, model, pool=1)
    told = []
    assert finish(ask.map(["x"] * 20, progress=told.append)) == ["x #1"] * 20
    assert model.calls == 1
    assert (told[-1].hits + told[-1].shared, told[-1].made) == (19, 1)


# Items.


class Pair(NamedTuple):
    a: str
    b: str


def test_tuples_are_positional_and_dicts_keyword_arguments(cache):
    """All else is the first argument, also a named tuple, a list, or a class of dict of one's own."""

    @cache.cached_llm(namespace="a")
    def ask(prompt, model="m", *, effort=0):
        return [prompt, model, effort]

    items = ["x", ("y", "n"), {"prompt": "z", "effort": 1}, ("w",), ["u", "v"], Pair("a", "b"), ({"k": 1},)]
    assert ask.map(items) == [
        ["x", "m", 0],
        ["y", "n", 0],
        ["z", "m", 1],
        ["w", "m", 0],
        [["u", "v"], "m", 0],
        [Pair("a", "b"), "m", 0],
        [{"k": 1}, "m", 0],
    ]


def test_the_one_argument_may_itself_be_a_tuple_or_a_dict(cache):
    """Where they cannot be the arguments of a function that takes one only, they are that argument."""

    @cache.cached_llm(namespace="a")
    def ask(document):
        return document

    @cache.cached_llm(namespace="a")
    def ask_positional(document, /):
        return document

    items = [("a", "b"), {"title": "t", "text": "x"}, {1: 2}, (), ("a",), {"document": "d"}]
    assert ask.map(items) == [("a", "b"), {"title": "t", "text": "x"}, {1: 2}, (), "a", "d"]
    assert ask_positional.map([{"document": "d"}]) == [{"document": "d"}]


def test_methods_map_bound_and_through_their_class(cache):
    """The object is not among the arguments of a bound method; of the class, it comes first."""

    class Agent:
        @cache.cached_llm(namespace="a", ignore="self")
        def ask(self, prompt):
            return prompt

        @cache.cached_llm(namespace="a")
        @classmethod
        async def of_class(cls, prompt):
            return [cls.__name__, prompt]

        @cache.cached_llm(namespace="a")
        @staticmethod
        def static(prompt):
            return prompt

    assert Agent().ask.map(["x", ("y", "z")]) == ["x", ("y", "z")]
    assert Agent.ask.map([(Agent(), "x")]) == ["x"]
    assert finish(Agent.of_class.map(["x"])) == [["Agent", "x"]]
    assert Agent.static.map(["x"]) == ["x"]


def test_a_coroutine_function_takes_items_from_an_async_iterator(cache, model):
    """Also where what comes next depends on the results so far."""
    ask = function_of(cache, "coroutine", model, namespace="a")

    async def main():
        results = asyncio.Queue()

        async def items():
            yield "x"
            for _ in range(3):
                yield await results.get()

        async for _, result in ask.map(items(), as_completed=True):
            results.put_nowait(result)
            yielded.append(result)

    yielded = []
    asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert yielded == ["x #1", "x #1 #1", "x #1 #1 #1", "x #1 #1 #1 #1"]


@pytest.mark.parametrize("stored", [False, True])
def test_items_are_never_read_far_ahead(cache, colour, model, stored):
    """P3: no more are read than may be under way, whether they are stored or not."""
    ask = function_of(cache, colour, model)
    read = 0

    def items():
        nonlocal read
        for i in range(300):
            read += 1
            yield f"p{i}"

    if stored:
        with memollm.run():
            finish(ask.map([f"p{i}" for i in range(300)]))
    given = ask.map(items(), as_completed=True, concurrency=4)
    assert read == 0
    for taken, _ in enumerate(results_of(given), 1):
        assert taken <= read <= taken + 4
    assert read == model.calls == 300


# How many at a time.


def test_no_more_are_under_way_than_concurrency_says(cache, colour):
    """And just as many, where the items suffice."""
    gate = threading.Event()
    model = FakeModel(gate=gate)
    ask = function_of(cache, colour, model, namespace="a")
    opener = threading.Thread(target=lambda: (model.wait_for(5), gate.set()))
    opener.start()
    finish(ask.map(map(str, range(40)), concurrency=5))
    opener.join(DEADLINE)
    assert model.busiest == 5


def test_so_many_are_under_way_where_nobody_says(cache, colour):
    """16 threads of a plain function, 64 tasks of a coroutine function."""
    most = {"plain": 16, "coroutine": 64}[colour]
    gate = threading.Event()
    model = FakeModel(gate=gate)
    opener = threading.Thread(target=lambda: (model.wait_for(most), gate.set()))
    opener.start()
    finish(function_of(cache, colour, model, namespace="a").map(map(str, range(100))))
    opener.join(DEADLINE)
    assert model.busiest == most


def test_one_at_a_time_stays_in_the_thread_of_the_caller(cache):
    """With concurrency=1 a plain function is called where the map was."""

    @cache.cached_llm(namespace="a")
    def ask(prompt):
        return threading.current_thread() is threading.main_thread()

    assert ask.map(["abc"], concurrency=1) == [True]
    assert ask.map(list("ab"), concurrency=2) == [False, False]


def test_calls_see_the_context_of_the_caller(cache, colour):
    """P12: context variables and namespaces are those that were around `.map`, also where it is read elsewhere."""
    seen = contextvars.ContextVar("seen", default="nothing")

    class Model:
        def __call__(self, prompt):
            return seen.get()

        async def answer(self, prompt):
            return seen.get()

    ask = function_of(cache, colour, Model())
    seen.set("caller's")
    with memollm.namespace("inside"):
        given = ask.map(["x", "y"], as_completed=colour == "plain")
    seen.set("nothing")
    if colour == "plain":
        assert [mapped.result for mapped in given] == ["caller's"] * 2
    else:
        assert finish(given) == ["caller's"] * 2
    assert cache.namespaces() == [memollm.Namespace("inside", 2, 2)]


# Errors.


def items_failing(n=20):
    """Give prompts for a model that fails in its seventh call."""
    return [f"p{i}" for i in range(n)]


def test_the_first_error_is_raised_and_a_rerun_pays_for_the_rest(cache, colour):
    """P3, P4: nothing was delivered, so every position goes back, and what was answered is not paid for again."""
    model = FakeModel(failing={7})
    ask = function_of(cache, colour, model, namespace="a")
    with pytest.raises(ModelDown) as raised:
        finish(ask.map(items_failing(), concurrency=1))
    assert "item 6 of" in raised.value.__notes__[0]
    assert model.calls == 7
    assert cache.namespaces() == [memollm.Namespace("a", 7, 0)] or cache.namespaces()[0].draws == 0
    assert finish(ask.map(items_failing())) == [f"{p} #1" for p in items_failing()]
    assert model.calls == 21
    assert len(set(finish(ask.map(["p0", "p1"])))) == 2
    assert model.calls == 23


def test_what_is_under_way_at_an_error_is_kept(cache, monkeypatch):
    """P7: an error waits for the calls that are under way; nothing further is begun."""
    monkeypatch.setattr("memollm._drive.progress.TICK", 0)
    full, noticed = threading.Event(), threading.Event()

    @cache.cached_llm(namespace="a")
    def ask(prompt):
        if prompt == 0:
            assert full.wait(DEADLINE)
            raise ModelDown
        if prompt == 3:
            full.set()
        assert noticed.wait(DEADLINE)
        return prompt

    with pytest.raises(ModelDown):
        ask.map(range(100), concurrency=4, progress=lambda _: noticed.set())
    assert [prompt for prompt in range(100) if ask.peek(prompt)] == [1, 2, 3]


def test_errors_are_returned_in_place_of_results(cache, colour):
    """on_error="return": the exception stands where the result would."""
    ask = function_of(cache, colour, FakeModel(failing={3}), namespace="a")
    results = finish(ask.map(list("abcde"), concurrency=1, on_error="return"))
    assert [type(result) for result in results] == [str, str, ModelDown, str, str]
    assert finish(ask.map(["c"])) == ["c #1"]


def test_what_failed_is_skipped(cache, colour):
    """on_error="skip": it is left out, and the numbers of the others stay; progress counts it."""
    told = []
    ask = function_of(cache, colour, FakeModel(failing={3, 8}), namespace="a")
    options = {"concurrency": 1, "on_error": "skip", "progress": told.append}
    assert finish(ask.map(list("abcde"), **options)) == ["a #1", "b #1", "d #1", "e #1"]
    assert (told[-1].done, told[-1].failed, told[-1].paid) == (5, 1, 4)
    assert [mapped.at for mapped in streamed(ask, list("abcde"), **options)] == [0, 1, 3, 4]


def test_as_they_come_what_was_answered_is_given_before_the_error(cache, colour):
    """P3: what reached the user is delivered; only the failed item's position goes back."""
    ask = function_of(cache, colour, FakeModel(failing={3}), namespace="a")
    got = []

    given = results_of(ask.map(list("abcde"), concurrency=1, as_completed=True))
    with pytest.raises(ModelDown):
        got.extend(mapped.result for mapped in given)
    assert got == ["a #1", "b #1"]
    assert finish(ask.map(list("ac"))) == ["a #2", "c #1"]


def test_an_item_of_the_wrong_shape_says_how_items_are_taken(cache):
    """A dict for a function of several parameters is keyword arguments; the error says how to pass it whole."""

    @cache.cached_llm(namespace="a")
    def ask(document, model="m"):
        return model

    with pytest.raises(TypeError, match="missing a required argument") as raised:
        finish(ask.map([{"title": "t"}]))
    assert "(item,) is the item itself" in raised.value.__notes__[0]
    assert finish(ask.map([({"title": "t"},)])) == ["m"]


def test_an_error_of_the_items_is_raised_when_what_is_under_way_is_kept(ask, model):
    """P3, P7: what was begun is stored and its positions go back."""

    def items():
        yield "x"
        yield "y"
        raise OSError("the file of prompts ended")

    with pytest.raises(OSError, match="ended"):
        finish(ask.map(items()))
    assert model.calls == 2
    assert finish(ask.map(["x", "y"])) == ["x #1", "y #1"]
    assert model.calls == 2


@pytest.mark.parametrize(
    ("items", "options", "said"),
    [
        ("a prompt", {}, r"\[item\]"),
        ({"prompt": "x"}, {}, r"\[item\]"),
        (3, {}, "any other iterable"),
        (type("Frame", (list,), {"itertuples": None})(["prompt"]), {}, "names of its columns"),
        (["x"], {"concurrency": 0}, "from 1 up"),
        (["x"], {"concurrency": True}, "from 1 up"),
        (["x"], {"on_error": "rais"}, "Did you mean 'raise'"),
        (["x"], {"progress": "yes"}, "a function that is given a Progress"),
    ],
)
def test_wrong_options_are_refused_at_once(ask, model, items, options, said):
    """Before anything is begun, or awaited."""
    with pytest.raises(OptionError, match=said):
        ask.map(items, **options)
    assert model.calls == 0


def test_a_plain_function_takes_no_async_iterator(cache, model):
    """It could not wait for it."""

    async def items():
        yield "x"

    with pytest.raises(OptionError, match="async def"):
        function_of(cache, "plain", model).map(items())


def test_a_generator_function_is_refused(cache):
    """Nobody would read its chunks."""

    @cache.cached_llm
    def tell(prompt):
        yield prompt

    @cache.cached_llm
    async def tell_async(prompt):
        yield prompt

    for function in (tell, tell_async):
        with pytest.raises(OptionError, match="is a generator function"):
            function.map(["x"])


def test_an_item_of_a_batch_function_is_a_list_of_items(cache, colour):
    """Each list is one call; what is stored of it is a hit, and after an error everything goes back."""
    called, told = [], []

    def answers(prompts):
        called.append(prompts)
        if "bad" in prompts:
            raise ModelDown
        return [f"{prompt} #{len(called)}" for prompt in prompts]

    if colour == "plain":

        @cache.cached_llm(batch="prompts", namespace="a")
        def ask(prompts):
            return answers(prompts)

    else:

        @cache.cached_llm(batch="prompts", namespace="a")
        async def ask(prompts):
            return answers(prompts)

    with pytest.raises(ModelDown):
        finish(ask.map([["x", "y"], ["bad"]], concurrency=1))
    assert finish(ask.map([["x", "z"], ["y"]], concurrency=1, progress=told.append)) == [["x #1", "z #3"], ["y #1"]]
    assert called == [["x", "y"], ["bad"], ["z"]]
    assert (told[-1].hits, told[-1].paid) == (2, 1)


# Ending early.


def test_a_cancelled_map_gives_everything_back_and_keeps_what_was_answered(cache):
    """P3, P7: those under way are stopped, the rest is never begun, and a rerun pays for what is missing."""
    calls = []

    async def main():
        hang, reached = True, asyncio.Event()

        @cache.cached_llm(namespace="a", on_cancel="stop", ignore=("hang",))
        async def ask(prompt):
            calls.append(prompt)
            if hang and prompt >= 10:
                reached.set()
                await asyncio.Event().wait()
            return prompt

        task = asyncio.create_task(ask.map(range(30), concurrency=4))
        await asyncio.wait_for(reached.wait(), DEADLINE)
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        hang = False
        begun = len(calls)
        return begun, await asyncio.wait_for(ask.map(range(30)), DEADLINE)

    begun, results = asyncio.run(main())
    assert results == list(range(30))
    assert begun <= 14
    assert len(calls) == begun + 20
    assert cache.namespaces() == [memollm.Namespace("a", 30, 30)]


def test_a_map_that_is_cancelled_at_once_leaves_nothing_behind(cache):
    """P3: also where its tasks have not started yet."""
    calls = 0

    async def main():
        @cache.cached_llm(namespace="a")
        async def ask(prompt):
            nonlocal calls
            calls += 1
            await asyncio.sleep(0)
            return prompt

        for turns in range(12):
            task = asyncio.create_task(ask.map([f"{turns}"] * 3))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait_for(asyncio.wait({task}), DEADLINE)
            assert await asyncio.wait_for(ask.map([f"{turns}"] * 3), DEADLINE) == [f"{turns}"] * 3

    asyncio.run(main())


def test_leaving_the_loop_early_begins_nothing_further(cache, colour, model):
    """P3: what the loop has seen is delivered; everything else goes back."""
    ask = function_of(cache, colour, model, namespace="a")

    async def main():
        given = ask.map((f"p{i}" for i in range(100)), as_completed=True, concurrency=3)
        async for _ in given:
            break
        await asyncio.wait_for(given.aclose(), DEADLINE)

    if colour == "coroutine":
        asyncio.run(main())
    else:
        for _ in ask.map((f"p{i}" for i in range(100)), as_completed=True, concurrency=3):
            break
    assert model.calls <= 6
    for thread in threading.enumerate():
        if thread.name.startswith("memollm-map"):
            thread.join(DEADLINE)
    # One sample was delivered; once the rest has gone back, the next map of the same prompts begins behind it.
    assert eventually(lambda: cache.namespaces()[0].draws == 1)
    results = finish(ask.map([f"p{i}" for i in range(10)]))
    assert sum(result.endswith("#2") for result in results) == 1


@pytest.mark.parametrize("how", ["its program ends", "its loop is gone"])
def test_an_async_loop_that_is_left_gives_back_whatever_ends_it(cache, model, how):
    """P3: an iterator that nobody closes gives back what it had not delivered."""
    ask = function_of(cache, "coroutine", model, namespace="a")

    def mapped():
        return ask.map((f"p{i}" for i in range(100)), as_completed=True, concurrency=3)

    async def main():
        async for _ in mapped():
            break

    with asyncio.Runner() as runner:
        if how == "its program ends":
            runner.run(main())
        else:
            # Begun outside of the loop, it is none of those that the loop closes at its end.
            given = mapped()
            runner.run(anext(given))
    given = None
    assert eventually(lambda: cache.namespaces()[0].draws == 1)


def test_an_interrupted_plain_map_keeps_what_was_answered(cache, model, monkeypatch):
    """P3, P7: Ctrl-C begins nothing further and gives everything back, and a rerun pays for the rest only."""
    monkeypatch.setattr("memollm._drive.progress.TICK", 0)
    full, noticed, prompts = threading.Event(), threading.Event(), [f"p{i}" for i in range(100)]

    def interrupting(prompt):
        if prompt == "p50" and not noticed.is_set():
            assert full.wait(DEADLINE)
            raise KeyboardInterrupt
        if prompt == "p53":
            full.set()
        if prompt in {"p51", "p52", "p53"}:
            assert noticed.wait(DEADLINE)
        return model(prompt)

    ask = function_of(cache, "plain", interrupting, namespace="a")
    with pytest.raises(KeyboardInterrupt):
        ask.map(prompts, concurrency=4, progress=lambda told: told.failed and noticed.set())
    assert [prompt for prompt in prompts if ask.peek(prompt)] == [f"p{i}" for i in range(54) if i != 50]
    assert ask.map(prompts) == [f"{prompt} #1" for prompt in prompts]
    assert model.calls == 100


# Progress.


def test_progress_is_told_every_tenth_of_a_second_and_at_the_end():
    """The rate looks back a while; what is left follows from it; what was spent and saved is counted as elsewhere."""
    clock, told = FakeClock(), []
    tally = Tally(10, told.append, clock)
    for _ in range(4):
        clock.advance(0.0625)
        tally.spent(Counts(paid=1, spent_seconds=2.0, unpriced=1))
        tally.given([], Counts(draws=1, made=1))
        tally.count()
    assert [(progress.done, progress.paid) for progress in told] == [(2, 2), (4, 4)]
    clock.advance(1.75)
    tally.given([], Counts(draws=3, hits=2, shared=1, saved_seconds=6.0, saved_cost=0.5))
    tally.count()
    tally.count(failed=True)
    tally.end()
    spent, saved = Spending(8.0, 0, 0, 0.0, 4), Spending(6.0, 0, 0, 0.5)
    numbers = {"done": 6, "total": 10, "hits": 2, "shared": 1, "made": 4, "paid": 4, "failed": 1}
    assert told[-1] == Progress(**numbers, spent=spent, saved=saved, rate=3.0, eta=4 / 3)
    assert str(told[-1]) == (
        "6 of 10 done, 2 hits, 1 shared, 4 made, 4 paid, 1 failed, 0:08 spent, 0:06 and $0.50 saved, 3/s, 0:01 left"
    )


def test_long_work_tells_the_first_and_the_last_step_and_some_between():
    """What is told ten times a second costs nothing, however many steps there are."""
    clock, told = FakeClock(), []
    step = now_and_then(lambda done, total: told.append(done), clock)
    for done in range(1, 12):
        step(done, 11)
        clock.advance(0 if done % 4 else TICK)
    assert told == [1, 5, 9, 11]


def test_the_rate_forgets_what_was_stored():
    """A fast first half of hits does not promise a fast second half."""
    clock, told = FakeClock(), []
    tally = Tally(None, told.append, clock)
    for _ in range(300):
        tally.count()
    for _ in range(100):
        clock.advance(1)
        tally.count()
    assert told[-1].rate == pytest.approx(1, rel=0.05)
    assert told[-1].eta is None
    rates = [progress.rate for progress in told]
    assert rates[int(RECENT) - 1] > 1
    assert rates[int(RECENT)] == 1


def test_durations_are_told_as_a_clock_does():
    """Minutes have 60 seconds, and hours 60 minutes."""
    sums = {"spent": Spending(59.4, 0, 0, 0.0), "saved": Spending(3725.4, 0, 0, 0.0)}
    told = Progress(done=1, total=2, hits=1, shared=0, made=1, paid=1, failed=0, rate=0.01, eta=60.0, **sums)
    assert str(told) == "1 of 2 done, 1 hits, 1 made, 1 paid, 0:59 spent, 1:02:05 saved, 0.01/s, 1:00 left"


def test_hits_and_paid_are_counted_truthfully(cache, colour):
    """Of five samples an item, two are stored: each item has two hits and pays for three."""
    ask = function_of(cache, colour, FakeModel())
    told = []
    finish(ask.with_options(n=2, namespace="a").map(list("xyz")))
    finish(ask.with_options(n=5, namespace="b").map(list("xyz"), progress=told.append))
    assert (told[-1].hits, told[-1].paid, told[-1].done, told[-1].failed) == (6, 9, 3, 0)


def test_a_failing_listener_ends_the_map(ask):
    """Its error is raised like any other."""

    def fail(progress):
        raise RuntimeError("no room on the screen")

    with pytest.raises(RuntimeError, match="no room"):
        finish(ask.map(["x"], progress=fail))
    assert finish(ask.map(["x"])) in (["x #1"], ["x #2"])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_only(ask, monkeypatch):
    """By default and with progress=True; in a pipe nothing is written."""
    for stream, progress, drawn in ((Terminal(), None, True), (Terminal(), False, False), (io.StringIO(), True, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        finish(ask.map(["x", "y"], progress=progress))
        assert ("2 of 2 done" in stream.getvalue()) is drawn


def test_without_rich_a_bar_that_was_asked_for_names_the_extra(monkeypatch):
    """And where nobody asked, there is none."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("memollm._drive.progress.find_spec", lambda _: None)
    with pytest.raises(OptionError, match=r"memollm\[cli\]"):
        listener_for(progress=True, name="ask")
    assert listener_for(progress=None, name="ask") is None
    assert listener_for(progress=print, name="ask") is print


def test_a_bar_is_left_where_the_map_fails(cache, monkeypatch):
    """The terminal is as it was."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    closed = itertools.count()
    close = Bar.close
    monkeypatch.setattr(Bar, "close", lambda self: (next(closed), close(self)))
    with pytest.raises(ModelDown):
        function_of(cache, "plain", FakeModel(failing={1})).map(["x"])
    assert next(closed) == 1


@pytest.mark.parametrize("colour", ["plain", "async"])
@pytest.mark.parametrize("begin_anew", ["rewind", "drop", "forget"])
def test_a_map_that_fails_after_a_rewind_gives_nothing_twice(cache, colour, begin_anew):
    """P1: what a map gives back belongs to the sequence that it drew from, not to the one that was begun since."""
    numbers = itertools.count()

    def answer(prompt):
        if prompt == "bad":
            begin()
            drawn.extend(finish_elsewhere(ask.draw(2, "x")))
            raise ConnectionError("no answer")
        return f"{prompt} {next(numbers)}"

    async def answer_async(prompt):
        return await asyncio.to_thread(answer, prompt)

    def begin():
        if begin_anew == "forget":
            ask.forget("x")
        else:
            getattr(cache, begin_anew)("n")

    drawn = []
    ask = cache.cached_llm(answer if colour == "plain" else answer_async, namespace="n", name="ask", version=1)
    with pytest.raises(ConnectionError):
        finish(ask.map(["x", "x", "bad"], concurrency=1))
    drawn.extend(finish(ask.draw(2, "x")))
    assert len(set(drawn)) == 4


def finish_elsewhere(result):
    """Wait for it in a thread, and so in a loop, of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(finish, result).result(DEADLINE)
