"""What draws leave behind comes to servers in a few round trips, however much it is, and counts once."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing as closes

import pytest
from hands import stock

from memollm import Cache
from memollm._spending import accounts
from memollm._types.counting import Account, Counts, DrawnStretch, Use
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.transcripts import transcribing, transcript_of
from memollm.stores.transfer import Part
from memollm.testing._bench import NOON, call

ACCOUNT = Account("2026-11-21", "r", "", "f")


@pytest.fixture
def url(kind, proxy):
    """Give an empty store behind a proxy."""
    kind.server.fresh()
    return kind.server.url_at(proxy.port)


def asked_to_close(kind, url, proxy, calls, name):
    """Draw once of each of some calls, and return how often the server was asked to close after that."""
    cache = Cache(kind.store(url))
    ask = cache.cached_llm(answer, namespace=name, name="ask", version="1")

    async def draw():
        await asyncio.gather(*(ask(f"{name} {nth}") for nth in range(calls)))

    asyncio.run(draw())
    before = proxy.asked
    cache.close()
    return proxy.asked - before


async def answer(prompt):
    return prompt


def test_closing_takes_a_few_round_trips_however_much_was_drawn(kind, url, proxy, monkeypatch):
    """After 300 calls a process closes with the round trips that it takes after 10; what was counted is all there."""
    monkeypatch.setattr(accounts, "BETWEEN", 3600.0)
    few, many = asked_to_close(kind, url, proxy, 10, "few"), asked_to_close(kind, url, proxy, 300, "many")
    # What is long may come in several pieces.
    assert many < few + 20
    with closes(kind.store(url)) as store:
        assert sum(each.draws for each in looking(store).counted().values()) == 310
        assert len(transcript_of(store, namespace="many")) == 300


def stretches(store):
    """Read what runs used."""
    with keeping(store).transfer().snapshot() as snapshot:
        return {
            (each.run, entry.call.form): sorted(
                (one.first, one.last) for one in snapshot.stretches(entry) if one.run == each.run
            )
            for entry in snapshot.entries(Part())
            for each in snapshot.stretches(entry)
        }


def test_uses_brought_together_are_joined_as_if_one_by_one(kind, closing):
    """Stretches of several runs and calls that touch, lie in each other or come twice are one, as on all stores."""
    store = closing(kind.store(kind.server.fresh()))
    calls = [call("a"), call("b")]
    for of in calls:
        stock(store, *(b"%d" % nth for nth in range(12)), of=of)
    given = [(0, 1), (3, 4), (2, 2), (7, 9), (8, 8), (11, 11), (7, 9)]
    uses = [Use(run, of, *each, NOON) for each in given for of in calls for run in ("run:1", "run:2")]
    keeping(store).count(
        store.flights.new_id(), {}, [*uses, Use(None, calls[0], 0, 0, NOON), Use("r", call("c"), 0, 0, 1)]
    )
    joined = [(0, 4), (7, 9), (11, 11)]
    of_all = {(run, of.form): joined for of in calls for run in ("run:1", "run:2")}
    assert stretches(store) == of_all
    keeping(store).count(store.flights.new_id(), {}, [Use("run:2", calls[1], 5, 6, NOON), *uses])
    assert stretches(store) == {**of_all, ("run:2", calls[1].form): [(0, 9), (11, 11)]}


def test_counts_of_which_the_answer_was_lost_count_once(kind, behind, proxy):
    """What was asked again because no answer came has been done, and is not done again."""
    store = behind()
    proxy.lose_answers(1)
    keeping(store).count(store.flights.new_id(), {ACCOUNT: Counts(draws=1, spent_cost=0.1)}, [])
    assert dict(looking(store).counted()) == {ACCOUNT: Counts(draws=1, spent_cost=0.1)}


def test_counts_that_come_late_count_once(kind, behind, proxy):
    """What comes to the server after it was asked again, or after the process has left, adds nothing."""
    store = behind()
    proxy.keep_questions(1)
    keeping(store).count(store.flights.new_id(), {ACCOUNT: Counts(draws=1)}, [Use("r", call("first"), 0, 0, NOON)])
    store.close()
    proxy.let_come()
    with closes(kind.store(kind.server.url)) as another:
        assert dict(looking(another).counted()) == {ACCOUNT: Counts(draws=1)}


def test_processes_that_note_the_same_at_once_do_not_wait_in_a_circle(kind, closing):
    """Several note uses and transcripts of the same calls, each in an order of its own; all of it is there once."""
    kind.server.fresh()
    calls = [call(f"c{nth}") for nth in range(20)]
    stores = [closing(kind.store(kind.server.url)) for _ in range(4)]
    for of in calls:
        stock(stores[0], b"x", of=of)
    failed = []

    def note(nth, store):
        try:
            for again in range(5):
                mine = calls[nth * 5 :] + calls[: nth * 5]
                mine = mine[::-1] if nth % 2 else mine
                # Nothing but the stretches is written to calls that were used later than this.
                uses = [Use(f"run:{again}", of, nth, nth, 0.0) for of in mine]
                counts = {ACCOUNT._replace(function=of.form): Counts(draws=1) for of in mine}
                keeping(store).count(store.flights.new_id(), counts, uses)
                drawn = [DrawnStretch(f"r{at % 3}", "n", f"l{at}", of, 0, 0, NOON + at) for at, of in enumerate(mine)]
                transcribing(store).transcribe(drawn)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=note, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert not [thread for thread in threads if thread.is_alive()]
    assert [each.draws for each in looking(stores[0]).counted().values()] == [20] * 20
    assert stretches(stores[0]) == {(f"run:{again}", of.form): [(0, 3)] for again in range(5) for of in calls}
