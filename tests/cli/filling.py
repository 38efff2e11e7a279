"""Samples in a cache without a program."""

from memollm._keys.canonical import canonical_call
from memollm._keys.keyer import hash_of
from memollm._types.calls import Call, Place, Want
from memollm._types.requests import Fill, Settle, Take
from memollm._types.samples import Sample
from memollm.testing import NOON
from memollm.testing._bench import asked, written


def fill(cache, calls, *, samples=1, prompt="Question {}", answer="answer {}"):
    """Store so many samples of so many calls, and return the calls."""
    store, codec = cache.store, cache._engine.codec
    ticket = store.flights.depart()
    forms = [
        canonical_call({"name": f"study.ask{at % 7}", "version": "version:1"}, {"prompt": prompt.format(at)})
        for at in range(calls)
    ]
    made = [Call(hash_of(form), form, f"study.ask{at % 7}") for at, form in enumerate(forms)]
    asked(store, Take(ticket, [Want(call, None, samples, None) for call in made], NOON))
    written(
        store,
        [
            Fill(ticket, Place(call, slot), Sample(codec.encode(answer.format(slot)), NOON + at, 2.0, 10, 3, 0.25, 2.0))
            for at, call in enumerate(made)
            for slot in range(samples)
        ],
    )
    written(store, [Settle(ticket, [])])
    store.flights.arrive(ticket)
    return made
