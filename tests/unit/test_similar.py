"""Similar calls: exact first, then the nearest that differs in the text alone; recorded, and counted apart."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from contextlib import nullcontext

import pytest
from models import PATIENCE, run, show_time, until_in_loop, waiting

import memollm
from memollm import BudgetExceeded, Cache, CacheMiss, Embedder, MemollmWarning, OptionError, Similar, StoreRefused
from memollm._calls import similarity
from memollm._calls.context import current_program
from memollm._similar import matcher
from memollm._similar.matcher import Matcher
from memollm._types.allowance import Charged
from memollm.stores.drawing import Drawing
from memollm.stores.limiting import limiting
from memollm.stores.looking import looking
from memollm.stores.matching import VectorSpace, matching
from memollm.testing import FakeClock, hashed_ngrams

FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me, what is the capital of France?"
PAIR = "What is 17 times 23?", "What is 17 times 24?"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path, clock):
    with Cache("memory:" if request.param == "memory" else tmp_path / "cache", clock=clock) as made:
        yield made


class Counting:
    """The user's embedder, and how often it was asked."""

    def __init__(self):
        self.texts = []

    def __call__(self, text):
        self.texts.append(text)
        return hashed_ngrams(text)

    @property
    def embedder(self):
        return Embedder(self, name="hashed")


def similar(**options):
    embed = options.pop("embed", None) or Embedder(hashed_ngrams, name="hashed")
    return Similar("question", embed=embed, **{"threshold": 0.8, **options})


def answering(cache, **options):
    """Return a function whose answers are numbered over all calls."""
    numbers = itertools.count(1)

    def answer(question, *, model="m"):
        return f"{question} {next(numbers)}"

    given = {"similar": similar(), "pool": 1, "name": "answer", "version": 1, **options}
    return cache.cached_llm(answer, **given)


def answering_async(cache, **options):
    numbers = itertools.count(1)

    async def answer(question, *, model="m"):
        return f"{question} {next(numbers)}"

    given = {"similar": similar(), "pool": 1, "name": "answer", "version": 1, **options}
    return cache.cached_llm(answer, **given)


# Where it stands.


def test_a_similar_text_is_given_the_sample(cache):
    """A call that differs in the text alone is given what the other was answered, and the function is not called."""
    answer = answering(cache)
    assert answer(FRANCE) == f"{FRANCE} 1"
    with memollm.track() as tracked:
        assert answer(FRANCE_TOO) == f"{FRANCE} 1"
    (event,) = [each for each in tracked.draws if each.function == "answer"]
    assert (event.kind, event.key, event.similar.key) == ("similar", answer.key(FRANCE_TOO), answer.key(FRANCE))
    assert (event.similar.asked, event.similar.stored) == (FRANCE_TOO, FRANCE)
    assert 0.8 <= event.similar.score < 1
    assert (tracked.similar, answer.stats().total.similar, answer.stats().total.paid) == (1, 1, 1)


def test_exact_is_first(cache):
    """A text that has a sample of its own is given that, whatever is near, and nothing is embedded for it."""
    counting = Counting()
    answer = answering(cache, similar=similar(embed=counting.embedder))
    with memollm.mode("refresh"):
        first, second = answer(FRANCE), answer(FRANCE_TOO)
    counting.texts.clear()
    assert (answer(FRANCE), answer(FRANCE_TOO)) == (first, second)
    assert counting.texts == []


def test_nothing_is_stored_of_the_call_itself(cache):
    """What was lent is no sample of the call: nothing is there to be peeked at, exported, or estimated from (P14)."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    assert (answer.peek(FRANCE), answer.peek(FRANCE_TOO)) == ([f"{FRANCE} 1"], [])
    assert cache.holds().samples == 3  # The answer, and what the embedder made of the two texts.
    assert not answer.explain(FRANCE_TOO).hit


def test_the_same_text_goes_where_it_went(cache):
    """A match is recorded: a nearer text that comes later changes nothing, until there is an answer of its own."""
    answer = answering(cache)
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE} 1"
    with memollm.mode("refresh"):
        nearer = answer("Tell me what is the capital of France")
    assert nearer != f"{FRANCE} 1"
    assert answer(FRANCE_TOO) == f"{FRANCE} 1"
    with memollm.mode("refresh"):
        own = answer(FRANCE_TOO)
    assert own not in {f"{FRANCE} 1", nearer}
    assert answer(FRANCE_TOO) == own
    assert matching(cache.store).match_of(answer._self_invocation((FRANCE_TOO,), {}).keyed()) is None


@pytest.mark.parametrize("other", [{"model": "n"}, {"model": "M"}])
def test_all_other_arguments_are_equal(cache, other):
    """Nothing is lent between calls that differ in anything but the text (P8)."""
    answer = answering(cache)
    answer(FRANCE)
    assert answer(FRANCE_TOO, **other) == f"{FRANCE_TOO} 2"


def test_nothing_is_lent_between_versions_and_functions(cache):
    """Nor between functions, or versions of one (P8)."""
    answering(cache)(FRANCE)
    assert answering(cache, version=2)(FRANCE_TOO) == f"{FRANCE_TOO} 1"
    assert answering(cache, name="other")(FRANCE_TOO) == f"{FRANCE_TOO} 1"


def test_vectors_of_two_embedders_never_meet(cache):
    """Another name or version of the embedder embeds anew, and finds only what it has embedded itself."""
    answering(cache)(FRANCE)
    for name, version in (("other", None), ("hashed", 2)):
        embed = Embedder(hashed_ngrams, name=name, version=version)
        assert answering(cache, similar=similar(embed=embed))(FRANCE_TOO) == f"{FRANCE_TOO} 1"
        answering(cache).forget(FRANCE_TOO)


def test_what_another_embedder_matched_is_not_given_again(cache):
    """A match is by its embedder and its verify; with another it is looked for anew."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    for options in ({"embed": Embedder(hashed_ngrams, name="other")}, {"verify": lambda asked, stored: False}):
        other = answering(cache, similar=similar(**options))
        assert other(FRANCE_TOO) == f"{FRANCE_TOO} 1"
        other.forget(FRANCE_TOO)
        assert answer(FRANCE_TOO) == f"{FRANCE} 1"


def test_a_collision_is_no_match(cache, monkeypatch):
    """Where two spaces had one hash, forms would still be compared before anything is lent (P8)."""
    monkeypatch.setattr(VectorSpace, "digest", lambda self, form: b"0" * 16)
    answer = answering(cache)
    answer(FRANCE)
    assert answer(FRANCE_TOO, model="n") == f"{FRANCE_TOO} 2"
    assert answer(f"{FRANCE} ") == f"{FRANCE} 1"


def test_the_embedding_is_memoized(cache):
    """A text is embedded once, by the embedder's name, in whichever functions it stands (P4)."""
    counting = Counting()
    for name in ("one", "two"):
        answering(cache, name=name, similar=similar(embed=counting.embedder))(FRANCE)
    assert counting.texts == [FRANCE]
    assert cache.stats()["hashed"].paid == 1


def test_a_text_below_the_threshold_is_asked_for(cache):
    """What is not near enough is called for, and found from then on."""
    answer = answering(cache, similar=similar(threshold=0.999))
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"


def test_a_threshold_that_was_raised_ends_matches(cache):
    """A recorded match counts only as long as all that it was found by would find it again."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    assert answer.with_options(similar=similar(threshold=0.99))(FRANCE_TOO) == f"{FRANCE_TOO} 2"


def test_another_rule_ends_matches(cache):
    """So it is with gates and with verify."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    assert answer.with_options(similar=similar(gates=[lambda asked, stored: False]))(FRANCE_TOO) == f"{FRANCE_TOO} 2"


def test_a_sample_that_is_gone_is_not_lent(cache):
    """What was forgotten is given to nobody, also not to those that it was given to."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    answer.forget(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"
    assert answer(FRANCE) == f"{FRANCE_TOO} 2"


def test_a_sample_that_is_too_old_is_not_lent(cache, clock):
    """The time to live is that of the sample that would be lent."""
    answer = answering(cache, ttl="1h")
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE} 1"
    clock.advance(3601)
    assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"


def test_what_is_lent_is_an_object_of_its_own(cache):
    """Whoever changes what was lent changes nobody else's (P11)."""
    answer = cache.cached_llm(lambda question: [question], similar=similar(), pool=1, name="answer", version=1)
    answer(FRANCE)
    for _ in range(2):
        lent = answer(FRANCE_TOO)
        assert lent == [FRANCE]
        lent.append("changed")
    assert answer(FRANCE) == [FRANCE]


def test_methods_are_told_apart_by_their_objects(cache):
    """The object of a method is one of the other arguments."""

    class Agent:
        def __init__(self, role):
            self.role = role

        def __memollm_key__(self):
            return self.role

        @cache.cached_llm(similar=similar(), pool=1, name="Agent.answer", version=1)
        def answer(self, question):
            return f"{self.role}: {question}"

    assert Agent("a").answer(FRANCE) == f"a: {FRANCE}"
    assert Agent("b").answer(FRANCE_TOO) == f"b: {FRANCE_TOO}"
    assert Agent("a").answer(FRANCE_TOO) == f"a: {FRANCE}"


def test_numbers_of_any_size_among_the_arguments(cache):
    """Other arguments are compared as they are written, however many digits they have."""
    answer = cache.cached_llm(lambda question, n: question, similar=similar(), pool=1, name="answer", version=1)
    answer(FRANCE, 10**400)
    assert answer(FRANCE_TOO, 10**400 + 1) == FRANCE_TOO
    assert answer(f"{FRANCE} ", 10**400) == FRANCE


# Gates and verify.


def test_gates_keep_out_what_is_near(cache):
    """A nearer text that differs in a number is passed over; one that agrees is given."""
    answer = answering(cache)
    answer(PAIR[0])
    assert answer(PAIR[1]) == f"{PAIR[1]} 2"
    assert answer(f"Tell me: {PAIR[0]}") == f"{PAIR[0]} 1"


def test_gates_can_be_switched_off(cache):
    """Whoever leaves a gate out is given what it would have kept out."""
    answer = answering(cache, similar=similar(gates=[]))
    answer(PAIR[0])
    assert answer(PAIR[1]) == f"{PAIR[0]} 1"


def test_a_gate_of_ones_own(cache):
    """A function of both texts is a gate, and is told by its name."""

    def same_length(asked, stored):
        return len(asked) == len(stored)

    answer = answering(cache, similar=similar(gates=[*Similar.GATES, same_length]))
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"
    assert answer(FRANCE.replace("?", "!")) == f"{FRANCE} 1"
    assert "same_length" in str(answer.explain(FRANCE.replace("?", "!")))


def test_verify_decides_once(cache):
    """`verify` sees both texts, what it says is memoized, and a no is a call (P4)."""
    seen = []

    def verify(asked, stored):
        seen.append((asked, stored))
        return "Tell" in asked

    answer = answering(cache, similar=similar(verify=verify))
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE} 1"
    assert answer(FRANCE.replace("?", "!")) == f"{FRANCE.replace('?', '!')} 2"
    answer.forget(FRANCE.replace("?", "!"))
    answer(FRANCE.replace("?", "!"))
    assert seen == [(FRANCE_TOO, FRANCE), (FRANCE.replace("?", "!"), FRANCE)]


@pytest.mark.parametrize("what", ["embed", "verify", "gate"])
def test_what_raises_is_told_and_the_function_called(cache, what):
    """A broken embedder, verifier or gate costs a call, and is told once."""

    def broken(*_):
        raise RuntimeError("no network")

    options = {"embed": {"embed": Embedder(broken, name="broken")}, "verify": {"verify": broken}}.get(
        what, {"gates": [broken]}
    )
    answer = answering(cache, similar=similar(**options))
    named = "gates" if what == "gate" else what
    with pytest.warns(MemollmWarning, match=f"{named}= raised for .* \\(RuntimeError: no network\\)") as told:
        answer(FRANCE)
        assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"
        answer("And another one?")
    assert len(told) == 1


@pytest.mark.parametrize(
    "vector", [[], [0.0, 0.0], [float("nan")], ["a"], ["1", "2"], [True, False], [1e200] * 2, [[1.0, 2.0]], 1.0, None]
)
def test_what_is_no_vector_is_told(cache, vector):
    """An embedder that returns anything but a vector is told so."""
    answer = answering(cache, similar=similar(embed=Embedder(lambda text: vector, name="broken")))
    with pytest.warns(MemollmWarning, match="embed= of"):
        answer(FRANCE)


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95])
def test_what_reaches_a_threshold_reaches_it_for_ever(cache, threshold):
    """A match whose score is the threshold itself is given again, and no function is called."""
    vectors = {"a": [1.0, 0.0], "b": [threshold, math.sqrt(1 - threshold**2)]}
    exact = similar(embed=Embedder(vectors.__getitem__, name="exact"), threshold=threshold, gates=[])
    answer = answering(cache, similar=exact)
    assert [answer("a"), answer("b"), answer("b")] == ["a 1"] * 3
    with memollm.mode("offline"):
        assert answer("b") == "a 1"


# Embedders.


def test_embedders_of_all_kinds(cache):
    """Lists and arrays, one text or several, plain and coroutine functions."""
    numpy = pytest.importorskip("numpy")
    for number, embed in enumerate(
        (
            hashed_ngrams,
            Embedder(lambda text: numpy.asarray(hashed_ngrams(text), "float16"), name="half"),
            Embedder(lambda texts: [hashed_ngrams(text) for text in texts], name="batch", batch=True),
            Embedder(lambda text: {"data": hashed_ngrams(text)}, name="read", read=lambda given: given["data"]),
            cache.cached_llm(hashed_ngrams, pool=1, name="own", version=1),
        )
    ):
        answer = answering(cache, name=f"answer-{number}", similar=similar(embed=embed))
        answer(FRANCE)
        assert answer(FRANCE_TOO) == f"{FRANCE} 1"


def test_coroutine_functions_and_their_embedders(cache):
    """A coroutine function's embedder and verifier may be awaited, or plain."""

    async def embed(text):
        await asyncio.sleep(0)
        return hashed_ngrams(text)

    async def verify(asked, stored):
        return True

    async def both(answer):
        await answer(FRANCE)
        return await answer(FRANCE_TOO)

    for number, options in enumerate(({"embed": Embedder(embed, name="a")}, {"verify": verify}, {})):
        answer = answering_async(cache, name=f"answer-{number}", similar=similar(**options))
        assert run(both(answer)) == f"{FRANCE} 1"


def test_an_openai_client_embeds(cache):
    """A client of OpenAI's shape is an embedder, named by its model."""

    class Response:
        def __init__(self, vector):
            self.data = [self]
            self.embedding = vector

    class Client:
        def __init__(self):
            self.embeddings = self

        def create(self, *, model, **given):
            return Response(hashed_ngrams(given["input"]))

    embed = Similar.openai(Client(), model="text-embedding-3-small")
    assert (embed.name, embed.is_async) == ("openai:text-embedding-3-small", False)
    answer = answering(cache, similar=similar(embed=embed))
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE} 1"


def test_a_gate_that_raises_later_ends_a_match(cache):
    """A gate that fails is closed, also for what was lent before, and where it is only explained."""
    broken = []

    def gate(asked, stored):
        if broken:
            raise RuntimeError("no network")
        return True

    answer = answering(cache, similar=similar(gates=[gate]))
    answer(FRANCE)
    assert answer(FRANCE_TOO) == f"{FRANCE} 1"
    broken.append(True)
    with pytest.warns(MemollmWarning, match="gates= raised") as told:
        assert "similar" not in str(answer.explain(FRANCE_TOO))
        assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"
    assert len(told) == 1


def test_names_and_versions_are_not_run_together(cache):
    """Embedders whose names and versions make one text when joined are two embedders (P8)."""
    for other in (Embedder(hashed_ngrams, name="x", version="1 2"), Embedder(hashed_ngrams, name='x", "1', version=2)):
        with Cache("memory:") as fresh:
            answering(fresh, similar=similar(embed=Embedder(hashed_ngrams, name="x 1", version="2")))(FRANCE)
            assert answering(fresh, similar=similar(embed=other))(FRANCE_TOO) == f"{FRANCE_TOO} 1"


def test_how_a_vector_is_read_is_part_of_an_embedder(cache):
    """Without a name, two ways to read what one function returns make two kinds of vectors (P8)."""

    def embed(text):
        return {"data": hashed_ngrams(text)}

    def read(given):
        return given["data"]

    def read_backwards(given):
        return given["data"][::-1]

    answering(cache, similar=similar(embed=Embedder(embed, read=read)))(FRANCE)
    answer = answering(cache, similar=similar(embed=Embedder(embed, read=read_backwards)))
    assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 1"
    assert answering(cache, similar=similar(embed=Embedder(embed, read=read)))(f"Please: {FRANCE}") == f"{FRANCE} 1"


MODEL = "small"


def test_what_an_embedder_reads_is_looked_at_again(cache, monkeypatch):
    """An embedder without a name is another one once what it reads has changed (P8)."""

    def embed(text):
        return hashed_ngrams(text) if MODEL == "small" else hashed_ngrams(text)[::-1]

    def verify(asked, stored):
        return MODEL == "small"

    for name, options in (("embed", {"embed": embed}), ("verify", {"verify": verify})):
        with monkeypatch.context() as patch:
            answer = answering(cache, name=name, similar=similar(**options))
            answer(FRANCE)
            assert answer(FRANCE_TOO) == f"{FRANCE} 1"
            patch.setitem(globals(), "MODEL", "large")
            assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"


# Modes and options.


def test_refresh_looks_for_nothing_and_is_found(cache):
    """`refresh` calls the function, and what it made is lent to others."""
    answer = answering(cache)
    answer(FRANCE)
    with memollm.mode("refresh"):
        assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"
        assert answer(FRANCE) == f"{FRANCE} 3"


def test_offline_gives_what_was_given_before(cache):
    """Without a call, what was matched before is given again, and nothing new is matched."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    with memollm.mode("offline"):
        assert answer(FRANCE_TOO) == f"{FRANCE} 1"
        with pytest.raises(CacheMiss):
            answer(FRANCE.replace("?", "!"))


def test_readonly_finds_and_notes_nothing(tmp_path):
    """A cache that is only read lends what it has, and keeps no match."""
    with Cache(tmp_path / "cache") as cache:
        answer = answering(cache)
        answer(FRANCE)
        with memollm.mode("readonly"):
            assert answer(FRANCE_TOO) == f"{FRANCE} 1"
        assert matching(cache.store).matches() == []


@pytest.mark.parametrize("answers", [answering, answering_async])
@pytest.mark.parametrize("insists", [False, True])
def test_a_function_that_only_reads_keeps_no_embedding(cache, answers, insists):
    """`mode="readonly"` of the function alone holds for what embeds and verifies, too: nothing is kept."""
    answering(cache)(FRANCE)
    before = looking(cache.store).inventory()
    options = {"similar": similar(verify=lambda asked, stored: asked != stored), "mode": "readonly"}
    answer = answers(cache).with_options(**options) if insists else answers(cache, **options)
    with memollm.mode("auto") if insists else nullcontext():
        lent = answer(FRANCE_TOO)
        assert (lent if answers is answering else run(lent)) == f"{FRANCE} 1"
    assert looking(cache.store).inventory() == before


def test_off_knows_nothing_of_it(cache):
    """`off` is the bare function."""
    answer = answering(cache)
    answer(FRANCE)
    with memollm.mode("off"):
        assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"


def test_a_budget_that_is_spent_gives_what_was_matched(cache):
    """What was matched before is no call, so no budget is in its way."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    with memollm.budget(calls=0):
        assert answer(FRANCE_TOO) == f"{FRANCE} 1"


def test_what_was_lent_is_given_back_to_budgets(cache):
    """A call that was set aside for a match is there for the next."""
    answer = answering(cache)
    answer(FRANCE)
    with memollm.budget(calls=3):
        answer(FRANCE_TOO)  # one embedding
        assert answer("Something else entirely?") == "Something else entirely? 2"


def test_gates_are_asked_once_about_what_is_lent_again(cache, monkeypatch):
    """What was lent before asks the named gates no more in a process, and those of the user's each time."""
    asked, open_to = [], [True]

    def own(asked_text, stored):
        return open_to[0]

    def passed(gates, *texts):
        asking = [*gates]
        asked.append([gate if isinstance(gate, str) else "own" for gate in asking])
        return gates_passed(asking, *texts)

    gates_passed = matcher.passed
    monkeypatch.setattr(matcher, "passed", passed)
    answer = answering(cache, similar=similar(gates=["numbers", own]))
    answer(FRANCE)
    assert [answer(FRANCE_TOO) for _ in range(3)] == [f"{FRANCE} 1"] * 3
    assert asked == [["numbers", "own"], ["own"], ["own"]]
    open_to[0] = False
    assert answer(FRANCE_TOO) == f"{FRANCE_TOO} 2"


@pytest.mark.parametrize("ask", [answering, answering_async])
def test_an_embedding_may_use_the_room_of_its_own_call(cache, ask):
    """A budget of one call pays an embedding and what it finds; if it finds nothing, the function has no room left."""

    def draw(function, text):
        return run(function(text)) if ask is answering_async else function(text)

    answer = ask(cache)
    draw(answer, FRANCE)
    with memollm.budget(calls=1) as spent:
        assert draw(answer, FRANCE_TOO) == f"{FRANCE} 1"
    assert spent.calls == 1
    with memollm.budget(calls=1) as spent:
        with pytest.raises(BudgetExceeded, match="1 of 1 calls are spent\\. Nothing was called"):
            draw(answer, "Something else entirely?")
        assert spent.calls == 1
    with memollm.budget(calls=1) as spent:  # The embedding is kept.
        assert draw(answer, "Something else entirely?") == "Something else entirely? 2"
        with pytest.raises(BudgetExceeded):
            draw(answer, "And what else?")
    with memollm.budget(calls=2) as spent:
        assert draw(answer, "A third thing?") == "A third thing? 3"
    assert spent.calls == 2


@pytest.mark.parametrize("ask", [answering, answering_async])
def test_the_programs_budget_has_room_for_an_embedding_as_well(cache, ask):
    """The budget of a whole program lets an embedding use the room of its call, and never gives the room twice."""

    def draw(function, text):
        return run(function(text)) if ask is answering_async else function(text)

    def spent():
        return limiting(cache.store).charge(current_program(), Charged())[0].calls

    before = spent()
    memollm.configure(cache=cache, budget={"calls": before + 5})
    answer = ask(cache)
    draw(answer, FRANCE)
    assert draw(answer, FRANCE_TOO) == f"{FRANCE} 1"
    assert draw(answer, f"Please tell me: {FRANCE}") == f"{FRANCE} 1"
    with pytest.raises(BudgetExceeded, match="of answer would exceed the budget of this program"):
        # There is room for the embedding, and none for the call behind it.
        draw(answer, "Something else entirely?")
    with pytest.raises(BudgetExceeded):
        draw(answer, "And what else?")
    cache.__memollm_engine__().leave()  # What is owed is told.
    assert spent() == before + 5
    memollm.configure(budget={"calls": before + 6})
    assert draw(answer, "Something else entirely?") == "Something else entirely? 2"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pool": None}, "asks for pool=1"),
        ({"pool": 2}, "asks for pool=1"),
        ({"ignore": "question"}, "what is compared must count"),
        ({"key": lambda question, model: question}, "similar= with key="),
        ({"keep_arguments": False}, "keep_arguments=False"),
        ({"similar": Similar("text", embed=hashed_ngrams, threshold=0.9)}, "no parameter 'text'"),
        ({"similar": "question"}, "must be a memollm.Similar"),
    ],
)
def test_what_contradicts_itself_is_refused(cache, options, told):
    """What cannot be is an error at decoration."""
    with pytest.raises(OptionError, match=told):
        answering(cache, **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "has no threshold="),
        ({"threshold": 0}, "above 0"),
        ({"threshold": 93}, "above 0"),
        ({"threshold": 0.9, "gates": "numbers"}, "must be a list"),
        ({"threshold": 0.9, "gates": ["number"]}, "numbers"),
        ({"threshold": 0.9, "verify": True}, "function of two texts"),
        ({"threshold": 0.9, "embed": "model"}, "function from a text"),
    ],
)
def test_what_no_option_can_be_is_refused(options, told):
    """What is no threshold, gate, verifier or embedder is an error where it is said."""
    with pytest.raises(OptionError, match=told):
        Similar("question", **{"embed": hashed_ngrams, **options})


def test_generators_and_colours_are_refused(cache):
    """Streams have no one answer, and a plain function awaits nothing."""

    async def embed(text):
        return hashed_ngrams(text)

    def stream(question):
        yield question

    with pytest.raises(OptionError, match="generator function"):
        cache.cached_llm(stream, similar=similar(), pool=1)
    with pytest.raises(OptionError, match="embed= is a coroutine function"):
        answering(cache, similar=similar(embed=embed))


def test_what_has_no_name_is_refused(cache):
    """An embedder that is no plain function needs a name, or its vectors could be another's."""
    answer = answering(cache, similar=Similar("question", embed=Counting(), threshold=0.9))
    with pytest.raises(OptionError, match=r"Name it: embed=memollm.Embedder"):
        answer(FRANCE)


def test_a_text_that_is_none_is_told(cache):
    """Similarity compares texts, and says so of anything else."""
    with pytest.raises(OptionError, match="question is a list in this call"):
        answering(cache)([FRANCE])


def test_a_store_without_vectors_says_so(cache):
    """A store that keeps no vectors is told by one error that names the way out."""

    class Plain(Drawing):
        def __init__(self, store):
            self.flights = store.flights
            for name in ("perform", "watch", "peek", "epoch", "close"):
                setattr(self, name, getattr(store, name))

    with Cache(Plain(Cache("memory:").store)) as other, pytest.raises(StoreRefused, match="keeps no vectors"):
        answering(other)(FRANCE)


# At once.


def test_threads_that_want_one_text_share_a_match(cache):
    """P5: of threads that ask for one text at once, all are given the match, and the function is not called."""
    answer = answering(cache)
    answer(FRANCE)
    barrier, got = threading.Barrier(8), []

    def ask():
        barrier.wait(30)
        got.append(answer(FRANCE_TOO))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == [f"{FRANCE} 1"] * 8
    assert answer.stats().total.similar == 8


def test_tasks_that_want_one_text_share_a_match(cache, monkeypatch):
    """P5: nor of tasks; whoever waits is told what was lent, and looks for nothing."""
    gate, texts, looked = threading.Event(), [], []
    known = Matcher.known
    monkeypatch.setattr(Matcher, "known", lambda self, *call: looked.append(call) or known(self, *call))

    def gated(text):
        texts.append(text)
        assert gate.wait(PATIENCE)
        return hashed_ngrams(text)

    answer = answering_async(cache, similar=similar(embed=Embedder(gated, name="gated")))

    async def ask():
        gate.set()
        await answer(FRANCE)
        gate.clear()
        looked.clear()
        asking = [asyncio.ensure_future(answer(FRANCE_TOO)) for _ in range(50)]
        await until_in_loop(lambda: waiting(cache) >= 49)
        gate.set()
        return await asyncio.gather(*asking)

    assert run(ask()) == [f"{FRANCE} 1"] * 50
    assert texts == [FRANCE, FRANCE_TOO]
    assert len(looked) == 1


@pytest.mark.parametrize("other", ["plain", "threshold", "shadow", "embedder", "gate", "verify"])
def test_whoever_waits_is_lent_by_its_own_rule_only(cache, other):
    """A task that waits for another's search is given what its own options would find, and nothing else (P5)."""
    gate = threading.Event()

    def gated(text):
        assert gate.wait(PATIENCE)
        return hashed_ngrams(text)

    embed = Embedder(gated, name="gated")
    options = {
        "plain": None,
        "threshold": similar(embed=embed, threshold=0.999),
        "shadow": similar(embed=embed, shadow=True),
        "embedder": similar(embed=Embedder(gated, name="another")),
        "gate": similar(embed=embed, gates=[lambda asked, stored: False]),
        "verify": similar(embed=embed, verify=lambda asked, stored: False),
    }[other]
    answer = answering_async(cache, similar=similar(embed=embed))
    another = answer.with_options(similar=options)

    async def ask():
        gate.set()
        await answer(FRANCE)
        gate.clear()
        first = asyncio.ensure_future(answer(FRANCE_TOO))
        await until_in_loop(lambda: bool(cache.store.flights.under_way))
        second = asyncio.ensure_future(another(FRANCE_TOO))
        await until_in_loop(lambda: waiting(cache) >= 1)
        gate.set()
        return await first, await second

    assert run(ask()) == (f"{FRANCE} 1", f"{FRANCE_TOO} 2")


def test_nothing_is_loaded_in_the_event_loop(cache, monkeypatch):
    """P12: what searching needs, NumPy and the embedder's code, is loaded where no event loop waits for it."""
    made = similarity.matcher_of
    threads = []
    monkeypatch.setattr(similarity, "matcher_of", lambda *given: threads.append(threading.get_ident()) or made(*given))
    answer = answering_async(cache)

    async def ask():
        await asyncio.gather(*(answer(f"{FRANCE} {number}") for number in range(3)))

    run(ask())
    assert threads
    assert threading.get_ident() not in threads


def test_a_cancelled_draw_leaves_its_match(cache):
    """P13: a search that has begun goes on, and the next draw finds what it has found."""
    begun = threading.Event()
    go_on = threading.Event()

    def slow(text):
        if text == FRANCE_TOO:
            begun.set()
            assert go_on.wait(30)
        return hashed_ngrams(text)

    answer = answering_async(cache, similar=similar(embed=Embedder(slow, name="slow")))

    async def ask():
        await answer(FRANCE)
        task = asyncio.ensure_future(answer(FRANCE_TOO))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        go_on.set()
        await asyncio.wait([task])
        return await answer(FRANCE_TOO)

    assert run(ask()) == f"{FRANCE} 1"


def test_the_time_of_the_search_is_not_the_functions(cache, monkeypatch):
    """What a sample took is what its function took, not what the search took before it (P14)."""
    seconds = [0.0]
    show_time(monkeypatch, lambda: seconds[0])

    def slow(text):
        seconds[0] += 5
        return hashed_ngrams(text)

    def answer(question):
        seconds[0] += 2
        return question

    similar_by_slow = similar(embed=Embedder(slow, name="slow"))
    ask = cache.cached_llm(answer, similar=similar_by_slow, pool=1, name="answer", version=1)
    with memollm.track() as tracked:
        ask(FRANCE)
    assert {event.function: event.latency for event in tracked.draws} == {"slow": 5, "answer": 2}
