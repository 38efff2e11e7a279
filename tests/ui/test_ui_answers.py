"""What the live page is told: of calls, runs, namespaces, misses, and of what is being made."""

from __future__ import annotations

import threading

import pytest
from report_cache import HOSTILE, call_of, count, fill_large, store_samples
from visiting import OWN, handed_over, refused, told, visited

import memollm
from memollm import Cache
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.reading import reading_store
from memollm.testing import FakeModel
from memollm.ui.index import CallIndex


@pytest.fixture
def on_disk(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


def test_the_overview_is_the_reports(client):
    """The same data, added up by the same code."""
    live = told(client.get("/api/overview?wait=true"))
    assert live["report"]["total"]["saved_cost"] == 60.0
    assert [each["sums"]["name"] for each in live["report"]["functions"]][:2] == ["paper:solve", "paper:grade"]
    assert (live["report"]["calls"], live["report"]["samples"]) == (62, 163)
    assert live["abilities"]["without_changes"] == ""
    assert "no transcripts" in live["abilities"]["without_transcripts"]


def test_what_is_not_listed_yet_is_unknown(client):
    """P14: before the calls are listed nobody says that there are none."""
    first = told(client.get("/api/overview"))
    assert first["looked"] is None or first["report"]["calls"] == 62
    assert told(client.get("/api/overview?wait=true"))["looked"] is not None


def calls(client, text="", **asked):
    found = told(client.get("/api/calls", params={"text": text, **asked}))
    return found["found"], [each["summary"] for each in found["calls"]]


def test_calls_are_found_by_words(client):
    """All words, in whatever case, in names, arguments and keys."""
    number, (summary,) = calls(client, "QUESTION 17: paper")
    assert (number, summary.startswith("prompt: Question 17: why?")) == (1, True)
    assert calls(client, "essay brief")[0] == 1
    assert calls(client, "nowhere")[0] == 0
    key = told(client.get("/api/calls?text=essay"))["calls"][0]["key"]
    assert calls(client, key[5:20])[0] == 1
    assert calls(client, function="paper:grade") == (1, calls(client, "essay")[1])
    assert calls(client, '"><svg/onload=alert(3)>')[0] == 1


def test_calls_are_in_any_order(client):
    """By each figure, both ways, what is unknown last, and a stretch at a time."""
    number, dearest = calls(client, order="cost", rows=2)
    assert (number, len(dearest)) == (62, 2)
    assert "Grade this essay" in dearest[1]
    cheapest = calls(client, order="cost", descending="false", rows=1)[1]
    assert cheapest[0].startswith("prompt: Question 0")
    assert calls(client, order="samples", start=61)[1] != calls(client, order="samples")[1][:1]
    assert sorted(calls(client, order="name", start=0, rows=62)[1]) == sorted(calls(client, order="used", rows=62)[1])
    assert refused(client.get("/api/calls?order=beauty"))[0] == 400
    assert refused(client.get("/api/calls?start=-1"))[0] == 400


def test_a_call_is_shown_with_its_samples(client):
    """Arguments, samples beside each other, equal answers, and what shows it in a terminal."""
    key = told(client.get("/api/calls?text=essay"))["calls"][0]["key"]
    (shown,) = told(client.get("/api/call", params={"key": key}))
    assert [each["content"]["text"] for each in shown["call"]["answers"]] == [
        "good",
        '{"grade": 2, "why": "long"}',
        "good",
    ]
    assert shown["call"]["equal"] == [{"times": 2, "content": {"text": "good", "length": 4}}]
    assert shown["call"]["command"] == f"memollm show {key}"
    assert len(told(client.get("/api/call", params={"key": key, "samples": 2}))[0]["call"]["answers"]) == 2
    assert refused(client.get("/api/call?key=00")) == (400, "No stored call has the key '00' (any more).")


def test_hostile_text_is_told_as_it_is(client):
    """Whatever is stored comes as JSON of its own type, never as a page, and refusals cannot steer a terminal."""
    answer = client.get("/api/calls", params={"text": "onerror"})
    assert answer.headers["content-type"] == "application/json"
    (call,) = told(answer)["calls"]
    (shown,) = told(client.get("/api/call", params={"key": call["key"]}))
    texts = [each["content"]["text"] for each in shown["call"]["answers"]]
    assert texts[:6] == list(HOSTILE[:6])
    line = client.get("/api/call", params={"key": "\x1b[31m<script>\r\nset-cookie: x"})
    assert refused(line)[0] == 400
    assert line.headers["content-type"].startswith("text/plain")
    assert "\x1b" not in line.text


def test_a_run_is_a_transcript(on_disk):
    """In the order of asking, a stretch at a time, by lane."""
    ask = on_disk.cached_llm(name="ask", version=1)(FakeModel())
    with memollm.run("monday"):
        ask.draw(3, "a")
        with memollm.lane("left"):
            ask("b")
    handed_over(on_disk)
    with visited(on_disk) as client:
        shown = told(client.get("/api/drawn?run=monday"))
        assert [each["content"]["text"] for each in shown["turns"]] == ["a #1", "a #2", "a #3", "b #1"]
        assert (shown["drawn"], shown["lanes"]) == (4, ["", "left"])
        later = told(client.get("/api/drawn?run=monday&start=2&rows=1"))
        assert [each["content"]["text"] for each in later["turns"]] == ["a #3"]
        left = told(client.get("/api/drawn", params={"run": "monday", "lane": "left"}))
        assert [each["content"]["text"] for each in left["turns"]] == ["b #1"]


def test_what_a_store_does_not_keep_is_said(client):
    """A cache in memory keeps no transcripts; it says so in one line."""
    status, line = refused(client.get("/api/drawn?run=monday"))
    assert (status, "does not keep in which order runs draw" in line) == (400, True)


# Now.


def test_what_is_being_made_is_told(cache):
    """A slot that is being filled is there as long as it is; what was counted lately is, too."""
    gate, begun = threading.Event(), threading.Event()

    @cache.cached_llm(name="slow", version=1)
    def slow(prompt):
        begun.set()
        assert gate.wait(60)
        return "answer"

    with visited(cache) as client:
        assert told(client.get("/api/now"))["slots"] == []
        drawing = threading.Thread(target=slow, args=("why?",))
        drawing.start()
        assert begun.wait(60)
        now = told(client.get("/api/now"))
        gate.set()
        drawing.join()
        assert now["under_way"] == 1
        (slot,) = now["slots"]
        assert (slot["function"], slot["summary"], slot["slot"], slot["is_stored"]) == (
            "slow",
            "prompt: why?",
            0,
            False,
        )
        handed_over(cache)
        after = told(client.get("/api/now"))
        assert after["slots"] == []
        assert (after["lately"]["draws"], after["lately"]["paid"]) == (1, 1)
        assert after["stamp"] != now["stamp"]


def test_where_nothing_may_be_written_the_rest_is_shown(on_disk):
    """A cache that is open for reading is shown as any other, and says why nothing can be changed."""
    store_samples(on_disk, call_of("f", prompt="x"), "y")
    with Cache(reading_store(on_disk.store)) as cache, visited(cache) as client:
        live = told(client.get("/api/overview?wait=true"))
        assert live["report"]["samples"] == 1
        assert "read-only" in live["abilities"]["without_changes"]
        assert told(client.get("/api/now"))["slots"] == []
        status, line = refused(client.post("/api/change", json={"change": "prune", "max_samples": "0"}, headers=OWN))
        assert (status, "read-only" in line) == (400, True)


# Why.


def test_why_a_call_was_no_hit(on_disk):
    """A stored call is compared with what was stored before it."""
    ask = on_disk.cached_llm(name="ask", version=1)(FakeModel())
    ask("a long question?")
    ask("a long question!")
    key = ask.key("a long question!")
    with visited(on_disk) as client:
        (why,) = told(client.get("/api/why", params={"key": key}))
        assert [each["key"] for each in why["near"]] == [ask.key("a long question?")]
        assert why["near"][0]["differences"][0]["path"] == "prompt"
        (first,) = told(client.get("/api/why", params={"key": ask.key("a long question?")}))
        assert (first["near"], first["note"]) == ([], "It was the first stored call of its function.")


def test_a_miss_is_explained_by_what_it_writes(on_disk):
    """The canonical text that `explain` and `CacheMiss` write is compared with what is stored."""
    ask = on_disk.cached_llm(name="ask", version=1)(FakeModel())
    ask("one")
    with visited(on_disk) as client:
        miss = told(client.post("/api/explain", json={"form": f" {ask.explain('two').form}\n"}, headers=OWN))
        assert (miss["function"], miss["key"], miss["samples"]) == ("ask", ask.key("two"), 0)
        assert miss["near"][0]["differences"][0]["stored"] == '"one"'
        hit = told(client.post("/api/explain", json={"form": ask.explain("one").form}, headers=OWN))
        assert (hit["key"], hit["samples"], hit["near"]) == (ask.key("one"), 1, [])
        for form in ("two", "{}", "[1]", '{"function": {"name": 3}}', "[" * 10_000, ""):
            assert refused(client.post("/api/explain", json={"form": form}, headers=OWN))[0] == 400


def test_new_calls_are_found_after_a_while(on_disk, monkeypatch):
    """The list of calls is made anew when something was counted since and it has become old."""
    from memollm.ui import index

    monkeypatch.setattr(index, "FRESH", 0.0)
    monkeypatch.setattr(index, "WORTH", 0)
    store_samples(on_disk, call_of("f", prompt="first"), "y")
    with visited(on_disk) as client:
        assert calls(client)[0] == 1
        store_samples(on_disk, call_of("f", prompt="second"), "y")
        count(on_disk, "2026-11-22", "f", draws=1)
        while calls(client)[0] == 1:
            pass
        assert calls(client, "second")[0] == 1


def test_a_call_that_was_just_stored_is_there(cache):
    """A call that is newer than the list of calls is opened, explained and forgotten by its key."""
    first, newer = call_of("f", prompt="first"), call_of("f", prompt="newer")
    store_samples(cache, first, "x")
    with visited(cache) as client:
        assert calls(client)[0] == 1
        store_samples(cache, newer, "y")
        assert told(client.get("/api/call", params={"key": newer.key.hex()}))[0]["call"]["samples"] == 1
        newest = call_of("f", prompt="newest")
        store_samples(cache, newest, "z")
        posted = client.post("/api/change", json={"change": "forget", "keys": [newest.key.hex()]}, headers=OWN)
        assert told(posted)["sentence"].startswith("Forget 1 call with 1 sample")


def test_what_is_not_shown_is_told(on_disk):
    """Of more than 500 namespaces those are there that drew most, and how many are not is said."""
    for at in range(503):
        count(on_disk, "2026-11-22", "f", namespace=f"space {at:03}", draws=1)
    with visited(on_disk) as client:
        report = told(client.get("/api/overview?wait=true"))["report"]
        assert len(report["namespaces"]) == 500
        assert report["left_out"] == ["3 namespaces that drew less than those above."]


def test_versions_of_every_function_are_listed(cache):
    """However many there are: older code of the last by name can be adopted, too."""
    for name in (f"f{at:03}" for at in range(203)):
        cache.cached_llm(name=name, version=1)(FakeModel())("a")
    with visited(cache) as client:
        assert [each["name"] for each in told(client.get("/api/versions"))][-1] == "f202"


def test_a_long_name_is_asked_by_what_the_page_shows(on_disk):
    """Names are shown shortened, and found by that, if no other name is shortened to the same."""
    long, twins = "n" * 400, ["t" * 400 + end for end in "ab"]
    ask = on_disk.cached_llm(name="f" * 400, version=1)(FakeModel())
    for namespace in (long, *twins):
        with memollm.namespace(namespace), memollm.lane("l" * 400):
            ask("a")
    with visited(handed_over(on_disk)) as client:
        report = told(client.get("/api/overview?wait=true"))["report"]
        shown = {each["name"][0]: each["name"] for each in report["namespaces"]}
        assert len(shown["n"]) == 300
        turns = told(client.get("/api/drawn", params={"namespace": shown["n"]}))
        assert turns["drawn"] == 1
        assert told(client.get("/api/drawn", params={"namespace": shown["n"], "lane": turns["lanes"][0]}))["drawn"] == 1
        assert refused(client.get("/api/drawn", params={"namespace": shown["t"]}))[0] == 400
        assert calls(client, function=report["functions"][0]["sums"]["name"])[0] == 1
        assert told(client.get("/api/compare", params={"one": shown["n"], "other": long}))["counts"]["same"] == 1


def test_a_listing_that_was_begun_before_a_change_is_not_taken(cache):
    """What is forgotten here while calls are listed beside is not found any more."""
    call = call_of("f", prompt="first")
    store_samples(cache, call, "y")
    index = CallIndex(cache.store)
    surveys, looking_, survey = [], looking(cache.store), looking(cache.store).survey

    class Slow:
        """Looks as the store does, and lets the call be forgotten after the first look."""

        epoch = cache.store.epoch

        @property
        def looking(self):
            return self

        def counted(self):
            return looking_.counted()

        def survey(self):
            surveys.append(survey())
            if len(surveys) == 1:
                keeping(cache.store).forget(call)
                index.expire()
            return surveys[-1]

    index._store = Slow()
    assert index.current().surveyed == []
    assert [len(each) for each in surveys] == [1, 0]
    index.close()


@pytest.mark.deep
def test_many_calls_are_searched_at_once(tmp_path):
    """100,000 samples: a search takes less than half a second."""
    import time

    with Cache(tmp_path / "cache") as cache:
        fill_large(cache, calls=100_000, samples=1)
        with visited(cache) as client:
            told(client.get("/api/overview?wait=true"))
            begun = time.perf_counter()
            assert calls(client, "question99999 word7")[0] == 1
            assert time.perf_counter() - begun < 0.5
