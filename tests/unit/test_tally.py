"""Counting equal answers: what of a sample is its answer, and how the counts are shown."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pydantic
import pytest

from memollm import AnswerCounts, OptionError
from memollm._upkeep.answers import answer_text, response_text

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"b": 2, "a": 1}'}}


def chat(text, at=0, **message):
    """Return what OpenAI's chats return, as JSON; no two are equal."""
    return {
        "id": f"chatcmpl-{at}",
        "object": "chat.completion",
        "created": 1_700_000_000 + at,
        "model": "small",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


RESPONSE = {
    "id": "resp-1",
    "object": "response",
    "created_at": 1,
    "model": "small",
    "output": [
        {"id": "r1", "type": "reasoning", "summary": []},
        {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "three", "annotations": []}],
        },
        {"id": "f1", "type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "small",
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "three"},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
    ],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class Verdict(pydantic.BaseModel):
    score: int
    reason: str = ""


@dataclass
class Point:
    x: int
    y: float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("three", "three"),
        (chat("three"), "three"),
        (chat(None, tool_calls=[CALL]), 'add({"a": 1, "b": 2})'),
        (chat(None, refusal="I will not."), "I will not."),
        ({"choices": [{"index": 0, "text": "three"}]}, "three"),
        ({"choices": [{"message": {"role": "assistant", "content": text}} for text in "ab"]}, "a\nb"),
        (RESPONSE, 'three\nadd({"a": 1})'),
        (MESSAGE, 'three\nadd({"a": 1})'),
        (MESSAGE["content"], 'three\nadd({"a": 1})'),
        ({"candidates": [{"content": {"parts": [{"text": "th"}, {"text": "ree"}], "role": "model"}}]}, "three"),
        ({"message": {"role": "assistant", "content": "three"}, "done": True}, "three"),
        ({"text": "three", "model": "small", "usage": {"prompt_tokens": 1}}, "three"),
        (Verdict(score=3), '{"reason": "", "score": 3}'),
        ([Verdict(score=3)], '[{"reason": "", "score": 3}]'),
        (Point(1, 2.0), '{"x": 1, "y": 2.0}'),
        ({"b": 1, "a": [None, True]}, '{"a": [null, true], "b": 1}'),
        ({"choices": ["red", "blue"]}, '{"choices": ["red", "blue"]}'),
        ({"output": "three"}, '{"output": "three"}'),
        ([{"type": "fruit", "name": "fig"}], '[{"name": "fig", "type": "fruit"}]'),
        ({1: "a", "b": 2}, "{1: 'a', 'b': 2}"),
        (3, "3"),
        (None, "null"),
        ([], "[]"),
    ],
)
def test_what_of_a_result_is_its_answer(value, text):
    """The text of a response and the tools that it calls; all else is text as it is, or JSON."""
    assert answer_text(value) == text


EVENTS = [
    {"type": "message_start", "message": {}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "thr"}},
    {"type": "text", "text": "thr", "snapshot": "thr"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ee"}},
    {"type": "message_stop"},
]
SPOKEN = [{"type": "response.output_text.delta", "delta": part} for part in ("thr", "ee")]
DELTAS = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("", "thr", "ee")]


@pytest.mark.parametrize(
    "chunks",
    [
        ["thr", "ee"],
        [*DELTAS, {"choices": [], "usage": {}}],
        EVENTS,
        [
            {"type": "response.created"},
            *({"type": "response.output_text.delta", "delta": part} for part in ("thr", "ee")),
        ],
        [{"candidates": [{"content": {"parts": [{"text": part}]}}]} for part in ("thr", "ee")],
    ],
)
def test_what_of_a_stream_is_its_answer(chunks):
    """The chunks put together say what a whole answer would; how it was cut does not matter."""
    assert answer_text(chunks, is_stream=True) == "three"


def test_chunks_that_nobody_knows_are_shown_as_they_are():
    """A stream of other things is a list of them, and so is a list of texts that is no stream."""
    assert answer_text([{"part": 1}, {"part": 2}], is_stream=True) == '[{"part": 1}, {"part": 2}]'
    assert answer_text(["thr", "ee"]) == '["thr", "ee"]'
    assert response_text(EVENTS) == response_text(DELTAS) == "three"


def test_responses_are_counted_by_their_texts(cache):
    """Twenty responses of a provider that differ in their ids are few answers, the most frequent first."""
    made = iter(range(20))

    @cache.cached_llm(namespace="a", version=1)
    def ask(prompt):
        at = next(made)
        return chat("four" if at % 3 == 0 else "three", at)

    ask.draw(20, "1 + 2?")
    counts = ask.tally("1 + 2?")
    assert (list(counts.items()), type(counts)) == ([("three", 13), ("four", 7)], AnswerCounts)
    assert ask.tally("2 + 2?") == {}
    assert next(made, None) is None


def test_the_text_that_is_compared_can_be_said(cache):
    """`text=` says what of a result is its answer, in the decorator and in `with_options`."""
    drawn = iter(["So it is 3", "It is 3 ", "I say 4"])

    @cache.cached_llm(namespace="a", version=1, text=str.strip)
    def ask(prompt):
        return next(drawn)

    ask.draw(3, "1 + 2?")
    assert set(ask.tally("1 + 2?")) == {"So it is 3", "It is 3", "I say 4"}
    last = ask.with_options(text=lambda answer: answer.split()[-1])
    assert list(last.tally("1 + 2?").items()) == [("3", 2), ("4", 1)]
    with pytest.raises(OptionError, match=r"text= of .*ask returned a int: it must return the text"):
        ask.with_options(text=len).tally("1 + 2?")


@pytest.mark.parametrize("wrong", ["strip", 3])
def test_what_cannot_be_a_text_function_is_refused(cache, wrong):
    """`text=` is a plain function."""
    with pytest.raises(OptionError, match=r"text=.*must be a function"):
        cache.cached_llm(text=wrong)


def test_streams_methods_batches_and_doors_count(cache):
    """Every kind of function counts what it drew: chunks put together, a coroutine's answers, an object's, a door's."""

    @cache.cached_llm(namespace="a", version=1)
    def stream(prompt):
        yield from ("thr", "ee")

    @cache.cached_llm(namespace="a", version=1)
    async def ask(prompt):
        return "three"

    class Agent:
        @cache.cached_llm(namespace="a", version=1, ignore=("self",))
        def ask(self, prompt):
            return "three"

    agent, door = Agent(), cache.door("chat", namespace="a", text=str.upper)
    list(stream("x"))
    asyncio.run(ask.draw(2, "x"))
    agent.ask("x")
    door.draw({"q": 1}, lambda: "three", 2)
    tallies = [stream.tally("x"), ask.tally("x"), agent.ask.tally("x"), door.tally({"q": 1})]
    assert tallies == [{"three": 1}, {"three": 2}, {"three": 1}, {"THREE": 2}]


def test_counts_print_as_a_table(cache):
    """In a terminal and in a notebook the counts are a table; what an answer holds is no markup and no escape."""
    counts = AnswerCounts({"b": 1, "<b>a\x1b</b>": 3, "x" * 200: 1})
    lines = str(counts).splitlines()
    assert repr(counts) == str(counts)
    assert lines[0].split() == ["answer", "times", "share"]
    assert lines[1].split()[-2:] == ["3", "60%"]
    assert "\x1b" not in lines[1]
    assert max(map(len, lines)) < 100
    assert "&lt;b&gt;a" in counts._repr_html_()
    assert str(AnswerCounts()) == "answer  times  share"
    assert json.loads(json.dumps(counts))["b"] == 1
