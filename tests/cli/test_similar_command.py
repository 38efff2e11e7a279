"""`memollm similar`: what was lent, and which threshold fits."""

from __future__ import annotations

import json

import pytest

from memollm import Cache, Embedder, Similar
from memollm.testing import hashed_ngrams

FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me, what is the capital of France?"


@pytest.fixture
def filled(tmp_path):
    """Make a cache in which one call was lent another's sample, and one was only looked at."""
    folder = tmp_path / "similar"
    with Cache(folder) as cache:
        for name, options in (("answer", {"threshold": 0.8}), ("look", {"shadow": True})):
            similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), **options)
            answer = cache.cached_llm(lambda question: "Paris", similar=similar, pool=1, name=name, version=1)
            answer(FRANCE)
            answer(FRANCE_TOO)
    return folder


def test_lists_both_texts_and_the_score(memollm, filled):
    """Each pair is a line with its score, its texts, and whether it was lent or agreed."""
    listed = json.loads(memollm("similar", "--json", "--cache", filled).out)
    assert {(each["function"], each["shadow"], each["agreed"]) for each in listed} == {
        ("answer", False, None),
        ("look", True, True),
    }
    assert {(each["asked"], each["stored"]) for each in listed} == {(FRANCE_TOO, FRANCE)}
    shown = memollm("similar", "--full", "--cache", filled).out
    assert all(text in shown for text in (FRANCE, FRANCE_TOO, "lent", "agreed"))
    assert "lent" not in memollm("similar", "--function", "look", "--cache", filled).out


def test_reports_a_threshold(memollm, filled):
    """The report picks a threshold for the wanted precision, and says on how many pairs it stands."""
    shown = memollm("similar", "report", "--precision", "0.9", "--cache", filled).out
    assert "would have lent to 1 of 2 calls, 100.0% of that right" in shown
    assert "little to go by" in shown
    assert shown.startswith("A replay of 2 calls in the order in which they were made")
    told = json.loads(memollm("similar", "report", "--json", "--cache", filled).out)
    assert (told["thresholds"][-1]["precision"], told["thresholds"][-1]["calls"]) == (1, 2)
    assert told["measures"].startswith("A replay of 2 calls")
    assert "1 before them" in memollm("similar", "report", "--last", "1", "--cache", filled).out


def test_counts_what_was_lent(memollm, filled):
    """`stats` counts it apart from hits and from what was made."""
    assert "1 similar" in memollm("stats", "--cache", filled).out
    assert json.loads(memollm("stats", "--json", "--cache", filled).out)["counted"]["similar"] == 1


def test_each_embedder_is_reported_by_itself(memollm, filled):
    """Two embedders have two tables, the one that was used last first."""
    with Cache(filled) as cache:
        similar = Similar("question", embed=Embedder(hashed_ngrams, name="other"), shadow=True)
        look = cache.cached_llm(lambda question: "Rome", similar=similar, pool=1, name="look", version=1)
        look("What is the capital of Italy?")
        look("Tell me, what is the capital of Italy?")
    told = json.loads(memollm("similar", "report", "--json", "--cache", filled).out)
    assert told["embedder"].startswith("other ")
    assert [each["embedder"].partition(" ")[0] for each in told["others"]] == ["hashed"]
    assert memollm("similar", "report", "--cache", filled).out.count("A replay of 2 calls") == 2


@pytest.mark.parametrize("no", [0.0, [], "", None, False])
def test_what_verify_says_counts_by_its_truth(memollm, tmp_path, no):
    """An answer of `verify` that is false in Python is a no, in the command as in the library."""
    folder, said = tmp_path / "similar", iter(["0", no])
    with Cache(folder) as cache:
        verify = cache.cached_llm(lambda asked, stored: next(said), pool=1, name="reads", version=1)
        similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), verify=verify, shadow=True)
        look = cache.cached_llm(lambda question: question[-3:], similar=similar, pool=1, name="look", version=1)
        for text in ("the owl hunts", "so the owl hunts", "at night bats hunt", "so at night bats hunt"):
            look(text)
        lent = [line.lent for line in cache.similar_report("look").lines()]
    told = json.loads(memollm("similar", "report", "--function", "look", "--json", "--cache", folder).out)
    assert max(lent) == max(line["lent"] for line in told["thresholds"]) == 1
