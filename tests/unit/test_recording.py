"""Recordings: samples alone, the same bytes whenever they are written, which are read with care."""

from __future__ import annotations

import json
import sys

import numpy as np
import pydantic
import pytest
from models import numbering

import memollm
from memollm import Cache, MemollmError, OptionError, UntrustedRecord
from memollm.testing import configured


class Answer(pydantic.BaseModel):
    text: str
    more: list[int] = []


NAME = f"{Answer.__module__}.Answer"


def returning(cache, value, name="ask"):
    return cache.cached_llm(lambda prompt: value, name=name, version=1)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def edited(file, before, after):
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "recording.jsonl"


VALUES = ["yes", None, [1, 2.5, {"a": "é"}], "long " * 2000, (1, {2}), b"raw", np.arange(3), Answer(text="x", more=[1])]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_come_back_from_a_recording(file, value):
    """What is recorded is given again, equal and of its type, and recorded again it is the same bytes."""
    with Cache("memory:") as cache, Cache("memory:") as other:
        returning(cache, value)("x")
        assert cache.export(file, recording=True)[1:] == (1, 1, 0)
        before = file.read_bytes()
        assert other.load(file, trust=[NAME]).added == 1
        with memollm.mode("offline"):
            found = returning(other, None)("x")
        assert type(found) is type(value)
        assert np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value
        other.export(file, recording=True)
        assert file.read_bytes() == before


def test_a_recording_has_nothing_of_who_and_when(file):
    """No time, no count, no reader and no signature; the tokens of a sample are its own."""
    with Cache("memory:") as cache:
        ask = numbering(cache, usage=lambda _: memollm.Usage(input_tokens=3, output_tokens=1, cost=0.5))
        with memollm.namespace("a"):
            ask.draw(2, "x")
        cache.export(file, recording=True)
    samples = [line for line in lines(file) if line["is"] == "sample"]
    told = {"is": "sample", "input_tokens": 3, "output_tokens": 1, "cost": 0.5}
    assert samples == [{**told, "slot": 0, "value": "x 1"}, {**told, "slot": 1, "value": "x 2"}]
    assert {line["is"] for line in lines(file)} == {"memollm recording", "function", "call", "sample"}


def test_pickles_are_in_no_recording(file):
    """They are left out, and counted."""
    with Cache("memory:") as cache:
        returning(cache, lambda: 1)("x")
        assert cache.export(file, recording=True)[1:] == (0, 0, 1)


def test_an_edited_answer_is_read(file):
    """Whoever edits an answer, or an argument, has edited what is given."""
    with Cache("memory:") as cache, Cache("memory:") as other:
        returning(cache, "yes")("x")
        cache.export(file, recording=True)
        edited(file, '"value":"yes"', '"value": {"by": "hand"}')
        edited(file, '"prompt":"x"', '"prompt":"y"')
        other.load(file)
        with memollm.mode("offline"):
            assert returning(other, None)("y") == {"by": "hand"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"value":"yes"', '"value":', "line 4"),
        ('"value":"yes"', '"data":{"$":"tuple","v":1}', "the answer cannot be read"),
        ('"value":"yes"', '"value":1,"data":2', "one of value, data and model"),
        ('"slot":0', '"slot":-1', "line 4"),
        ('{"is":"sample"', '{"is":"simple"', "line 4"),
        ('{"is":"call"', '{"is":"memollm recording","version":1}\n{"is":"call"', "in the wrong place"),
        ('"version":1', '"version":9', "a newer memollm"),
        ('"latest":"version:1"', '"latest":"?"', "does not tell of a function"),
    ],
)
def test_what_is_no_sample_is_refused(file, before, after, told):
    """The error names the line, and nothing was loaded."""
    with Cache("memory:") as cache, Cache("memory:") as other:
        returning(cache, "yes")("x")
        cache.export(file, recording=True)
        edited(file, before, after)
        with pytest.raises(OptionError, match=told):
            other.load(file)
        assert other.export(file, recording=True).samples == 0


@pytest.mark.parametrize("trust", [(), ["openai.*"], ["Answer"]])
def test_a_class_is_read_only_if_it_is_trusted(file, trust):
    """P10: a recording is signed by nobody, so that its reader says which classes it may name."""
    with Cache("memory:") as cache, Cache("memory:") as other:
        returning(cache, Answer(text="x"))("x")
        cache.export(file, recording=True)
        with pytest.raises(UntrustedRecord, match=NAME):
            other.load(file, trust=trust)


@pytest.mark.parametrize(
    "name",
    [
        f"{Answer.__module__}:Answer[subprocess:Popen]",
        "subprocess:Popen",
        f"{Answer.__module__}:Answer[$(x)]",
        f"{Answer.__module__}:Answer subprocess:Popen",
    ],
)
def test_no_other_class_hides_behind_a_trusted_one(file, name, monkeypatch):
    """P10: each class of a name must be trusted, wherever in the record it stands, and nothing of it is imported."""
    with Cache("memory:") as cache, Cache("memory:") as other:
        returning(cache, [Answer(text="x")])("x")
        cache.export(file, recording=True)
        edited(file, f"{Answer.__module__}:Answer", name)
        monkeypatch.setitem(sys.modules, "subprocess", None)
        with pytest.raises(UntrustedRecord):
            other.load(file, trust=[NAME])


def test_a_recording_is_of_all_functions(file):
    """Parts are for exports; what is asked for besides is refused."""
    with Cache("memory:") as cache, pytest.raises(OptionError, match="all functions"):
        cache.export(file, recording=True, function="ask")


def test_settings_for_the_time_of_a_block():
    """`configured` sets what is set from code, and puts back what was, also after an error."""
    with Cache("memory:") as cache:
        ask = numbering(cache)
        memollm.configure(mode="readonly")
        with pytest.raises(MemollmError, match="offline"), configured(mode="offline"):
            ask("x")
        with configured(mode=None):
            assert ask("x") == "x 1"
        ask.draw(2, "y")
        memollm.configure(mode=None)
        assert ask.peek("y") == []
