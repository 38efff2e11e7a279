"""Similar calls on the stores of servers: lent across machines, read by guests, moved between stores, mended."""

import itertools

import pytest

from memollm import Cache, Embedder, Similar, mode
from memollm._types.listings import Move
from memollm.stores.keeping import keeping
from memollm.stores.matching import matching
from memollm.testing import hashed_ngrams
from memollm.testing._matching import asking, digest_of, match_of, vector_of

FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me, what is the capital of France?"
FRANCE_THIRD = "Please tell me, what is the capital of France?"


pytestmark = pytest.mark.usefixtures("team_key")


@pytest.fixture(params=["postgres", "redis"])
def server(request):
    """Give each kind of server."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def reader(server, request):
    """Return the URL of a user of it who may only read."""
    return request.getfixturevalue("guest" if server is request.getfixturevalue("postgres") else "redis_guest")


def answering(cache, says, **options):
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.8)
    given = {"similar": similar, "pool": 1, "name": "answer", "version": 1, **options}
    return cache.cached_llm(lambda question: f"{says} to {question}", **given)


def test_what_one_machine_has_asked_is_lent_on_another(server):
    """Vectors that others add are found by one that has searched before, and what was lent is lent to all."""
    url = server.fresh()
    with Cache(url) as one, Cache(url) as other:
        here, there = answering(one, "here"), answering(other, "there")
        assert here("Something else entirely") == "here to Something else entirely"
        assert there(FRANCE) == f"there to {FRANCE}"
        assert here(FRANCE_TOO) == f"there to {FRANCE}"
        assert there(FRANCE_TOO) == f"there to {FRANCE}"
        assert len(matching(one.store).matches()) == 1
        here.forget(FRANCE)
        assert there(FRANCE_TOO) == f"there to {FRANCE_TOO}"


def test_who_may_only_read_is_lent_and_keeps_nothing(server, reader):
    """A user without the right to write is given what matches, and leaves no match and no vector."""
    with Cache(server.fresh()) as cache, Cache(reader) as guest:
        answering(cache, "here")(FRANCE)
        read = answering(guest, "guest")
        with mode("readonly"):
            assert read(FRANCE_TOO) == f"here to {FRANCE}"
            assert read("Something else entirely") == "guest to Something else entirely"
        kept = matching(cache.store)
        (vector,) = kept.vectors_of(answering(cache, "")._self_invocation((FRANCE,), {}).keyed())
        assert (len(kept.vectors(vector.space.digest(vector.call.form), 0)), kept.matches()) == (1, [])
        answering(cache, "here")(FRANCE_TOO)
        with mode("readonly"):
            assert read(FRANCE_TOO) == f"here to {FRANCE}"


def test_vectors_and_matches_go_round_all_stores(redis, postgres, tmp_path):
    """A cache that is copied lends as before, wherever it goes, and copying it twice changes nothing (P2)."""
    places = [tmp_path / "first", redis.fresh(), postgres.fresh(), tmp_path / "last"]
    first, *others = caches = [Cache(place) for place in places]
    answering(first, "first")(FRANCE)
    answering(first, "first")(FRANCE_TOO)
    (match,) = matching(first.store).matches()
    for here, there in itertools.pairwise(caches):
        for _ in range(2):
            here.copy(there)
        assert matching(there.store).matches() == [match]
        assert matching(there.store).vectors_of(match.of) == matching(first.store).vectors_of(match.of)
    for cache in others:
        again = answering(cache, "called")
        assert (again(FRANCE_TOO), again(FRANCE_THIRD)) == (f"first to {FRANCE}", f"first to {FRANCE}")
        cache.close()
    first.close()


# What is done in several steps on Redis.


@pytest.fixture
def store(redis):
    """Give a Redis store, to be looked into by hand."""
    from memollm.stores.redis.store import RedisStore

    store = RedisStore(redis.fresh())
    yield store
    store.close()


def test_who_dies_before_the_vector_is_kept_is_passed_over(store, monkeypatch):
    """A call on the list without a vector is in nobody's way, and is taken off the list later."""
    from memollm.stores.redis import matching as redis_matching

    a, b = asking("a"), asking("b")
    kept, space = store.matching, digest_of(a)
    for call in (a, b):
        kept._listed(space, [kept._tag(call)], "new")
    kept.learn(vector_of(b))
    assert [vector for _, vector in kept.vectors(space, 0)] == [vector_of(b).vector]
    key = kept._key_of(space)
    assert store.ask("ZCARD", key) == 2
    monkeypatch.setattr(redis_matching, "ABANDONED", -10)
    kept.vectors(space, 0)
    assert store.ask("ZCARD", key) == 1
    kept.learn(vector_of(a))
    assert [vector for _, vector in kept.vectors(space, 0)] == [vector_of(b).vector, vector_of(a).vector]


def test_who_read_too_early_reads_it_again(store, monkeypatch):
    """A vector that is kept after others were read, though listed before them, is above what was read."""
    a, b = asking("a"), asking("b")
    kept, space, seen = store.matching, digest_of(a), []
    keep = kept._keep

    def keep_late(asked, what):
        monkeypatch.undo()
        store.matching.learn(vector_of(b))
        seen.extend(store.matching.vectors(space, 0))
        return keep(asked, what)

    monkeypatch.setattr(kept, "_keep", keep_late)
    kept.learn(vector_of(a))
    assert [vector for _, vector in seen] == [vector_of(b).vector]
    assert [vector for _, vector in store.matching.vectors(space, seen[-1][0])] == [vector_of(a).vector]


def test_moving_that_was_cut_short_is_done_again(store, monkeypatch):
    """Wherever who moves calls is killed, whoever comes next brings all there, once."""
    from memollm.stores.redis.matching import RedisMatching
    from memollm.testing._bench import Hand, Want

    a, asked, other = asking("a"), asking("b"), asking("c")
    new, other_new = asking("a", "tests.new"), asking("c", "tests.new")
    for call in (a, other):
        store.matching.learn(vector_of(call))
        hand = Hand(store, Want(call, None, 1, None))
        hand.fill(b"sample")
        hand.settle()
    store.matching.note(match_of(asked, a), match_of(other, a, shadow=True))
    moves = [Move(a, new), Move(other, other_new)]

    def fail(*_):
        raise RuntimeError("killed")

    for step in ("_learn", "note", "_pass_on", "clear"):
        with monkeypatch.context() as patch:
            patch.setattr(RedisMatching, step, fail)
            with pytest.raises(RuntimeError, match="killed"):
                keeping(store).adopt(moves, lambda _, record: record)
        for call in (a, other):
            for owner in store.ask("HKEYS", leases := f"{store.base(call)}:o"):
                # The lease of whoever was killed is over.
                store.ask("HSET", leases, owner, 1)
    keeping(store).adopt(moves, lambda _, record: record)
    found = store.matching.vectors(digest_of(new), 0)
    assert {*store.matching.calls_of(digest_of(new), [at for at, _ in found]).values()} == {new, other_new}
    assert {*store.matching.matches()} == {match_of(asked, new), match_of(other_new, new, shadow=True)}
    assert len(store.matching.vectors(digest_of(a), 0)) == 0
