"""What a user sees of the rules of drawing, on both stores (P1 to P6, P11)."""

from __future__ import annotations

import asyncio
import itertools
import threading
import warnings

import pytest

import memollm
from memollm import MemollmWarning, NotStoredWarning, OptionError, ReentrantCall, WrongNumber


class Model:
    """A counted model: its answers are numbered in the order in which it was asked."""

    def __init__(self):
        self.calls = 0
        self.numbers = itertools.count(1)

    def __call__(self, prompt):
        self.calls += 1
        return f"{prompt} {next(self.numbers)}"


@pytest.fixture
def model():
    return Model()


def asking(cache, model, **options):
    @cache.cached_llm(**options)
    def ask(prompt):
        return model(prompt)

    return ask


def asking_async(cache, function, **options):
    @cache.cached_llm(**options)
    async def ask(prompt):
        return await function(prompt)

    return ask


def highest_slot(ask, *args):
    return len(ask.peek(*args)) - 1


def test_two_namespaces_share_what_either_has_paid_for(cache, model):
    """P2, P4: n=3 in one namespace, then n=5 in another cost five calls, and the first three answers are equal."""
    ask = asking(cache, model)
    first = ask.with_options(namespace="a", n=3)("x")
    second = ask.with_options(namespace="b", n=5)("x")
    assert second[:3] == first
    assert model.calls == 5 == highest_slot(ask, "x") + 1


def test_a_namespace_never_gives_a_sample_twice(cache, model):
    """P1: draws of one namespace are distinct, however many samples each takes."""
    ask = asking(cache, model, namespace="a")
    got = [ask("x"), *ask.draw(3, "x"), ask("x")]
    assert got == ["x 1", "x 2", "x 3", "x 4", "x 5"]


def test_calls_with_other_arguments_have_samples_of_their_own(cache, model):
    """P8: each call has its own sequence."""
    ask = asking(cache, model, namespace="a")
    assert [ask("x"), ask("y"), ask("x")] == ["x 1", "y 2", "x 3"]


def test_a_run_block_reads_from_the_start(cache, model):
    """A fresh run replays what is stored; within a run draws are distinct."""
    ask = asking(cache, model)
    with memollm.run():
        first = [ask("x"), ask("x")]
    with memollm.run() as run:
        assert [ask("x"), ask("x")] == first
    with memollm.run(run):
        assert ask("x") == "x 3"


def test_a_run_block_wins_over_namespaces_around_it(cache, model):
    """The innermost block says who reads, over the decorator and outer blocks; `with_options` insists."""
    ask = asking(cache, model, namespace="a")
    assert ask("x") == "x 1"
    with memollm.run():
        assert [ask("x"), ask("x")] == ["x 1", "x 2"]
        with memollm.namespace("b"):
            assert ask("x") == "x 1"
        assert ask.with_options(namespace="a")("x") == "x 2"
        assert ask.with_options(n=1)("x") == ["x 3"]
    with memollm.namespace("b"), memollm.run() as run:
        assert ask("x") == "x 1"
    with memollm.replay("a"), memollm.run(run):
        assert ask("x") == "x 2"
    assert {space.name: space.draws for space in cache.namespaces()} == {"a": 2, "b": 1}


def test_a_call_that_is_forgotten_meanwhile_gives_no_sample_twice(cache):
    """P1, P7: what was being made is kept, and is given where its slot comes in the sequence that has begun."""
    numbers = itertools.count()

    @cache.cached_llm(namespace="a")
    def ask(prompt):
        made = next(numbers)
        if made == 1:
            ask.forget(prompt)
        return made

    assert [ask("x"), ask("x")] == [0, 2]
    assert sorted(ask.peek("x")) == [1, 2]
    assert [ask("x"), ask("x")] == [1, 3]


def test_what_a_draw_was_not_given_after_all_is_not_counted_as_drawn(cache):
    """P14: of a call that is forgotten meanwhile, draws are what was given, and calls are all that were paid for."""
    numbers = itertools.count()

    @cache.cached_llm(namespace="a")
    def ask(prompt):
        made = next(numbers)
        if made == 2:
            ask.forget(prompt)
        return made

    with memollm.track() as tracked:
        drawn = ask.draw(3, "x")
    assert len({*drawn}) == 3
    assert len(tracked.draws) == 3
    total = ask.stats().total
    assert (total.draws, total.hits + total.made) == (3, 3)
    assert total.paid == next(numbers)


def test_a_pool_of_one_is_plain_memoization(cache, model):
    """The same arguments give the same answer, without a cursor."""
    ask = asking(cache, model, pool=1, namespace="a")
    assert [ask("x"), ask("x"), ask.with_options(namespace="b")("x")] == ["x 1"] * 3
    assert cache.namespaces() == []


def test_a_pool_cycles_through_its_samples(cache, model):
    """A pool of k pays for k samples and then begins again."""
    ask = asking(cache, model, pool=3, namespace="a")
    assert [ask("x") for _ in range(7)] == ["x 1", "x 2", "x 3", "x 1", "x 2", "x 3", "x 1"]
    assert model.calls == 3


def test_a_failed_draw_gives_its_position_back(cache, model):
    """P3: after a failure the next draw takes the same position; what is stored has no gap."""
    fail = True

    @cache.cached_llm(namespace="a")
    def ask(prompt):
        if fail:
            raise ConnectionError("no answer")
        return model(prompt)

    with pytest.raises(ConnectionError, match="no answer"):
        ask("x")
    fail = False
    assert [ask("x"), ask("x")] == ask.peek("x") == ["x 1", "x 2"]


def test_what_a_failed_draw_had_paid_for_is_kept(cache):
    """P3, P7: of three samples the third fails; the next draw calls once and gives all three."""
    answers = iter(["one", "two", None, "three"])

    @cache.cached_llm(namespace="a", n=3)
    def ask(prompt):
        answer = next(answers)
        if answer is None:
            raise TimeoutError
        return answer

    with pytest.raises(TimeoutError):
        ask("x")
    assert ask.peek("x") == ["one", "two"]
    assert ask("x") == ["one", "two", "three"]


def test_one_of_five_concurrent_draws_raises_alone(cache):
    """P3: the next draw gets the position that it gave back; the other four keep theirs."""
    asked = itertools.count()

    async def answer(prompt):
        mine = next(asked)
        await asyncio.sleep(0)
        if mine == 2:
            raise ConnectionError
        return mine

    ask = asking_async(cache, answer, namespace="a")

    async def main():
        results = await asyncio.gather(*(ask("x") for _ in range(5)), return_exceptions=True)
        return results, await ask("x")

    results, after = asyncio.run(main())
    assert [type(result) for result in results] == [int, int, ConnectionError, int, int]
    assert after == 5
    assert ask.peek("x") == [0, 1, 5, 3, 4]


def test_answers_in_reverse_order_fill_the_slots_in_order_of_asking(cache):
    """P6: a slot belongs to whoever asked first, not to whoever was answered first."""

    async def main():
        events = [asyncio.Event() for _ in range(5)]
        asked = itertools.count()

        async def answer(prompt):
            mine = next(asked)
            if mine + 1 < len(events):
                await events[mine + 1].wait()
            events[mine].set()
            return mine

        ask = asking_async(cache, answer, namespace="a")
        return ask, await asyncio.gather(*(ask("x") for _ in range(5)))

    ask, got = asyncio.run(main())
    assert got == ask.peek("x") == [0, 1, 2, 3, 4]


def test_a_thousand_coroutines_share_one_flight(cache):
    """P5: all want one slot; the model is called once."""
    calls = 0

    async def answer(prompt):
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return {"answer": prompt}

    ask = asking_async(cache, answer, pool=1)

    async def main():
        return await asyncio.gather(*(ask("x") for _ in range(1000)))

    answers = asyncio.run(main())
    assert calls == 1
    assert answers == [{"answer": "x"}] * 1000
    # P11: each has an object of its own.
    assert len({id(answer) for answer in answers}) == 1000


def test_threads_share_one_flight(cache):
    """P5: threads that want one slot wait for the one that is making it."""
    calls = 0
    entered, leave = threading.Event(), threading.Event()

    @cache.cached_llm(pool=1)
    def ask(prompt):
        nonlocal calls
        calls += 1
        entered.set()
        assert leave.wait(10)
        return prompt

    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask("x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["x"] * 8
    assert calls == 1


def test_exactly_one_waiter_takes_over_from_a_flight_that_fails(cache):
    """P5: the caller that flies raises; one other calls, and the rest share its answer."""
    calls = 0

    async def answer(prompt):
        nonlocal calls
        calls += 1
        mine = calls
        await asyncio.sleep(0)
        if mine == 1:
            raise ConnectionError
        return mine

    ask = asking_async(cache, answer, pool=1)

    async def main():
        return await asyncio.gather(*(ask("x") for _ in range(20)), return_exceptions=True)

    results = asyncio.run(main())
    assert isinstance(results[0], ConnectionError)
    assert results[1:] == [2] * 19
    assert calls == 2


@pytest.mark.parametrize("victim", ["flier", "waiter"])
def test_a_cancelled_task_disturbs_nobody(cache, victim):
    """P5: a cancelled waiter leaves the others waiting; from a flier that is stopped one of them takes over."""
    calls = 0

    async def main():
        entered, leave = asyncio.Event(), asyncio.Event()

        async def answer(prompt):
            nonlocal calls
            calls += 1
            entered.set()
            await leave.wait()
            return calls

        ask = asking_async(cache, answer, pool=1, on_cancel="stop")
        tasks = [asyncio.create_task(ask("x"))]
        await entered.wait()
        tasks += [asyncio.create_task(ask("x")) for _ in range(5)]
        await asyncio.sleep(0)
        cancelled = tasks.pop(0 if victim == "flier" else 3)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        leave.set()
        return await asyncio.wait_for(asyncio.gather(*tasks), 10)

    results = asyncio.run(main())
    assert calls == (2 if victim == "flier" else 1)
    assert set(results) == {calls}


def test_cancelling_gives_the_position_back(cache):
    """P3: the next draw takes the position of a cancelled one."""

    async def main():
        hang = True
        entered = asyncio.Event()

        async def answer(prompt):
            entered.set()
            if hang:
                await asyncio.Event().wait()
            return prompt

        ask = asking_async(cache, answer, namespace="a", n=2, on_cancel="stop")
        task = asyncio.create_task(ask("x"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hang = False
        return ask, await ask("x")

    ask, got = asyncio.run(main())
    assert got == ask.peek("x") == ["x", "x"]


def test_a_draw_has_at_most_so_many_calls_in_flight(cache):
    """`concurrency` bounds the calls of one draw; without it a coroutine function's all fly at once."""
    flying = highest = 0

    async def answer(prompt):
        nonlocal flying, highest
        flying += 1
        highest = max(highest, flying)
        await asyncio.sleep(0)
        flying -= 1
        return prompt

    ask = asking_async(cache, answer, namespace="a")
    asyncio.run(ask.with_options(concurrency=3).draw(10, "x"))
    assert highest == 3
    asyncio.run(ask.draw(10, "x"))
    assert highest == 10


def test_plain_functions_fly_in_threads_where_concurrency_says_so(cache):
    """With `concurrency=4`, four calls of one draw meet at a barrier; their slots are distinct."""
    barrier = threading.Barrier(4, timeout=10)
    numbers = itertools.count()

    @cache.cached_llm(namespace="a", n=4, concurrency=4)
    def ask(prompt):
        barrier.wait()
        return next(numbers)

    assert sorted(ask("x")) == [0, 1, 2, 3]
    assert sorted(ask.peek("x")) == [0, 1, 2, 3]


def test_what_accept_refuses_is_returned_and_not_stored(cache):
    """A refused answer's position is given back, so the next draw asks again."""
    answers = iter(["cut off...", "whole"])
    ask = asking(cache, lambda _: next(answers), namespace="a", accept=lambda answer: not answer.endswith("..."))
    assert ask("x") == "cut off..."
    assert ask.peek("x") == []
    assert ask("x") == "whole"
    assert ask.peek("x") == ["whole"]


def test_what_accept_cannot_judge_is_kept(cache):
    """P7: where `accept` cannot tell, nothing refuses an answer that was paid for: it is given, kept, and warned of."""

    def accept(answer):
        if answer == 1:
            raise ZeroDivisionError("by nothing")
        return True

    @cache.cached_llm(namespace="a", count="n", accept=accept)
    def ask(prompt, n=3):
        return list(range(n))

    with pytest.warns(MemollmWarning, match=r"ask raised ZeroDivisionError: by nothing\. The answer is kept"):
        assert ask("x") == [0, 1, 2]
    assert ask.peek("x") == [0, 1, 2]
    with pytest.raises(MemollmWarning, match="by nothing"):
        ask("where warnings are errors")
    assert ask.peek("where warnings are errors") == [0, 1, 2]


@pytest.mark.parametrize("returned", ["abc", None, {"a": 1}])
def test_what_is_no_list_of_samples_is_an_error(cache, returned):
    """A `count` function returns a list; a text is no list of its letters."""
    ask = cache.cached_llm(lambda prompt, n=3: returned, namespace="a", count="n", name="ask", version=1)
    with pytest.raises(WrongNumber, match=type(returned).__name__):
        ask("x")
    assert ask.peek("x") == []


def test_a_draw_of_a_pool_gives_different_samples(cache, model):
    """P1: also where a position that was given back reads the slot of another one of the draw."""
    fail = True

    @cache.cached_llm(namespace="a", pool=3)
    def ask(prompt):
        if fail:
            raise ConnectionError
        return model(prompt)

    fail = False
    ask.draw(2, "x")
    ask.forget("y")
    fail = True
    cache.rewind("a")
    with pytest.raises(ConnectionError):
        ask("y")
    fail = False
    assert ask("y") == "y 3"
    assert len(set(ask.draw(3, "x"))) == 3


def test_missing_samples_are_asked_for_in_one_call(cache):
    """With `count`, one call makes exactly what is missing (P4)."""
    asked = []
    numbers = itertools.count()

    @cache.cached_llm(namespace="a", count="n")
    def ask(prompt, n=2):
        asked.append(n)
        return [next(numbers) for _ in range(n)]

    assert ask("x") == [0, 1]
    with memollm.namespace("b"):
        assert ask("x", n=5) == [0, 1, 2, 3, 4]
    assert ask.draw(4, "x") == [2, 3, 4, 5]
    assert asked == [2, 3, 1]


@pytest.mark.parametrize("made", [1, 4])
def test_a_wrong_number_of_samples_is_an_error_that_names_both(cache, made):
    """What came back is kept as far as it was asked for: it is paid for."""

    @cache.cached_llm(namespace="a", count="n")
    def ask(prompt, n=3):
        return list(range(made))

    with pytest.raises(WrongNumber, match=f"asked for 3 samples and returned {made}"):
        ask("x")
    assert ask.peek("x") == list(range(min(made, 3)))


def test_changing_what_was_drawn_changes_nothing_stored(cache):
    """P11: every draw returns an object of its own."""
    ask = asking(cache, lambda prompt: {"text": [prompt]}, pool=1)
    for _ in range(3):
        answer = ask("x")
        assert answer == {"text": ["x"]}
        answer["text"].append("changed")


def test_a_function_that_waits_for_itself_is_told_so(cache):
    """Calling a pool's function with its own arguments inside itself is an error instead of a hang."""

    @cache.cached_llm(pool=1)
    def ask(prompt):
        return ask(prompt)

    with pytest.raises(ReentrantCall, match="from inside its own call"):
        ask("x")


def test_an_exception_that_ends_iterations_passes_through(cache):
    """A function that raises StopIteration raises it to its caller, as undecorated."""

    @cache.cached_llm(namespace="a")
    def ask(prompt):
        raise StopIteration(prompt)

    with pytest.raises(StopIteration, match="x"):
        ask("x")


def test_rewinding_draws_the_same_samples_again(cache, model):
    """A rewound namespace starts over; a dropped one is gone; samples stay."""
    ask = asking(cache, model, namespace="a")
    first = [ask("x"), ask("x")]
    assert cache.namespaces() == [memollm.Namespace("a", 1, 2)]
    cache.rewind("a")
    assert cache.namespaces() == [memollm.Namespace("a", 1, 0)]
    assert [ask("x"), ask("x")] == first
    cache.drop("a")
    assert cache.namespaces() == []
    assert ask("x") == first[0]
    with pytest.raises(OptionError, match=r"no namespace 'b' \(it has: 'a'\)"):
        cache.rewind("b")


def test_forgetting_a_call_removes_its_samples(cache, model):
    """After `forget` the call is as if it had never been made, also for what this process remembered."""
    ask = asking(cache, model, pool=1)
    assert [ask("x"), ask("x")] == ["x 1"] * 2
    assert ask.forget("x") == 1
    assert ask.peek("x") == []
    assert ask("x") == "x 2"


def test_draw_takes_a_positive_number(cache, model):
    """A wrong number is refused before anything happens."""
    ask = asking(cache, model, pool=2)
    for wrong in (0, -1, True, "3", None):
        with pytest.raises(OptionError, match="from 1 up"):
            ask.draw(wrong, "x")
    with pytest.raises(OptionError, match="pool of 2"):
        ask.draw(3, "x")
    assert model.calls == 0


def test_an_unstorable_result_is_returned_with_a_warning(cache):
    """What cannot be kept is the caller's all the same, and its position is given back (P7)."""
    ask = asking(cache, lambda _: (number for number in range(3)), namespace="a")
    with pytest.warns(NotStoredWarning, match="ask"):
        assert list(ask("x")) == [0, 1, 2]
    assert ask.peek("x") == []
    assert cache.namespaces() == [memollm.Namespace("a", 1, 0)]


def test_each_unstorable_result_is_an_error_where_the_user_says_so(cache):
    """Who makes the warning an error is stopped each time, and not only by the first; nothing stays claimed."""
    ask = asking(cache, lambda _: (number for number in range(3)), pool=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotStoredWarning)
        for _ in range(2):
            with pytest.raises(NotStoredWarning, match="ask"):
                ask("x")
    with pytest.warns(NotStoredWarning, match="ask"):
        assert list(ask("x")) == [0, 1, 2]


def test_an_error_keeps_its_cause(cache):
    """What a function raised comes out as it was raised: with what it was raised from."""
    cause = KeyError("deep")

    def failing(prompt):
        raise ValueError("high") from cause

    ask = asking(cache, failing, version="1")
    for draw in (ask, lambda prompt: ask.draw(2, prompt), ask.with_options(concurrency=2, n=2)):
        with pytest.raises(ValueError, match="high") as raised:
            draw("x")
        assert raised.value.__cause__ is cause


def test_an_interrupt_of_a_hit_ends_it(cache, model, monkeypatch):
    """P3: Ctrl-C while a stored sample is read comes out, and the next draw gives that sample."""
    ask = asking(cache, model, namespace="a", pool=2)
    first = ask.with_options(namespace="b").draw(1, "x")
    decode, interrupts = cache._engine.codec.decode, [KeyboardInterrupt]

    def interrupted(*arguments):
        if interrupts:
            raise interrupts.pop()
        return decode(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(cache._engine.codec, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask("x")
    assert [ask("x")] == first
    assert model.calls == 1
