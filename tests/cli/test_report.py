"""The report's data and its page, without a browser: what is collected, what is left out, and what is escaped."""

from __future__ import annotations

import json
import re

import pytest
from report_cache import HOSTILE, NOON, call_of, count, fill, store_samples

from memollm import Cache, Embedder, Similar
from memollm._views.finding import described
from memollm._views.report import Bounds, collect, page
from memollm._views.report.readable import parts_of, summary_of
from memollm.testing import hashed_ngrams


def report_of(cache, **bounds):
    return collect(cache, place="here", made=NOON, show=("memollm", "show"), bounds=Bounds(**bounds))


def data_in(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_sums_are_added_by_day_function_and_namespace(cache):
    """Runs are added up; what another draw was making is told apart from what was stored."""
    count(cache, "2026-11-01", "f", run="a", draws=3, hits=1, shared=1, made=1, paid=1, saved_cost=0.5, spent_input=7)
    count(cache, "2026-11-01", "f", run="b", draws=1, hits=1, saved_output=5)
    count(cache, "2026-11-02", "g", namespace="e", draws=2, paid=2, unpriced=2)
    report = report_of(cache)
    assert (report.total.draws, report.total.hits, report.total.shared, report.total.unpriced) == (6, 2, 1, 2)
    assert [(day.name, day.draws) for day in report.days] == [("2026-11-01", 4), ("2026-11-02", 2)]
    assert [(each.sums.name, each.sums.draws) for each in report.functions] == [("f", 4), ("g", 2)]
    assert [(each.name, each.draws) for each in report.namespaces] == [("", 4), ("e", 2)]
    assert (report.total.spent_tokens, report.total.saved_tokens) == (7, 5)


def test_drawn_samples_are_in_it(cache):
    """What a decorated function drew can be read, call by call."""

    @cache.cached_llm(name="paper:ask", version="1")
    def ask(prompt, temperature=1.0):
        return f"{prompt}!"

    ask.draw(2, "hello")
    (asked,) = report_of(cache).asked
    assert (asked.function, asked.samples, asked.key) == ("paper:ask", 2, ask.key("hello"))
    assert asked.summary == "prompt: hello · temperature: 1.0"
    assert [(part.label, part.content.text) for part in asked.parts] == [("prompt", "hello"), ("temperature", "1.0")]
    assert [answer.content.text for answer in asked.answers] == ["hello!", "hello!"]
    assert asked.command == f"memollm show {ask.key('hello')}"


def test_the_most_expensive_calls_come_first(cache):
    """Money decides, then time where no price is known."""
    store_samples(cache, call_of("f", prompt="cheap"), "a", cost=0.1)
    store_samples(cache, call_of("f", prompt="slow"), "a", seconds=90.0)
    store_samples(cache, call_of("f", prompt="dear"), "a", "b", cost=3.0)
    store_samples(cache, call_of("f", prompt="quick"), "a", seconds=0.1)
    report = report_of(cache)
    assert [asked.parts[0].content.text for asked in report.asked] == ["dear", "cheap", "slow", "quick"]
    assert [asked.cost for asked in report.asked] == [6.0, 0.1, None, None]


def test_calls_are_counted_by_their_samples(cache):
    """The distribution is of all calls, also of those that are left out."""
    for number, samples in enumerate([1, 1, 2, 4, 7]):
        store_samples(cache, call_of("f", prompt=str(number)), *"abcdefg"[:samples])
    report = report_of(cache, calls=1)
    assert [(depth.samples, depth.calls) for depth in report.depths] == [
        ("1", 2),
        ("2", 1),
        ("3 to 4", 1),
        ("5 to 9", 1),
    ]
    assert (report.calls, report.samples, len(report.asked)) == (5, 15, 1)


def test_what_is_left_out_is_said(cache):
    """Each bound that cut something is named, with the option that moves it."""
    for number in range(4):
        store_samples(cache, call_of("f", prompt=f"{number}" * 50), *("x" * 50 for _ in range(3)), cost=float(number))
        count(cache, f"2026-11-0{number + 1}", f"f{number}", namespace=f"n{number}", draws=1)
    report = report_of(cache, calls=2, samples=2, characters=10, days=3, names=2)
    assert [(day.name) for day in report.days] == ["2026-11-02", "2026-11-03", "2026-11-04"]
    assert [len(asked.answers) for asked in report.asked] == [2, 2]
    assert (report.asked[0].parts[0].content.text, report.asked[0].parts[0].content.length) == ("3" * 10, 50)
    said = " ".join(report.left_out)
    for words in ("2 calls", "2 samples", "6 texts", "1 day ", "3 functions", "2 namespaces"):
        assert words in said
    for option in ("--calls", "--samples", "--text", "--characters"):
        assert option in said
    assert report_of(cache).left_out == ()


def test_text_is_bounded_in_all(cache):
    """When the page is full, calls keep their figures and say what shows their text."""
    for number in range(20):
        store_samples(cache, call_of("f", prompt=f"{number} " + "<" * 500), "<" * 500)
    long = "x" * 100_000
    chat = [{"role": long[:1000], "content": "y"} for _ in range(1000)]
    store_samples(cache, call_of(long, messages=chat), "answer", cost=1.0)
    count(cache, "2026-11-01", long, namespace=long, draws=1)
    report = report_of(cache, text=100_000)
    html = page(report)
    assert len(report.asked) == 21
    assert len(report.asked[0].parts) == 500
    assert report.asked[-1].answers == report.asked[-1].parts == ()
    assert len(html) < len(page(report_of(cache, calls=0))) + 100_000 + 500 * 400 + 21 * 1_500


def test_records_that_may_not_be_loaded_are_shown_as_such(cache):
    """A record that names code and carries no signature of ours is never loaded, and the reason is in the page."""
    record = cache._engine.codec.encode({1, 2, complex(1, 2), print}, context=b"elsewhere")
    store_samples(cache, call_of("f", prompt="x"), record, b"no record at all", "fine")
    (asked,) = report_of(cache).asked
    assert [bool(answer.refusal) for answer in asked.answers] == [True, True, False]
    assert "not loaded" in asked.answers[0].refusal
    assert [answer.content.text for answer in asked.answers] == ["", "", "fine"]


LOADED = []


class Grade:
    def __init__(self, points):
        self.points = points

    def __eq__(self, other):
        return isinstance(other, Grade) and self.points == other.points

    def __hash__(self):
        return hash(self.points)

    def __reduce__(self):
        return _load, (self.points,)


def _load(points):
    LOADED.append(points)
    return Grade(points)


def test_nothing_is_loaded_to_be_shown(cache):
    """Not even a record of our own signature runs anything for a page."""
    store_samples(cache, call_of("f", prompt="x"), Grade(3))
    LOADED.clear()
    (asked,) = report_of(cache).asked
    assert "a pickled object" in asked.answers[0].content.text
    assert LOADED == []


def test_arguments_that_were_not_kept_are_not_guessed(cache):
    """With keep_arguments=False the page says why there is nothing to read."""

    @cache.cached_llm(name="f", version="1", keep_arguments=False)
    def ask(prompt):
        return "answer"

    ask("secret")
    (asked,) = report_of(cache).asked
    assert "keep_arguments=False" in asked.summary
    assert "secret" not in page(report_of(cache))


def test_a_call_without_arguments_says_so(cache):
    """Nothing was left out of it."""
    store_samples(cache, call_of("f"), "answer")
    (asked,) = report_of(cache).asked
    assert (asked.summary, [part.content.text for part in asked.parts]) == ("no arguments", ["none"])


def test_an_empty_cache_has_a_report(cache):
    """Nothing drawn, nothing stored: still a page."""
    report = report_of(cache)
    assert (report.calls, report.days, report.left_out) == (0, (), ())
    assert data_in(page(report))["place"] == "here"


# Text.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        (None, "null"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ({"a": "x" * 100}, '{\n  "a": "' + "x" * 100 + '"\n}'),
        (list(range(200)), json.dumps(list(range(200)))),
        ((1, {2}), "(1, {2})"),
    ],
)
def test_answers_read_well(value, text, cache):
    """Text as it is, JSON types as JSON, lists of numbers in lines, the rest as Python writes it."""
    store_samples(cache, call_of("f", prompt="x"), value)
    (asked,) = report_of(cache).asked
    assert asked.answers[0].content.text == text


def test_a_chat_is_read_by_roles():
    """Messages stand under their roles, and the summary shows the last one."""
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ["Hi"], "name": "Ann"}]
    arguments = described(call_of("f", messages=chat, model="m").form).arguments
    assert parts_of(arguments) == [
        ("messages[0] system", "Be brief."),
        ("messages[1] user (Ann)", "Hi"),
        ("model", "m"),
    ]
    assert summary_of(arguments) == "messages: Hi · model: m"


@pytest.mark.parametrize("form", ["blake2b:00", "[]", '{"arguments": 3}', "[" * 10_000, '{"function": []}'])
def test_a_form_that_is_none_is_survived(form):
    """A store's forms are data that anybody may have written."""
    assert described(form) == (None, None)
    assert described('{"function": {"version": "1"}, "arguments": [3]}') == ("1", None)


# The page.


def test_nothing_that_users_wrote_is_markup():
    """Every hostile text stands in the data with its brackets escaped, and comes out of it as it was."""
    with fill(Cache("memory:")) as cache:
        html = page(report_of(cache))
    assert html.count("<script") == 2
    assert html.count("</script") == 2
    texts = json.dumps(data_in(html), ensure_ascii=False)
    for hostile in HOSTILE[:6]:
        assert json.dumps(hostile, ensure_ascii=False)[1:-1] in texts
    html.encode()


def test_the_page_is_small_and_needs_nothing():
    """Without data it is less than 60 kB, refers to no other file, and its policy names its own hashes."""
    with Cache("memory:") as cache:
        html = page(report_of(cache))
    assert len(html.encode()) < 60_000
    assert (
        re.findall(r"""(?:src|href)=["'](?!data:,)[^"']*["']|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", html)
        == []
    )
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_a_large_cache_makes_no_large_page(cache, monkeypatch):
    """What is read and what the page weighs is bounded, however many samples there are."""
    for number in range(300):
        store_samples(cache, call_of("f", prompt=f"{number}"), *("word " * 100 for _ in range(10)))
    read = []
    peek = cache.store.peek
    monkeypatch.setattr(cache.store, "peek", lambda call: read.append(call) or peek(call))
    html = page(report_of(cache, calls=100, samples=5, text=100_000))
    assert len(read) < 60
    assert len(html) < 60_000 + 100_000 + 100 * 1_000
    assert data_in(html)["samples"] == 3_000


def test_similar_calls_are_in_it_with_both_texts(cache):
    """What was lent stands in the page with its score and both texts, the latest first."""
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.8)
    answer = cache.cached_llm(lambda question: "Paris", similar=similar, pool=1, name="answer", version=1)
    for question in ("What is the capital of France?", "Tell me, what is the capital of France?"):
        answer(question)
    report = report_of(cache)
    (lent,) = report.similar
    assert (lent.function, lent.became, lent.key) == ("answer", "lent", answer.key("What is the capital of France?"))
    assert (lent.asked.text, lent.stored.text) == (
        "Tell me, what is the capital of France?",
        "What is the capital of France?",
    )
    assert report_of(cache, names=0).similar == ()
    assert "1 similar call before those above." in report_of(cache, names=0).left_out
    assert "Tell me" in page(report)
