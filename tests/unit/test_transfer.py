"""Moving what a cache holds: round trips, merges, and what they must not do."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re

import pytest
from models import numbering

from memollm import Cache, OptionError, UntrustedRecord, lane, mode, namespace, replay, run
from memollm._upkeep.transfer import loading
from memollm.stores.looking import looking
from memollm.testing import FakeClock
from memollm.testing.fakes import NOON


@dataclasses.dataclass
class Verdict:
    score: int


COUNT = '{"is":"count","day":"2026-11-21","run":"r","namespace":"","function":"ask","counts":{"draws":NUMBER}}'
READER = '{"is":"document","kind":"namespace","name":"n","content":{"first":"soon"}}'


@pytest.fixture
def make(tmp_path):
    """Make caches in files."""
    made = []

    def cache(name):
        made.append(Cache(tmp_path / name))
        return made[-1]

    yield cache
    for each in made:
        each.close()


def fill(cache):
    """Fill a cache with every form of record, namespaces, a pool, lanes of none, and a failed draw."""
    values = {
        "json": {"nested": [1, 2.5, None, "ä"]},
        "tagged": (1, b"raw", {1: 2}),
        "class": Verdict(3),
        "long": "word " * 5000,
        "pickle": slice(1, 2),
        "": "",
    }
    ask = cache.cached_llm(lambda which: values[which], name="ask", version="1")
    pooled = cache.cached_llm(lambda which: which, name="pooled", version="1", pool=2)
    for which in values:
        ask.draw(2, which)
        with namespace("first"):
            ask(which)
        with namespace("second"):
            ask.draw(3, which)
            pooled(which)
    refuse = cache.cached_llm(lambda which: which, name="refusing", version="1", accept=lambda _: False)
    with namespace("first"):
        refuse("never stored")


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_round_trip_gives_the_same_bytes(cache, make, tmp_path, suffix):
    """What was loaded is exported as the very file that it came from, whatever the records are."""
    fill(cache)
    file, again = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    exported = cache.export(file)
    other = make("other") if "Sqlite" in type(cache.store).__name__ else Cache("memory:")
    assert other.load(file).added == exported.samples == 18 + 6
    other.export(again)
    assert again.read_bytes() == file.read_bytes()
    assert other.namespaces() == cache.namespaces()


def test_signed_records_stay_signed_and_are_read(make, tmp_path):
    """A record that names a class is the same value in the other cache, because its key is the same."""
    fill(make("a"))
    make("a").export(tmp_path / "x.jsonl")
    b = make("b")
    assert b.load(tmp_path / "x.jsonl").untrusted == 0
    assert b.cached_llm(lambda which: None, name="ask", version="1").peek("class")[0] == Verdict(3)


def test_a_file_of_another_user_is_loaded_and_its_code_is_not(make, tmp_path, monkeypatch):
    """Records that a foreign key signed are kept as they are, counted, and refused when they are read (P10)."""
    fill(make("a"))
    make("a").export(tmp_path / "x.jsonl")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other-user"))
    b = make("b")
    assert b.load(tmp_path / "x.jsonl").untrusted == 2 * 3
    ask = b.cached_llm(lambda which: None, name="ask", version="1")
    assert ask.peek("json")
    with pytest.raises(UntrustedRecord):
        ask.peek("class")
    assert (b.verify().untrusted, b.verify().ok) == (2 * 3, True)


def test_a_line_shows_the_answer_and_a_new_sample_is_one_new_line(make, tmp_path):
    """In git, a further sample is one added line, and a rerun that pays nothing changes nothing."""
    cache, file = make("a"), tmp_path / "x.jsonl"
    ask = numbering(cache, 0)
    ask.draw(2, "q")
    cache.export(file, function="ask")
    before = file.read_text(encoding="utf-8").splitlines()
    with run("another"):
        ask.draw(2, "q")
    cache.export(file, function="ask")
    assert file.read_text(encoding="utf-8").splitlines() == before
    with namespace("n"):
        ask.draw(3, "q")
    cache.export(file, function="ask")
    after = file.read_text(encoding="utf-8").splitlines()
    (added,) = [line for line in after if line not in before]
    assert json.loads(added)["value"] == "q 2"
    assert [line for line in after if line in before] == before


def test_loading_twice_and_both_ways_doubles_nothing(cache, make, tmp_path):
    """Equal answers are samples of their own, and each is there once however often files are loaded."""
    other = make("other")
    same = [c.cached_llm(lambda x: "yes", name="ask", version="1") for c in (cache, other)]
    same[0].draw(2, "q")
    same[1].draw(3, "q")
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    cache.export(one)
    other.export(two)
    assert [cache.load(two).added, cache.load(two).added, cache.load(one).added] == [3, 0, 0]
    assert [other.load(one).added, other.load(one).added] == [2, 0]
    cache.export(one)
    assert other.load(one).added == 0
    assert [len(ask.peek("q")) for ask in same] == [5, 5]


def test_a_merge_keeps_what_is_here_in_its_place(cache, make, tmp_path):
    """What readers have drawn stays where it is; what comes, comes after it, in its own order."""
    other = make("other")
    here, there = numbering(cache, 0), numbering(other, 100)
    here.draw(2, "q")
    there.draw(3, "q")
    other.export(tmp_path / "x.jsonl")
    cache.load(tmp_path / "x.jsonl")
    assert here.peek("q") == ["q 0", "q 1", "q 100", "q 101", "q 102"]


def test_a_namespace_is_given_nothing_twice_after_a_merge(cache, make, tmp_path):
    """What it drew in either cache it does not draw again, and what it drew in neither it does (P1, P3)."""
    other = make("other")
    here, there = numbering(cache, 0), numbering(other, 100)
    with namespace("n"):
        drawn = {*here.draw(2, "q"), *there.draw(2, "q")}
    with namespace("someone else"):
        stored = {*here.draw(4, "q"), *there.draw(4, "q")}
    other.export(tmp_path / "x.jsonl")
    for _ in range(2):
        cache.load(tmp_path / "x.jsonl")
    with namespace("n"):
        rest = here.draw(4, "q")
        assert drawn.isdisjoint(rest)
        assert drawn | set(rest) == stored
        assert here("q") not in stored


def test_a_restored_namespace_goes_on_where_it_was(make, tmp_path):
    """Cursors come with the whole cache and with a namespace, and gaps in them stay gaps."""
    a = make("a")
    ask = numbering(a, 0)
    with namespace("n"):
        ask.draw(2, "q")
    for which in ({}, {"namespace": "n"}):
        a.export(tmp_path / "x.jsonl", **which)
        b = make(f"b{len(which)}")
        b.load(tmp_path / "x.jsonl")
        with namespace("n"):
            assert numbering(b, 50)("q") == "q 50"


def test_a_run_exports_exactly_what_it_used(make, tmp_path):
    """Samples of other runs stay out; the run that began last is found by that name."""
    cache, file = make("a"), tmp_path / "x.jsonl"
    ask = numbering(cache, 0)
    with run("one"):
        ask.draw(3, "q")
    with run("two"):
        ask.draw(1, "q")
        ask("other")
    assert cache.export(file, run="two").samples == 2
    assert cache.export(file, run="last").samples == 2
    assert cache.export(file, run="one").samples == 3
    cache.export(file, run="two")
    again = make("b")
    again.load(file)
    again.export(tmp_path / "y.jsonl", run="two")
    assert (tmp_path / "y.jsonl").read_bytes() == file.read_bytes()


def test_a_run_exports_what_was_used_just_now(make, tmp_path):
    """What a run has used in pools and namespaces is in its file at once, not only when counts are written."""
    cache = make("a")
    plain, pooled = numbering(cache, 0), numbering(cache, 50, pool=1).with_options(name="pooled")
    with run("one"):
        plain("q")
        pooled("q")
        with namespace("n"):
            plain.draw(2, "q")
    with run("two"), namespace("n"):
        plain.with_options(name="of another run")("q")
    assert cache.export(tmp_path / "x.jsonl", run="one").samples == 3
    assert "of another run" not in (tmp_path / "x.jsonl").read_text(encoding="utf-8")


def test_lanes_travel_with_their_namespace(cache, tmp_path):
    """P2: a replay in another cache gives each lane what it had drawn, in whatever order the lanes come."""
    ask, drawn = numbering(cache, namespace="n"), {"a": [], "b": []}
    for name in "bab":
        with lane(name):
            drawn[name].append(ask("q"))
    cache.export(tmp_path / "x.jsonl")
    with Cache("memory:") as other:
        other.load(tmp_path / "x.jsonl")
        again = numbering(other, 50)
        with replay("n"):
            for name, answers in drawn.items():
                with lane(name):
                    assert again.draw(len(answers), "q") == answers


def test_a_call_is_as_old_as_its_first_sample(tmp_path):
    """The file says when it was first drawn, whatever was added later."""
    clock = FakeClock()
    with Cache("memory:", clock=clock) as cache:
        ask = numbering(cache)
        ask("q")
        clock.advance(1000)
        ask.draw(2, "q")
        cache.export(tmp_path / "x.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["made"] for line in lines if line["is"] == "call"] == [NOON]


def test_a_function_exports_alone(make, tmp_path):
    """Neither other functions nor anybody's cursors are in its file."""
    cache = make("a")
    fill(cache)
    assert cache.export(tmp_path / "x.jsonl", function="pooled").samples == 6
    assert '"cursor"' not in (tmp_path / "x.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ({"function": "asc"}, "Did you mean 'ask'"),
        ({"namespace": "firts"}, "Did you mean 'first'"),
        ({"run": "nobody"}, "knows no run 'nobody'"),
        ({"run": "last", "function": "ask"}, "say one of"),
    ],
)
def test_unknown_names_are_told(make, tmp_path, which, told):
    """A name that the cache does not know is an error that helps, and leaves no file."""
    cache = make("a")
    fill(cache)
    with pytest.raises(OptionError, match=told):
        cache.export(tmp_path / "x.jsonl", **which)
    assert not (tmp_path / "x.jsonl").exists()


def damage_line(lines):
    return [line.replace('"value":"q 0"', '"value":"q 9"') for line in lines]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_line, "line 4: the record's bytes are not what was written"),
        (lambda lines: lines[:-1], "its last line is missing"),
        (lambda lines: [line.replace('"prompt":"q"', '"prompt":"p"') for line in lines], "not that of its form"),
        (lambda lines: ["", *lines], "is no export of memollm"),
        (lambda lines: [lines[0].replace('"version":1', '"version":2'), *lines[1:]], "by a newer memollm"),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "out of its place"),
        (lambda lines: [*lines, lines[3]], "after the end"),
        (lambda lines: [*lines[:3], re.sub('"stored":[^,]*', '"stored":1e300', lines[3]), *lines[4:]], "line 4"),
        (lambda lines: [*lines[:2], re.sub('"made":[^,]*', '"made":-1.5', lines[2]), *lines[3:]], "line 3"),
        (lambda lines: [*lines[:3], f'{lines[3][:-1]},"output_tokens":{1 << 70}}}', *lines[4:]], "line 4"),
        (lambda lines: [*lines[:-1], COUNT.replace("NUMBER", str(1 << 70)), lines[-1]], "line 6"),
        (lambda lines: [*lines[:-1], COUNT.replace("NUMBER", str(1 << 41)), lines[-1]], "line 6"),
        (lambda lines: [*lines[:-1], COUNT.replace("NUMBER", "1.5"), lines[-1]], "line 6"),
        (lambda lines: [*lines[:3], lines[3].replace('"q 0"', "[" * 100_000 + "]" * 100_000), *lines[4:]], "line 4"),
        (lambda lines: [lines[0], lines[1].replace('"first"', '"last"'), *lines[2:]], "line 2"),
        (lambda lines: [lines[0], lines[1].replace('"latest":"version:1"', '"latest":"2"'), *lines[2:]], "latest"),
        (lambda lines: [lines[0], READER, *lines[1:]], "line 2"),
    ],
)
def test_a_damaged_file_changes_nothing(make, tmp_path, damage, told):
    """The whole file is checked before anything of it is loaded."""
    file = tmp_path / "x.jsonl"
    numbering(make("a"), 0).draw(2, "q")
    make("a").export(file)
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(damage(lines)) + "\n", encoding="utf-8")
    other = make("b")
    with pytest.raises(OptionError, match=told):
        other.load(file)
    assert looking(other.store).inventory() == []


@pytest.mark.parametrize("key", ["0102030405", "", "00" * 15, "00" * 17, "0" * 31, "no hexadecimals" * 2])
def test_a_key_that_is_none_is_refused_where_its_form_is_hidden(make, tmp_path, key):
    """P8: a call whose arguments are not kept has nothing to check its key by but its length, which must be right."""
    file = tmp_path / "x.jsonl"
    numbering(make("a"), 0, keep_arguments=False)("q")
    make("a").export(file)
    text = file.read_text(encoding="utf-8")
    assert '"form":"blake2b:' in text
    file.write_text(re.sub('"key":"[^"]*"', f'"key":"{key}"', text), encoding="utf-8")
    other = make("b")
    with pytest.raises(OptionError, match="line 3"):
        other.load(file)
    assert looking(other.store).inventory() == []


def test_a_load_that_stops_is_completed_by_the_next(make, tmp_path, monkeypatch):
    """After an interrupt between two batches the cache is whole, and loading again adds what is missing."""
    monkeypatch.setattr(loading, "BATCH", 3)
    a, b = make("a"), make("b")
    ask = numbering(a, 0)
    for prompt in "abcd":
        with namespace("n"):
            ask.draw(3, prompt)
    a.export(tmp_path / "x.jsonl")

    def stop(done, _total):
        if done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        b.load(tmp_path / "x.jsonl", progress=stop)
    assert b.verify().ok
    b.load(tmp_path / "x.jsonl")
    b.export(tmp_path / "y.jsonl")
    assert (tmp_path / "y.jsonl").read_bytes() == (tmp_path / "x.jsonl").read_bytes()


def test_a_load_that_stops_gives_a_namespace_nothing_twice(make, tmp_path, monkeypatch):
    """A sample is never here without what its namespace has drawn, wherever a load ends (P1)."""
    monkeypatch.setattr(loading, "BATCH", 2)
    a, b = make("a"), make("b")
    with namespace("n"):
        given = numbering(a, 0).draw(4, "p") + numbering(a, 10).draw(4, "q")
    a.export(tmp_path / "x.jsonl")

    def stop(done, _total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        b.load(tmp_path / "x.jsonl", progress=stop)
    ask = numbering(b, 100)
    with namespace("n"):
        drawn = ask.draw(4, "p") + ask.draw(4, "q")
        b.load(tmp_path / "x.jsonl")
        drawn += ask.draw(4, "p") + ask.draw(4, "q")
    assert not set(given) & set(drawn)


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
def test_an_export_goes_where_a_link_leads(make, tmp_path):
    """The link stays one, as it does for a report."""
    link, target = tmp_path / "x.jsonl", tmp_path / "real.jsonl"
    link.symlink_to(target)
    numbering(make("a"), 0)("q")
    make("a").export(link)
    assert link.is_symlink()
    assert target.stat().st_mode & 0o077 == 0
    assert make("b").load(link).added == 1


def test_an_export_that_stops_leaves_no_file(make, tmp_path):
    """Ctrl-C leaves what was at the path before, and nothing beside it."""
    numbering(make("a"), 0).draw(3, "q")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "x.jsonl").write_text("before")

    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("a").export(folder / "x.jsonl", progress=stop)
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("x.jsonl", "before")]


def test_what_was_free_here_and_given_elsewhere_is_not_given_again(make, tmp_path):
    """A position that a merge left free is no longer so for a namespace that drew its sample in a third cache (P1)."""
    here, there, third = make("here"), make("there"), make("third")
    asks = [numbering(each, start) for each, start in ((here, 0), (there, 100), (third, 200))]
    with namespace("m"):
        asks[0].draw(4, "q")
        asks[2]("q")
    here.export(tmp_path / "m.jsonl")
    third.load(tmp_path / "m.jsonl")
    with namespace("n"):
        asks[1]("q")
        assert asks[2].draw(3, "q") == ["q 200", "q 0", "q 1"]
    for each in (there, third):
        each.export(tmp_path / "x.jsonl")
        here.load(tmp_path / "x.jsonl")
    with namespace("n"):
        assert asks[0].draw(3, "q") == ["q 2", "q 3", "q 4"]


def test_what_was_given_back_here_and_there_is_given_once(make, tmp_path):
    """A position that is free in both caches and drawn in one is no longer free in the other (P1)."""
    here, there = make("here"), make("there")
    numbers = itertools.count()

    def chunks(prompt):
        yield next(numbers)

    asks = [each.cached_llm(chunks, name="ask", version=1, namespace="n") for each in (here, there)]
    abandoned = asks[0]("q")
    next(abandoned)
    list(asks[0]("q"))
    abandoned.close()
    here.export(tmp_path / "x.jsonl")
    there.load(tmp_path / "x.jsonl")
    drawn = list(asks[1]("q"))
    there.export(tmp_path / "x.jsonl")
    here.load(tmp_path / "x.jsonl")
    assert drawn not in (list(asks[0]("q")), list(asks[0]("q")))


def test_versions_of_both_caches_are_known_after_a_merge(cache, tmp_path):
    """The version that was the latest here stays so, and older ones of the file may be adopted into it."""
    with Cache("memory:") as other:
        other.cached_llm(lambda x: x, name="ask", version=1).draw(2, "x")
        other.export(tmp_path / "x.jsonl")
    ask = cache.cached_llm(lambda x: x, name="ask", version=2)
    ask("y")
    cache.load(tmp_path / "x.jsonl")
    assert cache.adopt("ask", version="1") == 2
    assert ask.peek("x") == ["x", "x"]


def test_a_replaced_sample_does_not_come_back(cache, tmp_path):
    """What a file holds that was replaced here since is given to nobody again, wherever it was drawn (P1)."""
    ask = numbering(cache, 0)
    with namespace("n"):
        drawn = ask.draw(3, "x")
    cache.export(tmp_path / "x.jsonl")
    with namespace("m"), mode("refresh"):
        (new,) = ask.draw(1, "x")
    assert cache.load(tmp_path / "x.jsonl").added == 0
    with namespace("n"):
        assert ask("x") not in drawn
    with namespace("o"):
        assert ask.draw(4, "x")[:3] == [new, *drawn[1:]]


def test_what_was_replaced_elsewhere_takes_its_place_here(make, tmp_path):
    """A sample, what replaced it, and what a second cache made of both: nothing is doubled on the way back (P1)."""
    here, there = make("here"), make("there")
    ask, ask_there = numbering(here, 0), numbering(there, 100)
    with namespace("n"):
        ask("x")
    here.export(tmp_path / "before.jsonl")
    there.load(tmp_path / "before.jsonl")
    with namespace("m"), mode("refresh"):
        ask("x")
    here.export(tmp_path / "after.jsonl")
    assert there.load(tmp_path / "after.jsonl").added == 1
    assert ask_there.peek("x") == ["x 0", "x 1"]
    there.export(tmp_path / "both.jsonl")
    assert here.load(tmp_path / "both.jsonl").added == 0
    assert ask.peek("x") == ["x 1"]


def test_a_replaced_sample_does_not_come_back_by_way_of_another_cache(make, tmp_path):
    """A cache that was filled by a later export knows what was replaced before it, and takes no older one's (P1)."""
    here, there, third = make("here"), make("there"), make("third")
    ask, ask_there, ask_third = (numbering(each, at) for each, at in ((here, 0), (there, 100), (third, 200)))
    with namespace("n"):
        drawn = ask.draw(3, "x")
    here.export(tmp_path / "before.jsonl")
    with namespace("m"), mode("refresh"):
        (new,) = ask.draw(1, "x")
    here.export(tmp_path / "after.jsonl")
    there.load(tmp_path / "after.jsonl")
    there.export(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "after.jsonl").read_bytes()
    third.load(tmp_path / "again.jsonl")
    for cache, asks in ((there, ask_there), (third, ask_third)):
        assert cache.load(tmp_path / "before.jsonl").added == 0
        assert asks.peek("x") == [new, *drawn[1:]]


def test_what_was_drawn_before_it_was_replaced_is_not_given_again_elsewhere(make, tmp_path):
    """Who drew a sample that was then replaced is not given it where it still is (P1); who did not, is (P3)."""
    here, there = make("here"), make("there")
    ask, ask_there = numbering(here, 0), numbering(there, 100)
    with namespace("first"):
        ask("x")
    here.export(tmp_path / "before.jsonl")
    there.load(tmp_path / "before.jsonl")
    with namespace("n"):
        assert ask("x") == "x 0"
    with namespace("m"), mode("refresh"):
        assert ask("x") == "x 1"
    here.export(tmp_path / "after.jsonl")
    there.load(tmp_path / "after.jsonl")
    assert ask_there.peek("x") == ["x 0", "x 1"]
    with namespace("n"):
        assert ask_there("x") not in {"x 0", "x 1"}
    with namespace("o"):
        assert ask_there.draw(2, "x") == ["x 0", "x 1"]


def test_what_is_replaced_on_both_sides_is_noted_once(make, tmp_path):
    """Two caches that load each other's exports end with one and the same content."""
    here, there = make("here"), make("there")
    ask, ask_there = numbering(here, 0), numbering(there, 100)
    ask.draw(2, "x")
    here.export(tmp_path / "x.jsonl")
    there.load(tmp_path / "x.jsonl")
    with namespace("m"), mode("refresh"):
        ask("x")
    with namespace("m"), mode("refresh"):
        ask_there("x")
    for _ in range(3):
        here.export(tmp_path / "here.jsonl")
        added = [there.load(tmp_path / "here.jsonl").added]
        there.export(tmp_path / "there.jsonl")
        added.append(here.load(tmp_path / "there.jsonl").added)
    assert added == [0, 0]
    assert sorted(ask.peek("x")) == sorted(ask_there.peek("x")) == ["x 1", "x 100", "x 2"]


def test_a_forgotten_call_comes_back_whole(cache, tmp_path):
    """What was replaced is remembered as long as its call: who forgets a call and loads it has it as it was."""
    ask = numbering(cache, 0)
    ask("x")
    cache.export(tmp_path / "x.jsonl")
    with mode("refresh"):
        ask("x")
    ask.forget("x")
    assert cache.load(tmp_path / "x.jsonl").added == 1
    assert ask.peek("x") == ["x 0"]
