"""Answers of the real SDKs come back as they were."""

import os
import subprocess
import sys
import typing

import numpy as np
import pydantic
import pytest
from anthropic._models import construct_type as anthropic_type
from anthropic.types import Message
from langchain_core.messages import AIMessage
from openai._models import construct_type as openai_type
from openai.lib._parsing._completions import parse_chat_completion
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from stored_types import Verdict

from memollm._upkeep.answers import answer_text
from memollm._values import classes
from memollm._values.codec import Codec
from memollm._values.schema import schema_of
from memollm._values.signing import Signer
from memollm._views.reading import shown
from memollm.errors import StaleRecord

CODEC = Codec(signer=Signer(b"k" * 32), pickle=False)

TOKEN = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105]}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-5-mini",
    "service_tier": "default",
    "provider": "someone",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "native_finish_reason": "tool",
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "reasoning": "Because.",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a": [1]}'}},
                ],
            },
            "logprobs": {"content": [{**TOKEN, "top_logprobs": [TOKEN]}], "refusal": None},
        },
    ],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "Hello", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"a": [1, {"b": None}]}},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 7, "a_new_count": 3},
}


def received(construct, type_, data):
    """Build an answer as the SDK's client does: without validation, and with the request's id beside the fields."""
    answer = construct(value=data, type_=type_)
    answer._request_id = "req_1"
    return answer


ANSWERS = {
    "openai": lambda: ChatCompletion.model_validate(COMPLETION),
    "openai received": lambda: received(openai_type, ChatCompletion, COMPLETION),
    "openai unknown tier": lambda: received(openai_type, ChatCompletion, {**COMPLETION, "service_tier": "?", "id": 5}),
    "anthropic": lambda: Message.model_validate(MESSAGE),
    "anthropic received": lambda: received(anthropic_type, Message, MESSAGE),
    "langchain": lambda: AIMessage(
        content=[{"type": "text", "text": "Hi"}],
        tool_calls=[{"name": "find", "args": {"a": 1}, "id": "c1"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m", "logprobs": (1.0, float("-inf"))},
    ),
    "langchain text": lambda: AIMessage("Hello"),
    "parsed": lambda: parse_chat_completion(
        response_format=Verdict,
        input_tools=[],
        chat_completion=ChatCompletion.model_validate(said('{"label": "yes", "why": ["x"]}')),
    ),
}


def said(text):
    message = {"role": "assistant", "content": text, "refusal": None}
    return {**COMPLETION, "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}]}


def everything(value):
    """List each part of an answer with its type and, for models, what was set, undeclared, private and beside."""
    if hasattr(value, "__pydantic_fields_set__"):
        parts = (vars(value), value.__pydantic_extra__, value.__pydantic_private__)
        return (type(value), sorted(value.__pydantic_fields_set__), [everything(part) for part in parts])
    if isinstance(value, dict):
        return (type(value), {key: everything(value[key]) for key in sorted(value)})
    if isinstance(value, (list, tuple)):
        return (type(value), [everything(part) for part in value])
    return (type(value), value)


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_of_sdks_come_back_whole(kind):
    """Every field, extra, type and set of fields of an SDK's answer comes back, without pickle."""
    answer = ANSWERS[kind]()
    back = CODEC.decode(CODEC.encode(answer))
    assert type(back) is type(answer)
    assert back == answer
    assert everything(back) == everything(answer)


def test_received_answers_keep_the_request_id():
    """What an SDK hangs beside the fields comes back too."""
    assert CODEC.decode(CODEC.encode(ANSWERS["openai received"]()))._request_id == "req_1"


def test_answers_are_stored_about_as_small_as_they_were_sent():
    """A received answer takes little more room than its own JSON."""
    for kind in ("openai received", "anthropic received"):
        answer = ANSWERS[kind]()
        assert len(CODEC.encode(answer)) < len(answer.to_json(indent=None)) + 250


def test_embeddings_take_their_raw_size():
    """A float32 embedding is stored in its own bytes; the SDK's own response comes back too."""
    vector = np.random.default_rng(1).standard_normal(1_536).astype(np.float32)
    assert len(CODEC.encode(vector)) < vector.nbytes + 100
    data = [{"object": "embedding", "index": 0, "embedding": vector.astype(float).tolist()}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    response = openai_type(
        value={"object": "list", "model": "m", "data": data, "usage": usage}, type_=CreateEmbeddingResponse
    )
    assert CODEC.decode(CODEC.encode(response)).data[0].embedding == data[0]["embedding"]


def test_reading_answers_looks_for_no_files(monkeypatch):
    """Whose program it is, is found out once, not for every class of every record."""
    record = CODEC.encode(ANSWERS["openai received"]())
    CODEC.decode(record)
    monkeypatch.setattr(os, "stat", refused)
    assert CODEC.decode(record).id == "chatcmpl-1"


@pytest.mark.parametrize("kind", ["openai", "openai received", "anthropic", "anthropic received"])
def test_answers_of_an_unchanged_class_are_built_once_and_no_more(kind, monkeypatch):
    """Whether the class loses anything is asked when it is written, and again only if the class is another."""
    answer = ANSWERS[kind]()
    record = CODEC.encode(answer)
    monkeypatch.setattr(classes, "_dump_model", refused)
    assert everything(CODEC.decode(record)) == everything(answer)


def refused(*_args, **_kwargs):
    raise AssertionError("it is not asked for")


def test_another_process_knows_an_unchanged_class_again():
    """The digest of a class is the same under every hash seed and wherever its classes lie in memory."""
    source = "from openai.types.chat import ChatCompletion as C; C.model_rebuild(); " + ASKING
    told = {
        subprocess.run(
            [sys.executable, "-c", source], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert b"''" not in told.pop()


ASKING = "from memollm._values.schema import schema_of; print(repr(schema_of(C)))"


def shape(name, field, **namespace):
    """Make a class of pydantic models of this module, in the place of the one before."""
    made = pydantic.create_model(name, __module__=__name__, x=field, **namespace)
    globals()[name] = made
    return made


def test_a_class_that_validates_otherwise_is_noticed():
    """A field that drops what was stored is found when the record is read; so is one that a validator changes."""
    record = CODEC.encode(shape("Shape", (int | str, ...))(x="one"))
    shape("Shape", (typing.Annotated[str, pydantic.AfterValidator(str.upper)], ...))
    with pytest.raises(StaleRecord, match=r"Shape\.x is lost or changed"):
        CODEC.decode(record)
    assert schema_of(globals()["Shape"]) == ""


def test_classes_are_told_apart_by_what_they_validate_by():
    """The same fields are the same class; a type, a bound or a rule for undeclared fields makes another."""
    digests = [
        schema_of(shape("Shape", field, __config__=config))
        for config in (None, pydantic.ConfigDict(extra="allow"))
        for field in ((int, ...), (str, ...), (int, pydantic.Field(ge=1)), (int, pydantic.Field(ge=2)))
    ]
    assert len(set(digests)) == 8
    assert "" not in digests
    assert schema_of(shape("Shape", (int, ...))) == digests[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("openai", 'find({"a": [1]})'),
        ("openai received", 'find({"a": [1]})'),
        ("anthropic", 'Hello\nfind({"a": [1, {"b": null}]})'),
        ("anthropic received", 'Hello\nfind({"a": [1, {"b": null}]})'),
        ("langchain", 'Hi\nfind({"a": 1})'),
        ("langchain text", "Hello"),
        ("parsed", '{"label": "yes", "why": ["x"]}'),
    ],
)
def test_the_text_of_an_answer_is_found_in_objects_and_in_records(name, text):
    """What people compare is the same whether the object is at hand, or only what is stored of it is read."""
    answer = ANSWERS[name]()
    assert answer_text(answer) == text
    read = shown(CODEC, CODEC.encode(answer), b"")
    assert (read.answer, read.is_response) == (text, True)
