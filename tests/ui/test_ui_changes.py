"""Changes from the live page: what one would do is shown, and just that is done when it is agreed to."""

from __future__ import annotations

import pytest
from report_cache import call_of, store_samples
from visiting import OWN, refused, told, visited, wish

import memollm
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.testing import FakeModel


def stored(cache):
    return cache.holds().samples


@pytest.fixture
def drawn(cache):
    """Draw three samples of one call as a namespace, and store two others."""
    ask = cache.cached_llm(name="ask", version=1)(FakeModel())
    with memollm.namespace("baseline"):
        ask.draw(3, "a")
    store_samples(cache, call_of("f", prompt="old"), "x", "y", cost=0.5, stored=1_000.0)
    return cache, ask


def test_a_forget_is_foreseen_and_changes_nothing_until_it_is_agreed_to(drawn):
    """What would go, what it cost and who has drawn it is told; then just that goes."""
    cache, ask = drawn
    with visited(cache) as client:
        foreseen = told(wish(client, change="forget", keys=[ask.key("a")]))
        assert foreseen["sentence"].startswith("Forget 1 call with 3 samples")
        assert foreseen["rows"] == [["What it cost", "unknown"], ["Drawn by", "baseline: 3"]]
        assert [each["function"] for each in foreseen["calls"]] == ["ask"]
        assert (foreseen["done"], stored(cache)) == (False, 5)
        done = told(wish(client, change="forget", keys=[ask.key("a")], agreed=foreseen["stamp"]))
        assert (done["done"], done["sentence"], stored(cache)) == (True, "3 samples forgotten.", 2)
        assert told(client.get("/api/calls"))["found"] == 1
        assert ask.peek("a") == []


def test_what_has_changed_since_it_was_foreseen_is_not_done(drawn):
    """Somebody draws a further sample meanwhile: the agreement was to something else."""
    cache, ask = drawn
    with visited(cache) as client:
        stamp = told(wish(client, change="forget", keys=[ask.key("a")]))["stamp"]
        with memollm.namespace("baseline"):
            ask("a")
        status, line = refused(wish(client, change="forget", keys=[ask.key("a")], agreed=stamp))
        assert (status, "nothing was done" in line, stored(cache)) == (409, True, 6)
        for guess in ("", "x", stamp[:-1], 1, True, [stamp]):
            assert wish(client, change="forget", keys=[ask.key("a")], agreed=guess).status_code == 409
        other = told(wish(client, change="prune", max_samples="0"))["stamp"]
        assert wish(client, change="forget", keys=[ask.key("a")], agreed=other).status_code == 409
        assert stored(cache) == 6


def test_a_prune_is_foreseen(drawn):
    """How much goes and stays, and which go first."""
    cache, _ = drawn
    with visited(cache) as client:
        foreseen = told(wish(client, change="prune", max_samples="4", max_bytes="", older_than=" ", policy="fifo"))
        assert foreseen["rows"][0][1].startswith("1 call, 2 samples")
        assert [each["summary"] for each in foreseen["calls"]] == ["prompt: old"]
        assert stored(cache) == 5
        done = told(wish(client, change="prune", max_samples="4", policy="fifo", agreed=foreseen["stamp"]))
        assert done["sentence"] == "1 call with 2 samples removed; 3 samples kept."
        assert stored(cache) == 3
        idle = told(wish(client, change="prune", max_samples="4"))
        assert (idle["stamp"], idle["sentence"]) == ("", "Every limit holds already; nothing is to go.")


def test_an_adoption_is_foreseen(drawn):
    """Samples of an older version are given to the latest one, once that is agreed to."""
    cache, _ = drawn
    newer = cache.cached_llm(name="ask", version=2)(FakeModel())
    newer.key("a")
    with visited(cache) as client:
        (function,) = [each for each in told(client.get("/api/versions")) if each["name"] == "ask"]
        assert [(each["version"], each["samples"], each["role"]) for each in function["versions"]] == [
            ("version:2", 0, "latest"),
            ("version:1", 3, "previous"),
        ]
        foreseen = told(wish(client, change="adopt", name="ask", version="version:1"))
        assert foreseen["rows"][1] == ["Samples", "3 of its version version:1"]
        assert newer.peek("a") == []
        told(wish(client, change="adopt", name="ask", version="version:1", agreed=foreseen["stamp"]))
        assert newer.peek("a") == ["a #1", "a #2", "a #3"]
        assert refused(wish(client, change="adopt", name="ask", version="version:1"))[0] == 400


@pytest.mark.parametrize(
    "wished",
    [
        {},
        {"change": "drop"},
        {"change": ["forget"]},
        {"change": "forget"},
        {"change": "forget", "keys": "all"},
        {"change": "forget", "keys": []},
        {"change": "forget", "keys": [1]},
        {"change": "forget", "keys": ["00"]},
        {"change": "forget", "keys": ["0"] * 501},
        {"change": "prune"},
        {"change": "prune", "max_samples": "-1"},
        {"change": "prune", "max_samples": 0},
        {"change": "prune", "max_samples": "many"},
        {"change": "prune", "max_samples": "9" * 5000},
        {"change": "prune", "max_bytes": "much"},
        {"change": "prune", "older_than": "long"},
        {"change": "prune", "max_samples": "0", "policy": "best"},
        {"change": "prune", "max_samples": "0", "dry_run": False},
        {"change": "adopt"},
        {"change": "adopt", "name": "nobody"},
        {"change": "adopt", "name": "\x1b[31m"},
    ],
    ids=lambda wished: str(wished)[:80],
)
def test_what_cannot_be_meant_is_refused_in_one_line(wished, drawn):
    """Nothing is guessed, and nothing changed."""
    cache, _ = drawn
    with visited(cache) as client:
        status, line = refused(client.post("/api/change", json=wished, headers=OWN))
        assert (status, "\x1b" in line, stored(cache)) == (400, False, 5)


def forms(cache):
    return sorted(each.call.form for each in looking(cache.store).survey())


@pytest.mark.parametrize("policy", ["lru", "fifo"])
def test_another_call_than_the_one_shown_does_not_go(cache, policy):
    """P14: what would go has become another call of the same size, so nothing goes."""
    old, new = call_of("f", prompt="aaa"), call_of("f", prompt="bbb")
    store_samples(cache, old, "x", stored=1_000.0)
    store_samples(cache, new, "x", stored=2_000.0)
    asked = {"change": "prune", "max_samples": "1", "policy": policy}
    with visited(cache) as client:
        client.get("/api/calls")
        foreseen = told(wish(client, **asked))
        assert [each["summary"] for each in foreseen["calls"]] == ["prompt: aaa"]
        keeping(cache.store).forget(old)
        store_samples(cache, old, "x", stored=3_000.0)
        assert wish(client, **asked, agreed=foreseen["stamp"]).status_code == 409
        assert forms(cache) == sorted([old.form, new.form])
        again = told(wish(client, **asked))
        assert [each["summary"] for each in again["calls"]] == ["prompt: bbb"]
        told(wish(client, **asked, agreed=again["stamp"]))
        assert forms(cache) == [old.form]


def test_samples_go_to_the_version_that_was_shown(drawn):
    """The version is named, and if there is a newer one by then, nothing is adopted."""
    cache, _ = drawn
    cache.cached_llm(name="ask", version=2)(FakeModel()).key("a")
    asked = {"change": "adopt", "name": "ask", "version": "version:1"}
    with visited(cache) as client:
        foreseen = told(wish(client, **asked))
        assert foreseen["rows"][2] == ["Adopted by", "its latest version version:2"]
        newest = cache.cached_llm(name="ask", version=3)(FakeModel())
        newest.key("a")
        assert wish(client, **asked, agreed=foreseen["stamp"]).status_code == 409
        assert newest.peek("a") == []


def test_what_was_replaced_meanwhile_is_not_forgotten(cache):
    """As many samples for as much money, but others: nobody has agreed to that."""
    call = call_of("f", prompt="a")
    store_samples(cache, call, "x", stored=1_000.0)
    with visited(cache) as client:
        stamp = told(wish(client, change="forget", keys=[call.key.hex()]))["stamp"]
        keeping(cache.store).forget(call)
        store_samples(cache, call, "y", stored=2_000.0)
        assert wish(client, change="forget", keys=[call.key.hex()], agreed=stamp).status_code == 409
