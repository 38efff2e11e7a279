"""`on_store_error`: a draw fails where the store does, for whoever would rather stop than pay for what is not kept."""

import asyncio
import itertools
import shutil
import warnings

import pytest

import memollm
from memollm import (
    BudgetExceeded,
    Cache,
    NotStoredWarning,
    OptionError,
    StoreClosed,
    StoreError,
    StoreUnavailable,
)
from memollm._types.requests import Fill, Look, Take, Write
from memollm.stores.memory.store import MemoryStore

WAYS = {
    "sync": {},
    "memoized": {"pool": 1},
    "several": {"n": 3},
    "threads": {"n": 3, "concurrency": 3},
}


class Away(MemoryStore):
    """A store that some kinds of requests do not reach."""

    def __init__(self):
        super().__init__()
        self.kinds = ()
        self.taken = self.failed = 0

    def perform(self, requests):
        return [self._answer(request) for request in requests]

    def at_once(self, request):
        answer = self._answer(request)
        return answer if not isinstance(answer, StoreError) else None

    def _answer(self, request):
        self.taken += isinstance(request, Take)
        fills = isinstance(request, Write) and any(isinstance(change, Fill) for change in request.changes)
        if isinstance(request, self.kinds) or (Fill in self.kinds and fills):
            self.failed += 1
            return StoreUnavailable("The store is away.")
        return super().perform([request])[0]


@pytest.fixture
def store():
    return Away()


@pytest.fixture
def cache(store):
    with Cache(store) as cache:
        yield cache


def asking(cache, made, **options):
    options = {"name": "ask", "version": 1, "namespace": "e", "on_store_error": "raise"} | options
    numbers = itertools.count(1)

    @cache.cached_llm(**options)
    def ask(prompt):
        made.append(prompt)
        return next(numbers)

    return ask


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_nothing_is_called_where_the_store_is_away(cache, store, options):
    """Nothing is paid for that could not be kept, each time anew; and all is as before when the store is back."""
    ask = asking(cache, made := [], **options)
    store.kinds = (Take,)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="is away"):
            ask("x")
    assert made == []
    store.kinds = ()
    ask("x")
    # Threads may end in another order than they began.
    assert sorted(ask.peek("x")) == [*range(1, len(made) + 1)]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_answer_that_cannot_be_stored_fails_its_draw(cache, store, options):
    """The error says that an answer was made; its position and its claim are free for the next draw (P3, P5)."""
    ask = asking(cache, made := [], **options)
    store.kinds = (Fill,)
    with pytest.raises(StoreUnavailable, match="is away") as raised:
        ask("x")
    assert raised.value.__notes__ == [
        "An answer of ask was made. It is not returned, and not stored as far as is known."
    ]
    paid = len(made)
    assert paid
    store.kinds = ()
    again = ask("x")
    assert ask.peek("x") == (again if isinstance(again, list) else [again])
    counted = cache.stats().total
    assert (counted.paid, counted.unstored) == (len(made), paid)


def test_what_was_stored_before_a_failure_is_given_by_the_next_draw(cache, store):
    """P7: of a draw that fails in the middle, the answers that were kept are not paid for again."""
    made = []

    @cache.cached_llm(name="ask", version=1, namespace="e", n=3, on_store_error="raise")
    def ask(prompt):
        made.append(prompt)
        if len(made) == 2:
            store.kinds = (Fill,)
        return len(made)

    with pytest.raises(StoreUnavailable):
        ask("x")
    store.kinds = ()
    assert ask("x") == [1, 3, 4]


def test_concurrent_calls_that_are_paid_for_are_kept_beside_one_that_is_not(cache, store):
    """P7: where one of several calls under way cannot be stored, the draw fails, and the next gets the others."""

    @cache.cached_llm(name="ask", version=1, namespace="e", n=3, on_store_error="raise")
    async def ask(prompt):
        made.append(prompt)
        number = len(made)
        if number <= 3:
            if number == 1:
                await begun.wait()
                store.kinds = (Fill,)
            else:
                begun.set()
        return number

    async def both():
        with pytest.raises(StoreUnavailable):
            await ask("x")
        store.kinds = ()
        return await ask("x")

    made, begun = [], asyncio.Event()
    given = asyncio.run(both())
    assert sorted(given) == sorted(ask.peek("x"))
    assert len(set(given)) == 3


def test_a_slot_that_could_not_be_filled_is_free_before_its_draw_has_failed(cache, store):
    """P5: while the other calls of a failing draw go on, others may fill the slot whose answer was lost."""

    async def both():
        begun, go, numbers = asyncio.Event(), asyncio.Event(), iter(range(10))

        @cache.cached_llm(name="ask", version=1, namespace="e", n=2, on_store_error="raise")
        async def ask(prompt):
            number = next(numbers)
            if number == 1:
                begun.set()
                await go.wait()
            return number

        store.kinds = (Fill,)
        failing = asyncio.create_task(ask("x"))
        await begun.wait()
        while not store.failed:
            await asyncio.sleep(0)
        store.kinds = ()
        assert await asyncio.wait_for(ask.with_options(namespace="f", n=1)("x"), 30) == [2]
        go.set()
        with pytest.raises(StoreUnavailable):
            await failing
        assert await ask("x") == [2, 1]

    asyncio.run(both())


@pytest.mark.parametrize("kinds", [(Take,), (Fill,)], ids=["take", "fill"])
@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator", "map", "batch", "door"])
def test_every_way_to_draw_fails(cache, store, kinds, kind):
    """Coroutine functions, streams, maps, batches and doors raise what the store raised, and go on when it is back."""
    options = {"name": "ask", "version": 1, "namespace": "e", "on_store_error": "raise"}
    made = []

    def answer(prompt):
        made.append(prompt)
        return f"{prompt}{len(made)}"

    async def ask_later(prompt):
        return answer(prompt)

    def stream(prompt):
        yield answer(prompt)

    async def stream_later(prompt):
        yield answer(prompt)

    def all_of(prompts):
        return [answer(prompt) for prompt in prompts]

    async def listened(draw):
        return [chunk async for chunk in draw("x")]

    decorate = cache.cached_llm(**options)
    plain, later, streaming, streaming_later = map(decorate, (answer, ask_later, stream, stream_later))
    many = cache.cached_llm(**options, batch="prompts")(all_of)
    door = cache.door("door", version=1, namespace="e", on_store_error="raise")
    ways = {
        "coroutine": lambda: asyncio.run(later("x")),
        "generator": lambda: list(streaming("x")),
        "async generator": lambda: asyncio.run(listened(streaming_later)),
        "map": lambda: plain.map(["x", "y"], concurrency=2),
        "batch": lambda: many(["x", "y"]),
        "door": lambda: door.draw("x", lambda: answer("x")),
    }
    store.kinds = kinds
    with pytest.raises(StoreUnavailable, match="is away"):
        ways[kind]()
    assert bool(made) == (Fill in kinds)
    store.kinds = ()
    assert ways[kind]()


def test_an_item_that_cannot_be_stored_is_an_error_like_others(cache, store):
    """A map that returns errors goes on: what cannot be stored stands as its error in its place."""
    ask = asking(cache, [])
    store.kinds = (Fill,)
    given = ask.map(["x", "y"], on_error="return")
    assert [type(each) for each in given] == [StoreUnavailable] * 2


def test_who_waits_for_a_slot_fails_as_its_maker_does(cache, store):
    """A draw that waits for another's answer is told of the store by the look that follows, and calls nothing (P5)."""

    async def both():
        made, begun, go = [], asyncio.Event(), asyncio.Event()

        @cache.cached_llm(name="ask", version=1, pool=1, on_store_error="raise")
        async def ask(prompt):
            made.append(prompt)
            begun.set()
            await go.wait()
            return "answer"

        drawn = [asyncio.create_task(ask("x"))]
        await begun.wait()
        drawn.append(asyncio.create_task(ask("x")))
        while store.taken < 2:
            await asyncio.sleep(0)
        store.kinds = (Fill, Look, Take)
        go.set()
        return made, await asyncio.gather(*drawn, return_exceptions=True)

    made, told = asyncio.run(both())
    assert made == ["x"]
    assert [type(each) for each in told] == [StoreUnavailable] * 2


def test_a_call_that_goes_on_without_its_draw_warns(cache, store):
    """Nobody waits for an answer that lands after its draw was cancelled, so the failure of the store is a warning."""

    async def leave():
        begun, go, landed = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @cache.cached_llm(name="ask", version=1, namespace="e", on_store_error="raise")
        async def ask(prompt):
            begun.set()
            await go.wait()
            asyncio.get_running_loop().call_soon(landed.set)
            return "answer"

        task = asyncio.create_task(ask("x"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.kinds = (Fill,)
        go.set()
        await landed.wait()
        while [*cache._engine.left._of]:
            await asyncio.sleep(0)

    with pytest.warns(NotStoredWarning, match="is away"):
        asyncio.run(leave())


def test_a_result_of_a_kind_that_cannot_be_stored_warns(cache):
    """What cannot be stored is no failure of the store: it is returned with its warning."""
    decorate = cache.cached_llm(name="ask", version=1, namespace="e", on_store_error="raise")
    ask = decorate(lambda prompt: (letter for letter in prompt))
    with pytest.warns(NotStoredWarning):
        assert list(ask("x")) == ["x"]


def test_a_budget_has_back_what_was_not_called_and_keeps_what_was(cache, store):
    """P14: an answer that could not be stored was paid for; one that was never asked for was not."""
    ask = asking(cache, made := [])
    with memollm.budget(calls=1):
        store.kinds = (Take,)
        with pytest.raises(StoreUnavailable):
            ask("x")
        store.kinds = (Fill,)
        with pytest.raises(StoreUnavailable):
            ask("x")
        store.kinds = ()
        with pytest.raises(BudgetExceeded):
            ask("x")
    assert made == ["x"]


@pytest.mark.parametrize("said", ["option", "configured", "environment", "with_options"])
def test_where_it_is_said(cache, store, monkeypatch, said):
    """It is an option and a setting; nothing said, or "warn", returns the answer with a warning."""
    ask = asking(cache, [], on_store_error="raise" if said == "option" else None)
    if said == "configured":
        memollm.configure(on_store_error="raise")
    if said == "environment":
        monkeypatch.setenv("MEMOLLM_ON_STORE_ERROR", "raise")
        memollm.configure()
    if said == "with_options":
        ask = ask.with_options(on_store_error="raise")
    store.kinds = (Take,)
    with pytest.raises(StoreUnavailable):
        ask("x")
    with pytest.warns(NotStoredWarning):
        assert ask.with_options(on_store_error="warn")("x") == 1


@pytest.mark.parametrize("where", ["option", "setting"])
def test_another_word_is_refused(cache, where):
    """What is neither "warn" nor "raise" is told with the nearest of them."""
    with pytest.raises(OptionError, match=r"on_store_error='rise'.*raise"):
        asking(cache, [], on_store_error="rise") if where == "option" else memollm.configure(on_store_error="rise")


@pytest.mark.parametrize("options", [{}, {"pool": 1}, {"n": 3}], ids=str)
def test_a_folder_that_vanishes_during_a_call(tmp_path, options):
    """With files, too: the draw fails, and the next makes the folder anew and keeps what it gets."""
    made = []
    with Cache(tmp_path / "cache") as cache:

        @cache.cached_llm(name="ask", version=1, **({"namespace": "e"} | options), on_store_error="raise")
        def ask(prompt):
            made.append(prompt)
            if len(made) == 1:
                shutil.rmtree(tmp_path / "cache")
            return len(made)

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            ask("x")
        again = ask("x")
        assert ask.peek("x") == (again if isinstance(again, list) else [again])


def test_a_cache_that_is_closed_during_a_call(tmp_path):
    """A cache that its program has closed meanwhile keeps nothing, and the draw says so."""
    cache = Cache(tmp_path)

    @cache.cached_llm(name="ask", version=1, namespace="e", on_store_error="raise")
    def ask(prompt):
        cache.close()
        return prompt

    with pytest.raises(StoreClosed):
        ask("x")
    with Cache(tmp_path) as again:
        assert again.cached_llm(lambda prompt: "anew", name="ask", version=1, namespace="e")("x") == "anew"


def test_warnings_that_are_errors_leave_nothing_claimed(cache, store):
    """Who makes the warning an error instead has the position back and the budgets right, too (P3)."""
    ask = asking(cache, made := [], on_store_error=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotStoredWarning)
        store.kinds = (Fill,)
        for _ in range(2):
            with pytest.raises(NotStoredWarning):
                ask("x")
        store.kinds = ()
        assert ask("x") == 3
    assert ask.peek("x") == [3]
    assert made == ["x"] * 3
