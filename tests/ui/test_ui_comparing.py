"""Two namespaces side by side: which calls are a pair, and in what their answers differ."""

from __future__ import annotations

import re

import pytest
from visiting import handed_over, refused, told, visited

import memollm
from memollm import Cache
from memollm.stores.looking import looking
from memollm.testing import FakeModel


@pytest.fixture
def in_memory():
    with Cache("memory:") as made:
        yield made


def drawn_twice(cache):
    """Draw as two namespaces: other models, other answers, other numbers of draws."""
    answers = {
        ("sun", "small"): "yes yes no", ("sun", "large"): "no no yes",
        ("moon", "small"): "yes", ("moon", "large"): "yes",
        ("star", "small"): "yes yes no", ("star", "large"): "yes yes maybe", ("only", "small"): "yes",
    }  # fmt: skip
    left = {asked: said.split() for asked, said in answers.items()}

    @cache.cached_llm(name="ask", version=1)
    def ask(prompt, model="small"):
        return left[prompt, model].pop(0)

    for (prompt, model), said in answers.items():
        with memollm.namespace("baseline" if model == "small" else "larger"):
            ask.draw(len(said.split()), prompt, model=model)
    with memollm.namespace("again"):
        ask("sun")
    return handed_over(cache)


def test_two_namespaces_are_paired_by_call(cache):
    """Calls that differ only in what the two differ in throughout are a pair; which answers differ is told."""
    with visited(drawn_twice(cache)) as client:
        found = told(client.get("/api/compare?one=baseline&other=larger"))
        assert found["apart"] == ["model"]
        assert found["counts"] == {
            "vote": 1, "answers": 1, "draws": 0, "unknown": 0, "one": 1, "other": 0, "same": 1,
        }  # fmt: skip
        pairs = {re.search(r"prompt: (\w+)", each["summary"])[1]: each for each in found["pairs"]}
        sun = pairs["sun"]
        assert sun["differs"] == "vote"
        assert sun["changed"] == [["model", '"small"', '"large"']]
        assert [(times, text["text"]) for times, text in sun["one"]["answers"]] == [(2, "yes"), (1, "no")]
        assert [(times, text["text"]) for times, text in sun["other"]["answers"]] == [(2, "no"), (1, "yes")]
        assert {name: each["differs"] for name, each in pairs.items()} == {
            "sun": "vote", "star": "answers", "only": "one", "moon": "same",
        }  # fmt: skip
        alone = told(client.get("/api/compare?one=baseline&other=larger&differs=one"))
        assert [each["other"] for each in alone["pairs"]] == [None]


def test_the_same_call_is_a_pair(cache):
    """P2: two namespaces read one sequence, so what differs is how far they have come."""
    with visited(drawn_twice(cache)) as client:
        found = told(client.get("/api/compare?one=baseline&other=again&differs=answers"))
        (pair,) = found["pairs"]
        assert (pair["one"]["slots"], pair["other"]["slots"], pair["changed"]) == (3, 1, [])
        assert pair["one"]["key"] == pair["other"]["key"]
        assert found["apart"] == []
        assert refused(client.get("/api/compare?one=baseline&other=nobody"))[0] == 400


def test_questions_that_have_nothing_in_common_are_no_pair(cache):
    """Where several could be meant, nobody guesses."""
    ask = cache.cached_llm(name="ask", version=1)(FakeModel())
    for namespace, prompts in (("one", "ab"), ("other", "cd")):
        with memollm.namespace(namespace):
            for prompt in prompts:
                ask(prompt)
    with visited(handed_over(cache)) as client:
        counts = told(client.get("/api/compare?one=one&other=other"))["counts"]
        assert (counts["one"], counts["other"]) == (2, 2)


def compared(cache, asked):
    """Draw as `one` and as `other`, and return how many pairs differ in what, and what is set aside."""

    @cache.cached_llm(name="ask", version=1)
    def ask(*, prompt=None, topic=None, messages=None, body=None, query=None, model="", temperature=0, **options):
        return "same"

    for namespace, calls in asked.items():
        with memollm.namespace(namespace):
            for call in calls:
                ask(**call)
    with visited(handed_over(cache)) as client:
        found = told(client.get("/api/compare?one=one&other=other"))
    return {name: number for name, number in found["counts"].items() if number}, found["apart"]


def test_another_question_is_no_pair(in_memory):
    """Neither beside many that are common, nor where the temperature is all that two have in common."""
    common = [{"prompt": f"common {at}"} for at in range(3)]
    asked = {"one": [*common, {"prompt": "Everest?"}], "other": [*common, {"prompt": "Caesar?"}]}
    assert compared(in_memory, asked) == ({"one": 1, "other": 1, "same": 3}, [])


@pytest.mark.parametrize("name", ["prompt", "topic"])
def test_what_has_only_a_number_in_common_is_no_pair(name, in_memory):
    """Questions are paired by a question, whatever it is called."""
    asked = {
        space: [{name: f"{space} asks {at}", "model": space, "temperature": at / 2} for at in range(3)]
        for space in ("one", "other")
    }
    assert compared(in_memory, asked) == ({"one": 3, "other": 3}, [])


def test_a_value_that_both_have_is_not_set_aside(in_memory):
    """One namespace has asked both models, so they do not differ in it throughout."""
    asked = {
        "one": [{"topic": f"q {at}", "model": "small"} for at in range(3)],
        "other": [*({"topic": f"q {at}", "model": "large"} for at in range(3)), {"topic": "new", "model": "small"}],
    }
    assert compared(in_memory, asked) == ({"one": 3, "other": 4}, [])


def chat(system, at):
    said = [{"role": "system", "content": system}] if system else []
    return [*said, {"role": "user", "content": f"q {at}"}]


@pytest.mark.parametrize(
    ("asked", "apart"),
    [
        (lambda space, at: {"messages": chat(space, at), "model": "m"}, ["messages.system"]),
        (lambda space, at: {"messages": chat("be brief" * (space == "one"), at)}, ["messages.system"]),
        (lambda space, at: {"body": {"input": f"q {at}", "model": space}, "query": {}}, ["body.model"]),
        (lambda space, at: {"body": {"messages": chat(space, at), "model": "m"}}, ["body.messages.system"]),
        (lambda space, at: {"prompt": f"q {at}", "top_p": 1 if space == "one" else 0.5}, ["options.top_p"]),
        (
            lambda space, at: {"body": {"input": f"q {at}", **({"temperature": 0} if space == "one" else {})}},
            ["body.temperature"],
        ),
    ],
    ids=["system", "one without a system", "body", "system in a body", "options", "one without a temperature"],
)
def test_a_model_and_a_systems_message_are_found_inside(asked, apart, in_memory):
    """What wrapped clients and the proxy send is one argument, and a chat is one list."""
    calls = {space: [asked(space, at) for at in range(3)] for space in ("one", "other")}
    assert compared(in_memory, calls) == ({"same": 3}, apart)


def test_a_vote_of_what_cannot_be_read_is_unknown(in_memory):
    """P14: a damaged sample is not another answer."""
    calls = {space: [{"prompt": "q", "model": space}] for space in ("one", "other")}
    assert compared(in_memory, calls) == ({"same": 1}, ["model"])
    samples = in_memory.store._content.samples[looking(in_memory.store).survey()[0].call]
    samples[0] = samples[0]._replace(record=b"\x00\x01")
    assert compared(in_memory, {}) == ({"unknown": 1}, ["model"])
