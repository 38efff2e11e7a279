"""Tokens and cost are found in what providers and libraries return, once each, and finding them never fails."""

from __future__ import annotations

import dataclasses
import types
from typing import NamedTuple

import numpy as np
import pytest
from anthropic._models import construct_type as anthropic_type
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings, strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, LLMResult
from openai._models import construct_type as openai_type
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, PrivateAttr

from memollm import OptionError
from memollm._spending.usage import LAST, Usage, find_usage, of_results, usages_of_call

CHAT_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 8},
}
CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5-mini", "choices": [], "usage": CHAT_USAGE}
RESPONSE_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 120,
}
RESPONSE = {"id": "resp_1", "object": "response", "model": "gpt-5-mini", "output": [], "usage": RESPONSE_USAGE}
ANTHROPIC_USAGE = {
    "input_tokens": 16,
    "cache_read_input_tokens": 64,
    "cache_creation_input_tokens": 20,
    "output_tokens": 20,
}
ANTHROPIC = {"id": "msg_1", "type": "message", "model": "claude-sonnet-4-5", "content": [], "usage": ANTHROPIC_USAGE}
GEMINI_USAGE = {
    "prompt_token_count": 90,
    "tool_use_prompt_token_count": 10,
    "cached_content_token_count": 64,
    "candidates_token_count": 12,
    "thoughts_token_count": 8,
    "total_token_count": 120,
}
GEMINI_REST = {
    "candidates": [],
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 64,
        "candidatesTokenCount": 12,
        "thoughtsTokenCount": 8,
    },
}
LANGCHAIN_USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_token_details": {"cache_read": 64, "cache_creation": 20},
}
BEDROCK = {
    "output": {"message": {}},
    "usage": {"inputTokens": 16, "outputTokens": 20, "cacheReadInputTokens": 64, "cacheWriteInputTokens": 20},
}
OPENAI = Usage(100, 20, None, "gpt-5-mini", 64)
CLAUDE = Usage(100, 20, None, "claude-sonnet-4-5", 64, 20)
GEMINI = Usage(100, 20, None, "gemini-2.5-flash", 64)


class LiteLLMAnswer(BaseModel, extra="allow"):
    """As LiteLLM's: what it knows besides is private to the model."""

    id: str = "chatcmpl-2"
    model: str = "gpt-5-mini"
    usage: dict = CHAT_USAGE
    _hidden_params: dict = PrivateAttr(default_factory=lambda: {"response_cost": 0.0123})


class Slotted:
    __slots__ = ("reply", "text")

    def __init__(self, text, reply):
        self.text, self.reply = text, reply


@dataclasses.dataclass
class Answer:
    text: str
    reply: object


class Named(NamedTuple):
    text: str
    usage: object
    model: str


def object_of(value):
    """Give what a mapping holds as attributes, as the SDKs that are not installed here do."""
    if isinstance(value, dict):
        return types.SimpleNamespace(**{name: object_of(each) for name, each in value.items()})
    return value


def chat(**changes):
    return openai_type(value={**CHAT, **changes}, type_=ChatCompletion)


SHOWN = {
    "openai chat": (chat(), OPENAI),
    "openai chat, dict": (CHAT, OPENAI),
    "openai response": (openai_type(value=RESPONSE, type_=Response), OPENAI),
    "openai response, dict": (RESPONSE, OPENAI),
    "openai embeddings": (
        openai_type(
            value={"object": "list", "model": "m", "data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}},
            type_=CreateEmbeddingResponse,
        ),
        Usage(7, model="m"),
    ),
    "openai legacy completion": (
        openai_type(
            value={"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
            type_=Completion,
        ),
        Usage(7, 2, model="m"),
    ),
    "openai-like, thoughts in the total alone": (
        {"model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 15}},
        Usage(7, 8, model="m"),
    ),
    "total alone": ({"model": "voyage-3", "usage": {"total_tokens": 7}}, Usage(7, model="voyage-3")),
    "deepseek": (
        {"usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}},
        Usage(9, 1, cached_tokens=4),
    ),
    "anthropic": (anthropic_type(value=ANTHROPIC, type_=Message), CLAUDE),
    "anthropic, dict": (ANTHROPIC, CLAUDE),
    "gemini": (object_of({"model_version": "gemini-2.5-flash", "usage_metadata": GEMINI_USAGE}), GEMINI),
    "gemini, dict": ({"model_version": "gemini-2.5-flash", "usage_metadata": GEMINI_USAGE}, GEMINI),
    "gemini, REST": (GEMINI_REST, GEMINI),
    "litellm": (LiteLLMAnswer(), OPENAI._replace(cost=0.0123)),
    "openrouter": (chat(usage={**CHAT_USAGE, "cost": 0.5}), OPENAI._replace(cost=0.5)),
    "openrouter, own key": (
        {**CHAT, "usage": {**CHAT_USAGE, "cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 2}}},
        OPENAI._replace(cost=2.5),
    ),
    "perplexity": ({**CHAT, "usage": {**CHAT_USAGE, "cost": {"total_cost": 0.5}}}, OPENAI._replace(cost=0.5)),
    "langchain message": (
        AIMessage("a", usage_metadata=LANGCHAIN_USAGE, response_metadata={"model_name": "claude-sonnet-4-5"}),
        CLAUDE,
    ),
    "langchain message, provider's words": (
        AIMessage("a", response_metadata={"model": "gpt-5-mini", "token_usage": {**CHAT_USAGE, "cost": 0.5}}),
        OPENAI._replace(cost=0.5),
    ),
    "langchain result": (
        LLMResult(
            generations=[[ChatGeneration(message=AIMessage("a"))]],
            llm_output={"token_usage": CHAT_USAGE, "model_name": "gpt-5-mini"},
        ),
        OPENAI,
    ),
    "cohere": (
        {"id": "c", "usage": {"billed_units": {"input_tokens": 5.0, "output_tokens": 2.0}, "tokens": {}}},
        Usage(5, 2),
    ),
    "cohere, first interface": (object_of({"meta": {"billed_units": {"input_tokens": 5.0}}}), Usage(5)),
    "bedrock converse": (BEDROCK, Usage(100, 20, None, None, 64, 20)),
    "ollama": ({"model": "llama3", "prompt_eval_count": 5, "eval_count": 2}, Usage(5, 2, model="llama3")),
    "ours": (Usage(5, 2), Usage(5, 2)),
    "its own counts": ({"text": "a", "input_tokens": 5, "output_tokens": 2, "cost": 0.5}, Usage(5, 2, 0.5)),
    "in a dict": ({"answer": "a", "reply": chat()}, OPENAI),
    "beside its response": ({"response": CHAT, "usage": CHAT_USAGE}, OPENAI),
    "in a dataclass": (Answer("a", chat()), OPENAI),
    "in slots": (Slotted("a", chat()), OPENAI),
    "in a tuple": (("a", chat()), OPENAI),
    "in a tuple, twice": ((reply := chat(), reply.usage), OPENAI),
    "in a named tuple": (Named("a", CHAT_USAGE, "gpt-5-mini"), OPENAI),
    "several answers": ([chat(), chat(id="chatcmpl-2")], OPENAI + OPENAI),
    "several answers, named": ({"one": chat(), "other": chat(id="chatcmpl-2")}, OPENAI + OPENAI),
}


@pytest.mark.parametrize("name", SHOWN)
def test_usage_is_found_in_what_providers_and_libraries_return(name):
    """Input is all input, output all output, whoever told them; model and cost are found where they are told."""
    result, expected = SHOWN[name]
    assert find_usage(result) == expected


NOTHING = {
    "text": "a",
    "none": None,
    "vector": [0.5] * 1_536,
    "numpy": np.zeros(8),
    "texts": ["a", "b"],
    "no list": [],
    "dict": {"label": "a", "score": 1},
    "dict of lists": {"input_tokens": [1, 2, 3], "output_tokens": [4]},
    "truth is no count": {"usage": {"input_tokens": True}},
    "negative counts": {"usage": {"input_tokens": -1, "output_tokens": float("nan")}},
    "dataclass": Answer("a", None),
    "chat without usage": chat(usage=None),
    "class": Answer,
    "function": find_usage,
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_shows_no_usage_has_none(name):
    """Where nothing is told, nothing is made up."""
    assert find_usage(NOTHING[name]) is None


# Streams.


def chunk(**changes):
    value = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-5-mini", "choices": [], **changes}
    return openai_type(value=value, type_=ChatCompletionChunk)


def events(*values):
    return [anthropic_type(value=value, type_=RawMessageStreamEvent) for value in values]


ANTHROPIC_EVENTS = (
    {"type": "message_start", "message": {**ANTHROPIC, "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 16, "output_tokens": 20}},
    {"type": "message_stop"},
)
STREAMS = {
    "openai chat": ([chunk(), chunk(), chunk(usage=CHAT_USAGE)], OPENAI),
    "openai chat, counting on": (
        [chunk(usage={**CHAT_USAGE, "completion_tokens": 3}), chunk(usage=CHAT_USAGE)],
        OPENAI,
    ),
    "openai response": (
        [
            openai_type(value={"type": f"response.{kind}", "response": response}, type_=ResponseStreamEvent)
            for kind, response in [("created", {**RESPONSE, "usage": None}), ("completed", RESPONSE)]
        ],
        OPENAI,
    ),
    "anthropic": (events(*ANTHROPIC_EVENTS), CLAUDE),
    "anthropic, dicts": (list(ANTHROPIC_EVENTS), CLAUDE),
    "anthropic, with its message at the end": (
        [*ANTHROPIC_EVENTS, {"type": "message_stop", "message": ANTHROPIC}],
        CLAUDE,
    ),
    "gemini": (
        [
            object_of({"model_version": "gemini-2.5-flash", "usage_metadata": {**GEMINI_USAGE, **counts}})
            for counts in (
                {"candidates_token_count": None, "thoughts_token_count": 2},
                {"candidates_token_count": 5},
                {},
            )
        ],
        GEMINI,
    ),
    "langchain": (
        [
            AIMessageChunk(
                "a",
                id="run-1",
                usage_metadata={"input_tokens": 100, "output_tokens": 4, "total_tokens": 104},
                response_metadata={"model_name": "m"},
            ),
            AIMessageChunk("b", id="run-1"),
            AIMessageChunk("", id="run-1", usage_metadata={"input_tokens": 0, "output_tokens": 16, "total_tokens": 16}),
        ],
        Usage(100, 20, model="m"),
    ),
    "langchain, model in a chunk of its own": (
        [
            AIMessageChunk("a", usage_metadata={"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}),
            AIMessageChunk("", response_metadata={"model_name": "m"}),
        ],
        Usage(9, 2, model="m"),
    ),
    "bedrock converse": (
        [{"contentBlockDelta": {"delta": {"text": "a"}}}, {"metadata": {"usage": BEDROCK["usage"]}}],
        Usage(100, 20, None, None, 64, 20),
    ),
    "texts, then what they took": (["a", "b", chat()], OPENAI),
    "one after the other": ([*ANTHROPIC_EVENTS, chunk(), chunk(usage=CHAT_USAGE)], (CLAUDE + OPENAI)),
    "a long one": ([*events(*ANTHROPIC_EVENTS[:1]), *["a"] * 2 * LAST, *events(*ANTHROPIC_EVENTS[1:])], CLAUDE),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_counts_once_what_its_chunks_tell_again_and_again(name):
    """Counts that grow from chunk to chunk are taken at their largest, what each chunk adds is added."""
    chunks, expected = STREAMS[name]
    assert find_usage(chunks) == expected


# Whatever comes.


class Hostile:
    """An object whose every attribute raises."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


class Moody(BaseModel):
    text: str = "a"

    @property
    def usage(self):
        raise ValueError("not yet")


class Refusing(dict):
    def get(self, *_):
        raise KeyError("no")

    def values(self):
        raise OSError("no")


NAMES = st.sampled_from(
    [
        "usage",
        "usage_metadata",
        "response_metadata",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "model",
        "id",
        "a",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.builds(Hostile)
    | st.builds(Moody)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES, inner, max_size=4)
        | st.dictionaries(NAMES, inner, max_size=4).map(lambda fields: types.SimpleNamespace(**fields))
        | st.dictionaries(NAMES, inner, max_size=4).map(Refusing)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(ANYTHING)
def test_finding_usage_never_raises(result):
    """Whatever a function returns, looking for usage gives a usage or nothing."""
    found = find_usage(result)
    assert found is None or type(found) is Usage


def test_what_raises_hides_nothing_that_stands_beside_it():
    """An object that cannot be looked at does not keep the others from being seen."""
    assert find_usage([Hostile(), Moody(), chat()]) == OPENAI
    assert find_usage({"a": Moody(), "b": chat()}) == OPENAI


def test_little_of_a_large_result_is_looked_at():
    """A mapping of many values costs no more than a small one."""
    looked = []

    class Large(dict):
        def values(self):
            for _ in range(10_000):
                looked.append(1)
                yield {}

    assert find_usage(Large(a=1)) is None
    assert len(looked) < 100


# Adding.

COSTS = st.none() | st.integers(0, 1 << 20).map(lambda n: n / 1024)
USAGES = st.builds(
    Usage,
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    COSTS,
    st.sampled_from([None, "a", "b"]),
    st.integers(0, 9),
    st.integers(0, 9),
)


@settings(deadline=None)
@given(USAGES, USAGES, USAGES)
def test_adding_is_associative_and_commutative(one, two, three):
    """In which order usages are added makes no difference."""
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one


def test_adding_keeps_what_is_known():
    """Tokens and cost add up; a cost that only one tells stands, and the model where it is the same."""
    assert Usage(1, 2, None, "m", 3, 4) + Usage(1, 2, 0.5, "m", 3, 4) == Usage(2, 4, 0.5, "m", 6, 8)
    assert Usage(model="a") + Usage(model="b") == Usage()
    assert (Usage(1) + Usage(1)).cost is None


# One call.


def test_a_call_of_several_samples_counts_once():
    """What the call returned counts before its samples; what all samples show alike is the call's."""
    assert of_results(chat(), ["a", "b"]) == OPENAI
    answers = [{"text": text, "usage": CHAT_USAGE, "model": "gpt-5-mini"} for text in "abc"]
    assert of_results(answers, answers) == OPENAI
    copies = [{"text": text, "usage": {"prompt_tokens": 5, "completion_tokens": 2}} for text in "abc"]
    assert of_results(copies, copies) == Usage(5, 2)
    assert of_results(tuple(copies), copies) == Usage(5, 2)


def test_samples_that_differ_in_usage_add_up():
    """Results of a batch that each tell their own counts are added."""
    each = [Usage(1, 2), Usage(3, 4)]
    assert of_results(each, each) == Usage(4, 6)
    assert of_results([*each, "a"], [*each, "a"]) == Usage(4, 6)
    assert of_results(["a", "b"], ["a", "b"]) is None


def test_one_sample_may_be_a_stream():
    """The chunks of one sample are read as a stream, also where a list of one sample was returned."""
    chunks = [chunk(), chunk(usage={**CHAT_USAGE, "completion_tokens": 3}), chunk(usage=CHAT_USAGE)]
    assert of_results(chunks, [chunks]) == OPENAI
    assert of_results([chunks], [chunks]) == OPENAI


GIVEN = {
    "usage": (Usage(1, 2, 3), Usage(1, 2, 3.0)),
    "fields": ({"input_tokens": 1, "cost": None, "cached_tokens": 1}, Usage(1, cached_tokens=1)),
    "provider's mapping": (CHAT_USAGE, OPENAI._replace(model=None)),
    "provider's mapping, part of it": ({"prompt_tokens": 5, "cost": 1}, Usage(5, cost=1.0)),
    "provider's object": (chat().usage, OPENAI._replace(model=None)),
    "a response": (chat(), OPENAI),
    "dollars": (0.25, Usage(cost=0.25)),
    "whole dollars": (2, Usage(cost=2.0)),
    "nothing": (None, None),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_users_own_function_decides(name):
    """What `usage=` returns is taken, whatever the result itself shows."""
    told, expected = GIVEN[name]
    seen = []
    found = usages_of_call(chat(), [chat()], lambda returned: seen.append(returned) or told)
    assert found == ([] if expected is None else [expected])
    assert seen == [chat()]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("3 tokens", "a str in which no tokens"),
        (True, "a bool in which no tokens"),
        ({}, "a dict in which no tokens"),
        ({"input_token": 3}, "It has 'input_token'. Did you mean 'input_tokens'?"),
        ({"input_tokens": "3"}, "input_tokens='3': it must be a whole number"),
        (Usage(input_tokens=-1), "input_tokens=-1: it must be a whole number"),
        (Usage(cost=float("nan")), "cost=nan: it must be dollars"),
        (-1.0, "cost=-1.0: it must be dollars"),
        ({"model": 3}, "model=3: it must be the model's name"),
    ],
)
def test_a_usage_function_that_returns_something_else_is_told_what_it_may(told, message):
    """What cannot be usage is an error that names `usage=` and what it takes."""
    with pytest.raises(OptionError, match=r"usage= returned") as caught:
        usages_of_call("a", ["a"], lambda _: told)
    assert message in str(caught.value)
