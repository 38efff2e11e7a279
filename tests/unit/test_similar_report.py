"""The report of shadows: a replay of the calls that were made says what each threshold would have lent."""

from __future__ import annotations

import itertools
import math
import random
import sys

import pytest

from memollm import Cache, Embedder, MemollmWarning, OptionError, Similar
from memollm._similar.replay import Replayed
from memollm._upkeep import shadows
from memollm._upkeep.shadows import ShadowReplay
from memollm._upkeep.similarity import SimilarReport
from memollm.testing import hashed_ngrams

HASHED = Embedder(hashed_ngrams, name="hashed")
WORDS = ("the", "owl", "hunts", "not", "3", "4", "mice", "more", "less", "often", "at", "Rome", "and", "bats", "by")

OWLS = ("tell of an owl", "tell me of an owl", "please tell me of an owl", "so please tell me of an owl")


@pytest.fixture
def cache():
    with Cache("memory:") as made:
        yield made


def asking(cache, function, **options):
    similar = Similar("question", **{"embed": HASHED, "shadow": True, **options})
    return cache.cached_llm(function, similar=similar, pool=1, name="answer", version=1)


def texts_of(seed, number=60):
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randrange(2, 7))) for _ in range(number)]


def truth(question):
    """Answer by one word: texts with the same agree."""
    return "owl" if "owl" in question.split() else "bat" if "bats" in question.split() else "none"


def even(asked, stored):
    """Stand for a model that reads both texts."""
    return (len(asked) + len(stored)) % 2 == 0


def lent_by(texts, **options):
    """Tell what a cache lends, and how much of that is right, where it is done."""
    called = []

    def answer(question):
        called.append(question)
        return truth(question)

    with Cache("memory:") as cache:
        lend = asking(cache, answer, shadow=False, **options)
        lent = [text for text in texts if (lend(text), called[-1:] != [text])[1]]
        return len(lent), sum(lend(text) == truth(text) for text in lent)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize(
    "options", [{}, {"gates": []}, {"gates": ["order"]}, {"verify": even}], ids=["all", "none", "order", "verify"]
)
def test_a_line_is_what_lending_does(cache, seed, options):
    """For every threshold the report tells what a cache that lends from it on lends, and how much of that is right."""
    texts = [*dict.fromkeys(texts_of(seed))]
    if "verify" in options:
        # What it was never asked is not known, so it is asked all.
        options = {"verify": cache.cached_llm(even, pool=1)}
        for pair in itertools.combinations(texts, 2):
            options["verify"](*pair)
    look = asking(cache, truth, threshold=0.3, **options)
    for text in (*texts, *texts):
        look(text)
    report = cache.similar_report(gates=options.get("gates"))
    lines = {line.threshold: line for line in report.lines()}
    assert report.calls == len(texts)
    told = {0.4, 0.5, 0.55, 0.6, 0.66, 0.7, 0.8, 0.9, 1.0} & lines.keys()
    assert len(told) > 4
    for threshold in told:
        line = lines[threshold]
        assert (line.lent, line.agreed) == lent_by(texts, threshold=threshold, **options), threshold


def bearing(text):
    """Place a text at an angle, and those of another kind near one another."""
    if text.startswith("x"):
        return [1.0, 0.0, 0.0]
    near, apart = math.acos(0.9), 0.002 * int(text.split("-")[1])
    return [math.cos(near), math.sin(near) * math.cos(apart), math.sin(near) * math.sin(apart)]


def test_one_that_is_a_little_near_to_many(cache):
    """Where a text would lend to a hundred that are nearer to one another, the report says so: it replays."""
    look = asking(cache, lambda question: question[0], embed=Embedder(bearing, name="b"), gates=[])
    for text in ("x", *(f"y-{number}" for number in range(100))):
        look(text)
    report = cache.similar_report(gates=[])
    lines = {line.threshold: line for line in report.lines()}
    assert (lines[0.9].lent, lines[0.9].agreed) == (100, 0)
    assert (lines[0.91].lent, lines[0.91].agreed) == (99, 99)
    assert report.threshold_for(0.99) == lines[0.91]
    # One text has lent to all of them, so that it is right or wrong as one.
    assert (lines[0.91].stands_on, lines[0.91].at_least < 0.5) == (1.0, True)
    assert "little to go by" in report.advice(0.99)
    assert "No threshold" not in str(report)


def test_partitions_are_added_up(cache):
    """Calls with other arguments are replayed by themselves, and told together."""
    similar = Similar("question", embed=HASHED, shadow=True)
    look = cache.cached_llm(lambda question, model: question, similar=similar, pool=1, name="answer", version=1)
    for model in "ab":
        for text in ("an owl at night", "the owl at night", "by day"):
            look(text, model=model)
    report = cache.similar_report()
    assert report.calls == 6
    assert max(line.lent for line in report.lines()) == 2


def test_the_latest_are_replayed_and_the_rest_told(cache):
    """`last` calls are replayed; how many were left out is told, and how many have no answer any more."""
    look = asking(cache, truth)
    for text in OWLS:
        look(text)
    report = cache.similar_report(last=2)
    assert report.calls == 2
    assert "2 before them are left out" in str(report)
    assert len(report) == 3, "the pairs are all there"
    for last in (0, "all", True):
        with pytest.raises(OptionError, match="last="):
            cache.similar_report(last=last)
    with pytest.raises(OptionError, match="none of the name"):
        cache.similar_report(gates=["colour"])


def test_what_verify_was_not_asked_is_told(cache):
    """Where lending would ask `verify` what a shadow did not, the call counts as made, and the report says so."""
    look = asking(cache, truth, embed=Embedder(bearing, name="b"), gates=[], verify=lambda asked, stored: True)
    for text in ("x", "y-0", "y-1", "y-2"):
        look(text)
    report = cache.similar_report(gates=[])
    lines = {line.threshold: line for line in report.lines()}
    # From 0.9 on, y-1 would be lent x's answer if `verify` said so; from 0.91 on, y-2 that of y-0.
    assert (lines[0.9].lent, lines[0.91].lent) == (2, 1)
    assert "verify= was not asked" in report.measures()


def test_a_report_of_nothing_says_so(cache):
    """Without shadows there is no threshold, and what to do is told."""
    report = cache.similar_report()
    assert (report.lines(), report.threshold_for(0.9), len(report)) == ([], None, 0)
    assert "among 0 calls" in report.advice(0.9)
    assert "shadow=True" in str(report)
    with pytest.raises(OptionError, match="precision=0"):
        report.threshold_for(0)


def test_a_gate_that_raises_is_closed_in_a_replay_and_told_once(cache):
    """A gate of the user's that raises keeps out, and a warning says so once, as where it lends."""
    look = asking(cache, truth)
    for text in OWLS:
        look(text)
    with pytest.warns(MemollmWarning, match=r"gate.*ZeroDivisionError") as told:
        report = cache.similar_report(gates=[lambda asked, stored: 1 / 0])
    assert len(told) == 1
    assert [line.lent for line in report.lines()] == [0] * len(report.lines())


def test_answers_that_are_gone_are_no_part_of_it(cache):
    """A call whose answer was forgotten or evicted is not replayed."""
    look = asking(cache, truth)
    for text in OWLS:
        look(text)
    look.forget(OWLS[-1])
    assert cache.similar_report().calls == 3


def test_any_range_of_thresholds_fits():
    """There are never more thresholds than are replayed at once, down to the lowest, and the highest are all there."""
    for lowest in range(1, 101):
        told = shadows._hundredths(lowest / 100)
        assert len(told) <= 64
        assert told[0] in {lowest, lowest + 1}
        assert told[-29:] == [*range(max(72, lowest), 101)]


def test_a_replay_without_numpy_names_the_extra(cache, monkeypatch):
    """Where NumPy is missing, the report says what to install."""
    look = asking(cache, truth)
    look(OWLS[0])
    look(OWLS[1])
    monkeypatch.setitem(sys.modules, "memollm._similar.replay", None)
    with pytest.raises(OptionError, match=r"memollm\[similar\]"):
        cache.similar_report()


# Each embedder by itself.


def test_each_embedder_has_a_table_of_its_own(cache):
    """What two embedders looked at is never added up: each text counts once, by the one that saw it."""
    first, second = (
        asking(cache, truth, embed=Embedder(hashed_ngrams, name="hashed", version=version)) for version in (1, 2)
    )
    for text in OWLS:
        first(text)
    alone = cache.similar_report().lines()
    for text in ("the owl hunts", "at night the owl hunts", "so at night the owl hunts"):
        second(text)
    report = cache.similar_report()
    assert [each.calls for each in report.each()] == [3, 4], "the one that was used last comes first"
    assert report.others[0].lines() == alone
    assert str(report).count("A replay of") == 2
    assert [line.partition(":")[0] for line in report.advice(0.9).splitlines()] == [
        "hashed (version 2, 128 numbers)",
        "hashed (version 1, 128 numbers)",
    ]


def test_a_decorated_function_means_the_embedder_that_it_has(cache):
    """Asked with the function itself, the report is about its embedder and its `verify` alone."""
    other = Embedder(hashed_ngrams, name="other")
    looks = [asking(cache, truth), asking(cache, truth, embed=other, verify=lambda asked, stored: True)]
    for look, texts in zip(looks, (OWLS, ("the owl hunts", "at night the owl hunts")), strict=True):
        for text in texts:
            look(text)
    assert [(cache.similar_report(look).calls, cache.similar_report(look).others) for look in looks] == [
        (4, ()),
        (2, ()),
    ]
    assert "verify=" in cache.similar_report(looks[1]).embedder
    with pytest.raises(OptionError, match="decorated function"):
        cache.similar_report(truth)


# What the advice says.


def lines(*told):
    """Make a report of what thresholds would have lent: threshold, lent, agreed."""
    replay = ShadowReplay(tuple(Replayed(level, lent, agreed, lent, 0) for level, lent, agreed in told), 302, by="e")
    return SimilarReport((), replay, ())


def test_a_higher_threshold_that_is_worse_is_named():
    """Where no threshold is as wanted with all above it, the advice names the one that is not, and one that is."""
    report = lines((0.98, 1, 0), (0.97, 151, 150))
    assert report.threshold_for(0.99) is None
    told = report.advice(0.99)
    assert "0.97 has 99.3%, but of what 0.98 would have lent, 0 of 1 are right" in told
    assert "would have lent anything" in lines((0.98, 0, 0)).advice(0.99)
    with pytest.raises(OptionError, match="precision='a'"):
        report.advice("a")


def test_the_advice_says_what_it_counts(cache):
    """Where one call lends most, what that tells is counted in calls that lend once each."""
    replay = ShadowReplay((Replayed(0.9, 1_059, 1_059, 1_000_059, 0),), 1_119, by="e")
    assert "as much as 1 call that would have lent once each" in SimilarReport((), replay, ()).advice(0.9)
    assert "little" not in lines((0.9, 60, 60)).advice(0.9)


def test_a_function_that_no_shadow_knows_is_told(cache):
    """Of a function of which nothing was noted, the report names those that it knows."""
    look = asking(cache, truth)
    for text in OWLS:
        look(text)
    assert "There is something of answer." in str(cache.similar_report("nix"))
