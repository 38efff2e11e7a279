"""A cache with a history for the report's tests: calls with costs, counted days, and texts that try to break out."""

from __future__ import annotations

from memollm._keys.canonical import canonical_call
from memollm._keys.keyer import hash_of
from memollm._types.calls import Call, Place
from memollm._types.counting import Account, Counts
from memollm._types.requests import Fill
from memollm._types.samples import Sample
from memollm.stores.keeping import keeping
from memollm.testing._bench import written

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(2)>",
    '"><svg/onload=alert(3)>',
    "javascript:alert(4)",
    "${alert(5)} {{alert(6)}} $policy $data",
    "\\u003c/script\\u003e \u2028\u2029 \u202eevil\u202c \ud800 \x00\x1b[31m",
    "]]> &lt;b&gt; &amp; %3Cscript%3E",
)
LONG = "W" * 250
"""A word that no line holds."""
NOON = 1_790_000_000.0


def call_of(function, **arguments):
    form = canonical_call({"name": function, "version": "1"}, arguments)
    return Call(hash_of(form), form, function)


def store_samples(cache, call, *answers, cost=None, seconds=1.5, tokens=(30, 20), stored=NOON):
    """Store answers as a paid draw would have."""
    encode = cache._engine.codec.encode
    records = [each if isinstance(each, bytes) else encode(each, context=call.key) for each in answers]
    ticket = cache.store.flights.depart()
    written(
        cache.store,
        [
            Fill(ticket, Place(call, slot), Sample(record, stored, seconds, *tokens, cost))
            for slot, record in enumerate(records)
        ],
    )
    cache.store.flights.arrive(ticket)


def count(cache, day, function, *, namespace="", run="run", **counts):
    keeping(cache.store).count(
        cache.store.flights.new_id(), {Account(day, run, namespace, function): Counts(**counts)}, []
    )


def fill(cache):
    """Give a cache two functions with a month of draws, sixty calls, a hostile call and a long name."""
    for day in range(1, 31):
        spent = {"paid": 2, "spent_cost": 0.5, "spent_seconds": 30.0}
        count(
            cache, f"2026-11-{day:02}", "paper:solve", namespace="exp-1",
            draws=10, hits=8, made=2, saved_cost=2.0, saved_seconds=120.0, **spent,
        )  # fmt: skip
        count(cache, f"2026-11-{day:02}", "paper:grade", draws=4, hits=1, shared=1, made=2, saved_seconds=6.0, **spent)
    for number in range(60):
        call = call_of("paper:solve", prompt=f"Question {number}: why?", model="small", temperature=1.0)
        store_samples(cache, call, *(f"Because {number}.{slot}" for slot in range(1 + number % 4)), cost=0.01 * number)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grade this essay. " * 8}]
    store_samples(cache, call_of("paper:grade", messages=chat), "good", {"grade": 2, "why": "long"}, "good", cost=5.0)
    evil = HOSTILE[0]
    hostile = call_of(evil, prompt=" ".join(text for text in HOSTILE if text.isascii()), a=HOSTILE[2])
    store_samples(cache, hostile, *HOSTILE[:6], HOSTILE[6], HOSTILE[7], {evil: [evil]}, LONG, cost=9.0)
    count(cache, "2026-11-30", evil, namespace=evil, draws=1, made=1, paid=1, spent_cost=9.0)
    count(cache, "2026-11-30", LONG, namespace=LONG)
    return cache


def fill_large(cache, calls, samples, at_once=500):
    """Store many calls of plain samples, as fast as a store takes them."""
    words = " ".join(f"word{number}" for number in range(100))
    record = cache._engine.codec.encode(words)
    ticket = cache.store.flights.depart()
    for begun in range(0, calls, at_once):
        fills = []
        for number in range(begun, min(calls, begun + at_once)):
            call = call_of(f"large:f{number % 7}", prompt=f"question{number} {words}")
            filled = Sample(record, NOON + number, 1.0, 100, 100, number / calls)
            fills += [Fill(ticket, Place(call, slot), filled) for slot in range(samples)]
        written(cache.store, fills)
    cache.store.flights.arrive(ticket)
