"""Batches: each item of a list is a call of its own, and one call of the function serves what is missing."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading

import numpy as np
import pytest
from models import PATIENCE, run, until, waiting

import memollm
from memollm import NotStoredWarning, OptionError, WrongNumber


def batching(cache, **options):
    """Return a batch function that numbers its answers over all calls, and the lists that it was called with."""
    called = []
    numbers = itertools.count()

    @cache.cached_llm(**{"batch": "prompts", **options})
    def generate(prompts, temperature=1.0):
        called.append(list(prompts))
        return [f"{prompt} {next(numbers)}" for prompt in prompts]

    return generate, called


def batching_async(cache, **options):
    called = []
    numbers = itertools.count()

    @cache.cached_llm(batch="prompts", **options)
    async def generate(prompts, temperature=1.0):
        called.append(list(prompts))
        await asyncio.sleep(0)
        return [f"{prompt} {next(numbers)}" for prompt in prompts]

    return generate, called


def test_one_call_serves_exactly_what_is_missing_in_order(cache):
    """P4: of 100 items 60 are stored; the function is called once, with the other 40 in their order."""
    generate, called = batching(cache, pool=1)
    prompts = [f"p{number}" for number in range(100)]
    stored = [prompt for number, prompt in enumerate(prompts) if number % 5 < 3]
    before = dict(zip(stored, generate(stored), strict=True))
    answers = generate(prompts)
    assert called[1:] == [[prompt for prompt in prompts if prompt not in before]]
    assert len(called[1]) == 40
    assert [answer.split()[0] for answer in answers] == prompts
    assert {prompt: answers[prompts.index(prompt)] for prompt in stored} == before


def test_one_call_serves_what_is_missing_of_a_coroutine_function(cache):
    """P4: the same for coroutine functions, and all stored is answered without a call."""
    generate, called = batching_async(cache, pool=1)

    async def main():
        return await generate(["a", "b"]), await generate(["c", "b", "a", "d"]), await generate(("d", "c"))

    assert run(main()) == (["a 0", "b 1"], ["c 2", "b 1", "a 0", "d 3"], ["d 3", "c 2"])
    assert called == [["a", "b"], ["c", "d"]]


def test_items_are_calls_of_their_own(cache):
    """P2: a list, another list and a single item share the samples of the items that they share."""
    generate, called = batching(cache)
    with memollm.namespace("a"):
        assert generate(["x", "y"]) == ["x 0", "y 1"]
    with memollm.namespace("b"):
        assert generate(["y", "z"]) == ["y 1", "z 2"]
    with memollm.namespace("c"):
        assert generate.one("x") == "x 0"
        assert generate.one(prompts="z", temperature=1.0) == "z 2"
    assert called == [["x", "y"], ["z"]]


def test_a_namespace_never_gives_an_items_sample_twice(cache):
    """P1: draws of one item are distinct, in whichever lists it stands."""
    generate, _ = batching(cache, namespace="a")
    assert [generate(["x"]), generate(["y", "x"]), [generate.one("x")]] == [["x 0"], ["y 1", "x 2"], ["x 3"]]


def test_other_arguments_make_other_calls(cache):
    """P8: what stands beside the list belongs to the key of each item."""
    generate, _ = batching(cache, pool=1)
    assert generate(["x"], 0.5) == ["x 0"]
    assert generate(["x"], 0.7) == ["x 1"]
    assert generate(["x"], temperature=0.5) == ["x 0"]


def test_an_item_that_is_a_list_is_no_list_of_items(cache):
    """P8: a function with `batch` shares no sample with itself without it."""
    generate, _ = batching(cache, pool=1)
    plain = generate.with_options(batch=None)
    assert plain(["x"]) == ["x 0"]
    assert generate([["x"]]) == ["['x'] 1"]
    assert plain.key(["x"]) != generate.key([["x"]])


def test_the_key_of_an_item_is_frozen(cache):
    """P9: the form has the item in the place of the list, and says in its function which parameter that is."""
    generate = cache.cached_llm(batch="prompts", name="generate", version=1)(lambda prompts, t=0.5: prompts)
    form = generate.explain(["x"]).form
    function = '{"name":"generate","version":"version:1","item":"prompts"}'
    assert sorted(json.loads(form)["function"].items()) == sorted(json.loads(function).items())
    assert json.loads(form)["arguments"] == {"prompts": "x", "t": 0.5}
    assert generate.key(["x"]) == "7a671aed4759f0d295432d459f277d5e"


def test_duplicates_in_a_list_are_distinct_draws(cache):
    """P1: the same item three times takes three slots, and the function gets each that is missing, in order."""
    generate, called = batching(cache, namespace="a")
    assert generate(["x", "y", "x"]) == ["x 0", "y 1", "x 2"]
    with memollm.namespace("b"):
        assert generate.with_options(namespace="b")(["x", "x", "x", "y"]) == ["x 0", "x 2", "x 3", "y 1"]
    assert called == [["x", "y", "x"], ["x"]]


def test_duplicates_share_the_samples_of_a_pool(cache):
    """P4, P11: in a pool of one a duplicate is the same sample, asked for once, as an object of its own."""
    called = []

    @cache.cached_llm(batch="prompts", pool=1)
    def generate(prompts):
        called.append(list(prompts))
        return [{"answer": prompt} for prompt in prompts]

    for _ in range(2):
        first, other, second = generate(["x", "y", "x"])
        assert first == second == {"answer": "x"}
        assert other == {"answer": "y"}
        first.clear()
        assert second
    assert called == [["x", "y"]]
    assert len(generate.peek(["x"])) == 1


def test_a_pool_of_two_cycles_over_duplicates(cache):
    """P4: four draws of an item out of a pool of two are two calls and two samples."""
    generate, called = batching(cache, pool=2, namespace="a")
    assert generate(["x", "x", "x", "x"]) == ["x 0", "x 1", "x 0", "x 1"]
    assert called == [["x", "x"]]


def test_several_samples_of_each_item_are_a_list_of_lists(cache):
    """P4: `n` and `draw` take so many of each item; the function gets each item as often as it is missing."""
    generate, called = batching(cache, namespace="a")
    assert generate(["y"]) == ["y 0"]
    with memollm.namespace("b"):
        several = generate.with_options(n=2, namespace="b")
        assert several(["x", "y"]) == [["x 1", "x 2"], ["y 0", "y 3"]]
        assert several.one("x") == ["x 4", "x 5"]
    assert generate.draw(2, ["x"]) == [["x 1", "x 2"]]
    assert called == [["y"], ["x", "x", "y"], ["x", "x"]]


@pytest.mark.parametrize("made", [0, 2, 4])
def test_a_wrong_number_of_results_stores_nothing(cache, made):
    """P3, P8: which result belongs to which item cannot be told, so none is kept; all positions go back."""
    counts = iter([made, 3])

    @cache.cached_llm(batch="prompts", namespace="a")
    def generate(prompts):
        return [f"answer {number}" for number in range(next(counts))]

    with pytest.raises(WrongNumber, match=f"called with 3 items and returned {made} results"):
        generate(["x", "y", "z"])
    assert [generate.peek([prompt]) for prompt in "xyz"] == [[], [], []]
    assert generate(["x", "y", "z"]) == ["answer 0", "answer 1", "answer 2"]


@pytest.mark.parametrize("returned", ["abc", {"a": 1, "b": 2, "c": 3}, None, 3])
def test_one_thing_is_no_list_of_results(cache, returned):
    """P8: a text is not taken for its letters."""
    generate = cache.cached_llm(batch="prompts")(lambda prompts: returned)
    with pytest.raises(WrongNumber, match=f"returned one {type(returned).__name__} where"):
        generate(["x", "y", "z"])


def test_a_failed_batch_gives_all_positions_back(cache):
    """P3: also those of items that were stored; the next draw of each is the same as without the failure."""
    fail = False

    @cache.cached_llm(batch="prompts")
    def generate(prompts):
        if fail:
            raise ConnectionError
        return [f"{prompt}!" for prompt in prompts]

    with memollm.namespace("a"):
        generate(["x", "y"])
    fail = True
    with memollm.namespace("b"):
        with pytest.raises(ConnectionError):
            generate(["x", "z", "y", "x"])
        assert next(each for each in cache.namespaces() if each.name == "b").draws == 0
        fail = False
        assert generate(["x", "y", "z"]) == ["x!", "y!", "z!"]
    assert [len(generate.peek([prompt])) for prompt in "xyz"] == [1, 1, 1]


def test_a_batch_waits_for_items_that_others_are_making(cache):
    """P5: two lists that overlap make each item once; the batches wait for each other's items without a deadlock."""
    called = []
    entered, leave = threading.Event(), threading.Event()

    @cache.cached_llm(batch="prompts", pool=1)
    def generate(prompts):
        called.append(list(prompts))
        if "a" in prompts:
            entered.set()
            assert leave.wait(PATIENCE)
        return [f"{prompt}!" for prompt in prompts]

    answers = {}
    first = threading.Thread(target=lambda: answers.update(first=generate(["a", "b"])), daemon=True)
    second = threading.Thread(target=lambda: answers.update(second=generate(["c", "b", "a"])), daemon=True)
    first.start()
    assert entered.wait(PATIENCE)
    second.start()
    until(lambda: waiting(cache) == 1)
    leave.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert answers == {"first": ["a!", "b!"], "second": ["c!", "b!", "a!"]}
    assert called == [["a", "b"], ["c"]]


def test_a_refused_item_is_let_go_while_the_batch_waits_for_another(cache):
    """Others need not wait for a draw that no longer makes their item."""
    entered, leave = threading.Event(), threading.Event()
    numbers = itertools.count()

    @cache.cached_llm(batch="prompts", pool=1, accept=lambda answer: answer != "x 0")
    def generate(prompts):
        if "slow" in prompts:
            entered.set()
            assert leave.wait(PATIENCE)
        return [f"{prompt} {next(numbers) if prompt == 'x' else ''}".strip() for prompt in prompts]

    answers = {}
    first = threading.Thread(target=lambda: answers.update(first=generate(["slow"])), daemon=True)
    second = threading.Thread(target=lambda: answers.update(second=generate(["x", "slow", "x"])), daemon=True)
    third = threading.Thread(target=lambda: answers.update(third=generate(["x"])), daemon=True)
    first.start()
    assert entered.wait(PATIENCE)
    second.start()
    until(lambda: waiting(cache) == 1)
    third.start()
    third.join(PATIENCE)
    assert answers == {"third": ["x 1"]}
    leave.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert answers == {"first": ["slow"], "second": ["x 0", "slow", "x 0"], "third": ["x 1"]}


def test_what_accept_refuses_is_returned_and_not_stored(cache):
    """`accept` is asked about each item's result by itself."""
    generate, _ = batching(cache, namespace="a", accept=lambda answer: answer.startswith("x"))
    assert generate(["x", "y"]) == ["x 0", "y 1"]
    assert generate.peek(["x"]) == ["x 0"]
    assert generate.peek(["y"]) == []
    assert generate(["y", "x"]) == ["y 2", "x 3"]


def test_an_unstorable_result_disturbs_no_other(cache):
    """P7: it is returned with a warning; the results of the other items are kept."""
    generate = cache.cached_llm(batch="prompts", namespace="a")(
        lambda prompts: [iter(prompt) if prompt == "y" else prompt for prompt in prompts]
    )
    with pytest.warns(NotStoredWarning):
        first, second = generate(["x", "y"])
    assert (first, list(second)) == ("x", ["y"])
    assert generate.peek(["x"]) == ["x"]


def test_an_empty_list_calls_nothing(cache):
    """No item, no call, no cursor."""
    generate, called = batching(cache, namespace="a")
    assert generate([]) == []
    assert called == []


def test_items_may_come_as_any_iterable(cache):
    """Tuples, generators and arrays are lists of items; the function is given a list."""
    generate, called = batching(cache, pool=1)
    assert generate(prompt for prompt in "ab") == ["a 0", "b 1"]
    assert generate(("b", "c")) == ["b 1", "c 2"]
    assert called == [["a", "b"], ["c"]]
    embed = cache.cached_llm(batch="rows", pool=1)(lambda rows: np.asarray(rows) * 2)
    assert [row.tolist() for row in embed(np.ones((2, 2)))] == [[2.0, 2.0]] * 2


@pytest.mark.parametrize("given", ["text", {"a": 1}, {"a"}, 3, None])
def test_what_is_no_list_is_refused(cache, given):
    """A text is not taken for its letters."""
    generate, called = batching(cache)
    with pytest.raises(OptionError, match="says that it holds a list of items"):
        generate(given)
    assert called == []


def test_methods_take_batches(cache):
    """The list is found beside the object, by position and by name."""

    class Model:
        def __init__(self):
            self.called = []

        @cache.cached_llm(batch="prompts", ignore="self", pool=1)
        def generate(self, prompts, *, suffix="!"):
            self.called.append(list(prompts))
            return [prompt + suffix for prompt in prompts]

        @cache.cached_llm(batch="prompts", pool=1)
        @classmethod
        def of_class(cls, prompts):
            return [prompt + "?" for prompt in prompts]

    model = Model()
    assert model.generate(["a", "b"]) == ["a!", "b!"]
    assert model.generate(prompts=["b", "c"]) == ["b!", "c!"]
    assert model.generate.one("c") == "c!"
    assert Model.generate(model, ["a"]) == ["a!"]
    assert model.called == [["a", "b"], ["c"]]
    assert Model.of_class(["a"]) == model.of_class(["a"]) == ["a?"]


def test_a_method_that_was_bound_already_takes_batches(cache):
    """It is keyed by its object."""

    class Model:
        def __init__(self, name):
            self.name = name

        def __memollm_key__(self):
            return self.name

        def generate(self, prompts):
            return [f"{self.name} {prompt}" for prompt in prompts]

    for name in ("a", "b"):
        generate = cache.cached_llm(batch="prompts", pool=1)(Model(name).generate)
        assert generate(["x", "y"]) == [f"{name} x", f"{name} y"]
        assert generate.one("x") == f"{name} x"
        assert generate.map([["x"], ["z"]]) == [[f"{name} x"], [f"{name} z"]]
        assert generate.peek(["z"]) == [f"{name} z"]


def test_asking_about_a_call_takes_a_list_of_one_item(cache):
    """`peek`, `key`, `explain` and `forget` are about one call."""
    generate, _ = batching(cache, pool=1)
    generate(["x", "y"])
    assert generate.peek(["x"]) == ["x 0"]
    assert generate.key(["x"]) != generate.key(["y"])
    assert generate.explain(["x"]).hit
    assert generate.forget(["x"]) == 1
    assert generate(["x", "y"]) == ["x 2", "y 1"]
    with pytest.raises(OptionError, match="2 items were given"):
        generate.peek(["x", "y"])


def test_a_misspelt_parameter_is_refused_with_the_nearest_name(cache):
    """Options that cannot be meant are errors at decoration."""
    with pytest.raises(OptionError, match="Did you mean 'prompts'"):
        batching(cache, batch="prompt")
    with pytest.raises(OptionError, match="batch='prompts' with count='temperature'"):
        batching(cache, count="temperature")
    with pytest.raises(OptionError, match="the items are what calls differ in"):
        batching(cache, ignore=("prompts",))
    with pytest.raises(OptionError, match="make it one parameter"):
        cache.cached_llm(batch="prompts")(lambda *prompts: list(prompts))
    with pytest.raises(OptionError, match="is a generator function"):
        cache.cached_llm(batch="prompts")(lambda prompts: (yield))
    plain = cache.cached_llm(lambda prompts: prompts)
    with pytest.raises(OptionError, match="say by batch="):
        plain.one("x")


def test_a_store_that_fails_is_no_reason_to_fail(cache, monkeypatch):
    """P7: without a store every item is asked for, duplicates too, and the answers are returned with a warning."""
    generate, called = batching(cache, namespace="a")
    generate(["x"])

    gone = memollm.StoreUnavailable("the disk is gone")
    monkeypatch.setattr(cache.store, "perform", lambda requests: [gone] * len(requests))
    with pytest.warns(NotStoredWarning, match="the disk is gone"):
        assert generate(["x", "y", "x"]) == ["x 1", "y 2", "x 3"]
    assert called == [["x"], ["x", "y", "x"]]
