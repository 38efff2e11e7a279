"""Stored calls without a vector are embedded, so that similar ones find them."""

# A lambda is no method, whose object would be a part of the key.
# ruff: noqa: PLW0108

from __future__ import annotations

import warnings

import pytest
from models import run

import memollm
from memollm import BudgetExceeded, Cache, Embedder, OptionError, Similar
from memollm.testing import hashed_ngrams

FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me, what is the capital of France?"
OTHERS = ("Who wrote Hamlet?", "Why is the sky blue?", "How do I boil an egg?")


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path):
    with Cache("memory:" if request.param == "memory" else tmp_path / "cache") as made:
        yield made


class Embedding:
    """The user's embedder: what it was asked, each time, and whether it is down."""

    def __init__(self):
        self.asked = []
        self.down = False
        self.fails = None

    def one(self, text):
        self.asked.append(text)
        if self.down or text == self.fails:
            raise ConnectionError("down")
        return hashed_ngrams(text)

    def several(self, texts):
        self.asked.append([*texts])
        return [hashed_ngrams(text) for text in texts]

    async def one_later(self, text):
        return self.one(text)

    async def several_later(self, texts):
        return self.several(texts)


def plain(cache, **options):
    return cache.cached_llm(
        lambda question, model="m": f"to {question}", **{"pool": 1, "name": "answer", "version": 1, **options}
    )


def later(cache, **options):
    async def answer(question, model="m"):
        return f"to {question}"

    return cache.cached_llm(answer, **{"pool": 1, "name": "answer", "version": 1, **options})


def similar(embed, **options):
    return Similar("question", embed=embed, **{"threshold": 0.8, **options})


@pytest.fixture
def embedding():
    return Embedding()


@pytest.mark.parametrize("kind", ["plain", "batch", "coroutine", "coroutine batch", "plain of a coroutine function"])
def test_calls_from_before_are_found(cache, embedding, kind):
    """What was stored before `similar=` was given is embedded once, and lent then."""
    before = plain(cache)
    for text in (FRANCE, *OTHERS):
        before(text)
    before(FRANCE, model="n")
    function = getattr(embedding, {"plain": "one", "batch": "several", "coroutine": "one_later"}.get(kind, "one"))
    if kind == "coroutine batch":
        function = embedding.several_later
    embed = Embedder(function, name="counted", batch="batch" in kind)
    made = plain if kind in {"plain", "batch"} else later
    answer = made(cache, similar=similar(embed))

    def done(value):
        return value if made is plain else run(value)

    assert done(answer.index_similar()) == 5
    # The texts of two models are one text, and are embedded once where they are asked for one by one.
    texts = [text for each in embedding.asked for text in ([each] if isinstance(each, str) else each)]
    assert {*texts} == {FRANCE, *OTHERS}
    assert len(embedding.asked) <= (1 if "batch" in kind else 5)
    assert done(answer.index_similar()) == 0
    number = len(embedding.asked)
    assert done(answer(FRANCE_TOO)) == f"to {FRANCE}"
    assert done(answer(FRANCE_TOO, model="n")) == f"to {FRANCE}"
    assert len(embedding.asked) == number + 1, "the new text alone"


def test_an_embedding_is_the_same_memo_whoever_asks(cache, embedding):
    """What was embedded together with others is known where a search asks for one, and the other way round."""
    embed = Embedder(embedding.several, name="counted", batch=True)
    plain(cache)(FRANCE)
    answer = plain(cache, similar=similar(embed))
    answer(OTHERS[0])
    other = plain(cache, name="other")
    for text in (FRANCE, OTHERS[0]):
        other(text)
    assert answer.index_similar() == 1
    assert plain(cache, name="other", similar=similar(embed)).index_similar() == 2
    assert embedding.asked == [[OTHERS[0]], [FRANCE]]


def test_what_fails_is_done_by_the_next(cache, embedding):
    """Where an embedding fails, the error is told, what was done stays, and another try does the rest."""
    before = plain(cache)
    for text in (FRANCE, *OTHERS):
        before(text)

    def embed(text):
        if embedding.down and text == OTHERS[0]:
            raise ConnectionError("down")
        return embedding.one(text)

    answer = plain(cache, similar=similar(Embedder(embed, name="sometimes")))
    embedding.down = True
    embedding.one = lambda text: (embedding.asked.append(text), hashed_ngrams(text))[1]
    with pytest.raises(ConnectionError):
        answer.index_similar(concurrency=1)
    done = len(embedding.asked)
    assert answer.index_similar(on_error="skip") == 3 - done
    embedding.down = False
    assert answer.index_similar() == 1
    assert sorted(embedding.asked) == sorted((FRANCE, *OTHERS))


def test_it_obeys_a_budget(cache, embedding):
    """An embedding is a call: where there is no room for it, none is made, and what was made is kept."""
    before = plain(cache)
    for text in (FRANCE, *OTHERS):
        before(text)
    answer = plain(cache, similar=similar(Embedder(embedding.one, name="counted")))
    with memollm.budget(calls=2), pytest.raises(BudgetExceeded):
        answer.index_similar(concurrency=1)
    assert len(embedding.asked) == 2
    assert answer.index_similar() == 2


def test_a_text_whose_embedding_failed_is_tried_again_by_the_next(cache, embedding):
    """The next search among the same calls embeds it, once; and it lends."""
    answer = plain(cache, similar=similar(Embedder(embedding.one, name="counted")))
    embedding.down = True
    with pytest.warns(memollm.MemollmWarning, match="embed= raised"):
        assert answer(FRANCE) == f"to {FRANCE}"
    embedding.down = False
    assert answer(OTHERS[0], model="another") == f"to {OTHERS[0]}"
    assert embedding.asked == [FRANCE, OTHERS[0]], "not among the same calls"
    assert answer(FRANCE_TOO) == f"to {FRANCE}"
    assert embedding.asked == [FRANCE, OTHERS[0], FRANCE_TOO, FRANCE]
    assert answer(OTHERS[1]) == f"to {OTHERS[1]}"
    assert embedding.asked[4:] == [OTHERS[1]]


def test_an_embedder_that_stays_down_is_asked_no_more_than_once_again(cache, embedding):
    """A text that fails twice waits for `index_similar`."""
    answer = plain(cache, similar=similar(Embedder(embedding.one, name="counted")))
    embedding.down = True
    with pytest.warns(memollm.MemollmWarning, match="embed= raised"):
        answer(FRANCE)
    for text in (*OTHERS, FRANCE_TOO):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", memollm.MemollmWarning)
            answer(text)
    assert embedding.asked.count(FRANCE) == 1, "where the search has no vector of its own, nothing else is tried"
    embedding.down = False
    embedding.fails = FRANCE
    for text in ("a b c", "d e f", "g h i"):
        answer(text)
    assert embedding.asked.count(FRANCE) == 2


def test_other_embedders_and_versions_are_left_alone(cache, embedding):
    """Only calls of the version that runs are embedded, and each embedder has vectors of its own."""
    plain(cache, version=0)(FRANCE)
    answer = plain(cache, similar=similar(Embedder(hashed_ngrams, name="one")))
    answer(FRANCE)
    other = plain(cache, similar=similar(Embedder(embedding.one, name="another")))
    assert (answer.index_similar(), other.index_similar(), len(embedding.asked)) == (0, 1, 1)


def test_an_embedder_that_memoizes_itself_indexes_too(cache, embedding):
    """One that is decorated is asked as it is, also one that takes a list."""
    before = plain(cache)
    for text in (FRANCE, *OTHERS):
        before(text)
    one = cache.cached_llm(lambda text: embedding.one(text), pool=1, name="one", version=1)
    assert plain(cache, similar=similar(one)).index_similar() == 4
    several = cache.cached_llm(lambda texts: embedding.several(texts), pool=1, name="several", version=1, batch="texts")
    answer = plain(cache, similar=similar(Embedder(several, batch=True)))
    assert answer.index_similar() == 4
    assert answer(FRANCE_TOO) == f"to {FRANCE}"
    assert len(embedding.asked) == 4 + 2


@pytest.mark.parametrize("mode", ["off", "offline", "readonly"])
def test_modes_that_keep_nothing_refuse(cache, mode):
    """Where nothing would be kept, nothing is embedded, and it says so; so does a function without `similar`."""
    answer = plain(cache, similar=similar(Embedder(hashed_ngrams, name="hashed")), mode=mode)
    with pytest.raises(OptionError, match="index_similar"):
        answer.index_similar()
    with pytest.raises(OptionError, match="no similar="):
        plain(cache).index_similar()
    with pytest.raises(OptionError, match="on_error"):
        answer.index_similar(on_error="return")
