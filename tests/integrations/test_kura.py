"""Kura: what it summarizes is kept by `GetSet`, summary by summary, in the place of its own cache strategies."""

from __future__ import annotations

import gc
from datetime import UTC, datetime

import pytest

pytest.importorskip("kura")

import instructor
from kura.summarisation import SummaryModel
from kura.types import Conversation, Message
from models import run

import memollm
from memollm import Cache, CacheMiss
from memollm.integrations.getset import GetSet

# What Kura does within itself is its own business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::memollm.MemollmWarning")]

assert instructor.from_provider  # Kura imports it at its first summary, which takes its time.
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture(autouse=True)
def served(provider, monkeypatch):
    """Have Kura's own client ask the provider; what it leaves open is closed here, where no warning counts."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    monkeypatch.setenv("OPENAI_API_KEY", provider.key)
    yield
    gc.collect()


def talks(*contents):
    return [
        Conversation(
            chat_id=f"chat {content}",
            created_at=NOON,
            messages=[Message(created_at=NOON, role="user", content=content)],
            metadata={},
        )
        for content in contents
    ]


def summaries(kept, conversations):
    return run(SummaryModel(model="openai/gpt-4o-mini", cache=kept).summarise(conversations))


def test_summaries_are_made_once(cache, provider):
    """With `pool=1` a second run asks for what is new alone, and is given Kura's own objects."""
    kept = GetSet(name="summaries, gpt-4o-mini", cache=cache, pool=1)
    first = summaries(kept, talks("a", "b", "c"))
    asked = len(provider.requests)
    again = summaries(kept, talks("a", "b", "c", "d"))
    assert again[:3] == first
    assert type(again[0]) is type(first[0])
    assert len(provider.requests) == asked + 1


def test_a_stage_that_failed_goes_on(cache, provider):
    """What was summarized before an error is stored, and a rerun asks for the rest alone."""
    kept = GetSet(name="summaries, gpt-4o-mini", cache=cache, pool=1)
    summaries(kept, talks("a"))
    provider.fail(400)
    with pytest.raises(Exception, match="400"):
        summaries(kept, talks("a", "b"))
    before = provider.calls
    assert [each.chat_id for each in summaries(kept, talks("a", "b"))] == ["chat a", "chat b"]
    assert provider.calls == before + 1


def test_namespaces_summarize_anew(cache, provider):
    """P1, P2: in another draw of a namespace the summaries are others; another namespace reads them again."""
    kept = GetSet(name="summaries, gpt-4o-mini", cache=cache)
    with memollm.namespace("a"):
        first, second = summaries(kept, talks("a")), summaries(kept, talks("a"))
    with memollm.namespace("b"):
        assert [summaries(kept, talks("a")), summaries(kept, talks("a"))] == [first, second]
    assert first != second
    with memollm.namespace("b"), memollm.mode("offline"), pytest.raises(CacheMiss):
        summaries(kept, talks("a"))
