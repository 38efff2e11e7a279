"""Tests on recordings: `python -m pytest examples/recorded` calls no model, and needs no key."""

import pytest
from assistant import classify, majority, reply

pytestmark = pytest.mark.memollm

REVIEW = "The soup was cold, and so was the waiter."


def test_most_answers_say_what_the_review_is() -> None:
    """Five answers are recorded, so the vote is the same each time."""
    assert majority(REVIEW) == "harsh"


def test_a_test_reads_from_the_first_answer_on() -> None:
    """What another test drew before changes nothing, and a draw of its own is another answer."""
    votes = classify.draw(5, REVIEW)
    assert votes.count("harsh") == 4
    assert votes.index("kind") == 2


def test_a_reply_is_polite() -> None:
    """A wrapped client is recorded in the same way."""
    assert "sorry" in reply(REVIEW)
