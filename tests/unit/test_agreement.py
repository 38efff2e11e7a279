"""One recorded program, and every place that shows its numbers: they agree, and they add up (P14)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from models import show_time

import memollm
from memollm import Cache, configure
from memollm._spending.track import NUMBERS
from memollm._views.report.collect import collect
from memollm.stores.transcripts import transcript_of
from memollm.testing import FakeClock, ModelDown

DEADLINE = 60
MONEY = ("spent_seconds", "spent_tokens", "spent_cost", "unpriced", "saved_seconds", "saved_tokens", "saved_cost")


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Run a program with hits, a batch, a refusal, a failure and a call of unknown cost; return what was shown."""
    clock, told = FakeClock(), []
    show_time(monkeypatch, clock)
    configure(prices={"m": (1_000.0, 0.0)})
    with Cache(tmp_path / "cache") as cache:

        @cache.cached_llm(namespace="a", name="ask", version=1, accept=lambda answer: answer["text"] != "bad")
        def ask(prompt):
            clock.advance(2)
            if prompt == "down":
                raise ModelDown
            usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}, "model": "m"}
            return {"text": prompt, **(usage if prompt != "dark" else {})}

        @cache.cached_llm(namespace="a", name="many", version=1, batch="prompts")
        def many(prompts):
            clock.advance(3)
            return [memollm.used({"text": prompt}, cost=0.5) for prompt in prompts]

        def program():
            ask.map(["x", "y", "x", "dark", "bad", "down"], concurrency=1, on_error="skip", progress=told.append)
            many(["x", "y", "z"])

        with memollm.track() as first:
            program()
        shown = told[-1]
        with memollm.track() as again, memollm.namespace("b"):
            program()
        yield cache, first, shown, again


def figures(counts):
    """Return what is shown of a `Line`, a `Track` or the like, by name."""
    numbers = {name: getattr(counts, name) for name in NUMBERS if name != "draws"}
    draws = counts.draws
    spent, saved = counts.spent, counts.saved
    money = (spent.seconds, spent.tokens, spent.cost, spent.unpriced, saved.seconds, saved.tokens, saved.cost)
    amounts = {name: round(value, 6) for name, value in zip(MONEY, money, strict=True)}
    return {"draws": draws if isinstance(draws, int) else len(draws), **numbers, **amounts}


def added(*every):
    return {name: round(sum(each[name] for each in every), 6) for name in every[0]}


def of_counts(counts):
    """Return the same of a JSON document with the store's words."""
    tokens = {f"{kind}_tokens": counts[f"{kind}_input"] + counts[f"{kind}_output"] for kind in ("spent", "saved")}
    counts = {**counts, **tokens}
    return {name: round(counts[name], 6) for name in (*NUMBERS, *MONEY)}


def test_every_number_shown_of_one_program_agrees_and_adds_up(recorded, tmp_path):
    """API, bar, command line, JSON and report say the same, and draws are hits, shared and made."""
    cache, first, shown, again = recorded
    total = figures(cache.stats().total)
    assert total == {
        "draws": 16, "hits": 7, "shared": 0, "made": 9, "paid": 7, "failed": 2, "refused": 2, "unstored": 2,
        "spent_seconds": 19, "spent_tokens": 550, "spent_cost": 2.0, "unpriced": 1,
        "saved_seconds": 11, "saved_tokens": 330, "saved_cost": 1.8,
    }  # fmt: skip
    # The API, grouped in whichever way.
    assert added(figures(first), figures(again)) == total
    for by in ("function", "namespace", "run", "day"):
        stats = cache.stats(by)
        assert added(*map(figures, stats)) == figures(stats.total) == total
        assert all(line.draws == line.hits + line.shared + line.made for line in stats)
    # The bar: of the map, which drew all but the batch.
    batch = figures(cache.stats()["many"])
    bar = {name: getattr(shown, name) for name in ("hits", "shared", "made", "paid", "failed")}
    assert bar == {"hits": 0, "shared": 0, "made": 5, "paid": 5, "failed": 1}
    assert (shown.spent.seconds, shown.spent.cost) == (first.spent.seconds - 3, pytest.approx(first.spent.cost - 1.5))
    assert (batch["draws"], batch["made"], batch["paid"]) == (6, 3, 1)
    # The command line and its JSON, from a process of its own.
    ran = [
        subprocess.run(
            [sys.executable, "-m", "memollm", "stats", *more, "--cache", str(tmp_path / "cache")],
            capture_output=True, text=True, timeout=DEADLINE, check=True,
        ).stdout
        for more in ([], ["--by", "namespace", "--json"])
    ]  # fmt: skip
    assert "16 samples: 7 hits (44 %), 0 shared, 9 made, 2 not stored, 2 refused by accept" in ran[0]
    assert "7 calls, 2 failed" in ran[0]
    assert "19 s" in ran[0]
    assert "$2.00 and 1 call of unknown cost" in ran[0]
    told = json.loads(ran[1])
    assert of_counts(told["counted"]) == total
    assert added(*map(of_counts, told["groups"])) == total
    # The report.
    report = collect(cache, place="here", made=0.0, show=["memollm", "show"])
    names = [name for name in total if name != "refused"]
    groups = (report.functions, report.runs)
    for sums in ([report.total], report.days, report.namespaces, *([each.sums for each in group] for group in groups)):
        shown_sums = [{name: getattr(each, name) for name in names} for each in sums]
        assert added(*shown_sums) == {name: total[name] for name in names}
    # Transcripts, which have each sample that was kept, as each namespace was given it.
    told = transcript_of(cache.store)
    assert sum(each.last + 1 - each.first for each in told) == report.drawn == len(report.turns)
    assert report.drawn == total["draws"] - total["unstored"]
    # Text and HTML.
    for cell in ("16", "$2.00 + 1 unpriced", "19 s", "11 s"):
        assert cell in str(cache.stats())
        assert cell in cache.stats()._repr_html_()


def test_another_cache_object_of_the_process_sees_what_was_counted_at_once(recorded, tmp_path):
    """Whoever in this process asks of the place is told what any cache object has counted for it."""
    cache, first, _, again = recorded
    with Cache(tmp_path / "cache") as other:
        assert other.stats().total.draws == len(first.draws) + len(again.draws)
    assert cache.stats().total.draws == len(first.draws) + len(again.draws)


def test_what_a_process_remembers_is_told_beside_what_is_stored(cache):
    """Entries and bytes of both."""
    ask = cache.cached_llm(str.upper, pool=1, name="ask", version=1)
    for prompt in "xy":
        ask(prompt)
        ask(prompt)
    held = cache.holds()
    assert held[:3] == (1, 2, 2)
    assert held.remembered == 2
    assert held.bytes >= held.remembered_bytes > 0
    assert "2 of them remembered by this process" in str(held)
    assert "remembered by this process" in cache._repr_html_()


def test_what_is_listed_prints_as_a_table(cache):
    """In a terminal, and as HTML in a notebook."""
    ask = cache.cached_llm(str.upper, namespace="a", name="ask", version=1)
    ask("x")
    assert str(cache.namespaces()).splitlines() == ["name  calls  draws", "a         1      1"]
    assert cache.namespaces() == [memollm.Namespace("a", 1, 1)]
    assert repr(cache.stats()) == str(cache.stats())
    with memollm.track() as tracked:
        ask("x")
    for shown in (cache.namespaces(), cache.stats(), tracked, ask.explain("y")):
        assert shown._repr_html_().count("<table>") == 1
    assert "prompt" not in ask.explain("x")._repr_html_()
