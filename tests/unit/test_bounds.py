"""What a process remembers of a long program has an end, and what was forgotten is read again, not paid for again."""

from __future__ import annotations

import pytest

from memollm import Cache
from memollm._draws import shelf
from memollm._keys import keyer as keying
from memollm.stores.sqlite import rows

PROMPTS = [f"prompt {number}" for number in range(10)]


def drawn_twice(ask, remembered):
    """Draw all prompts twice, and return how many calls were remembered after each draw."""
    seen = []
    for prompt in [*PROMPTS, *PROMPTS]:
        assert ask(prompt)[0] == prompt
        seen.append(len(remembered()))
    return seen


@pytest.mark.parametrize(("limit", "value"), [("ENTRIES", 3), ("BYTES", 5000)])
def test_what_was_read_is_remembered_up_to_a_limit(cache, monkeypatch, limit, value):
    """P4: only so many samples, and so many bytes of them, are kept at hand; the others are read again for nothing."""
    monkeypatch.setattr(shelf, limit, value)
    paid = []

    @cache.cached_llm(name="ask", version=1, pool=1)
    def ask(prompt):
        paid.append(prompt)
        return [prompt, "x" * 2000]

    seen = drawn_twice(ask, lambda: cache._engine.shelf.of)
    assert (max(seen), seen.count(3) > 3) == (3, True)
    assert paid == PROMPTS


def test_what_was_read_is_given_without_the_store(cache, monkeypatch):
    """A plain memoized call that is asked again costs no transaction: the file may be busy or far."""
    ask = cache.cached_llm(lambda prompt: prompt.upper(), name="ask", version=1, pool=1)
    ask("x")
    assert ask("x") == "X"
    monkeypatch.setattr(type(cache.store), "perform", lambda *_: pytest.fail("the store was asked"))
    assert ask("x") == "X"


@pytest.mark.parametrize(("limit", "value"), [("SHORTCUTS", 3), ("SHORTCUT_BYTES", 300)])
def test_keys_are_remembered_up_to_a_limit(monkeypatch, limit, value):
    """P8: only the keys of so many calls, and so many bytes of them, are kept at hand; a key made anew is the same."""
    monkeypatch.setattr(keying, limit, value)
    keyer = keying.Keyer(lambda prompt: prompt, name="ask", version="1")
    seen, keys = [], []
    for prompt in [*PROMPTS, *PROMPTS]:
        keys.append(keyer.call(None, (prompt,), {}).key)
        seen.append(len(keyer._now.shortcuts))
    assert (max(seen), seen.count(3) > 3) == (3, True)
    assert keys[:10] == keys[10:]
    assert len({*keys}) == 10


def test_numbers_of_calls_are_remembered_up_to_a_limit(tmp_path, monkeypatch):
    """P1: a call whose number in the file was forgotten is found again, and goes on where it was."""
    monkeypatch.setattr(rows, "REMEMBERED", 3)
    answers = iter(range(20))
    with Cache(tmp_path / "cache") as cache:
        ask = cache.cached_llm(lambda prompt: [prompt, next(answers)], name="ask", version=1, namespace="a")
        seen = drawn_twice(ask, lambda: cache.store._open_as[1].rows.calls)
        assert (max(seen), seen.count(3) > 3) == (3, True)
        assert ask.peek(PROMPTS[0]) == [[PROMPTS[0], 0], [PROMPTS[0], 10]]
