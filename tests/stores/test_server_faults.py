"""Stores of servers, where the server, the network or a process fails."""

import gc
import os
import threading
import weakref

import pytest
from hands import stock, take
from servers import PATIENCE, until

from memollm import Cache
from memollm._types.allowance import Allowance, Charged
from memollm._types.calls import Place, Want
from memollm._types.requests import Fill, Look, Settle, Take, Write, Written
from memollm._types.samples import EVER, MINE, Busy, Sample
from memollm.errors import NotStoredWarning, StoreUnavailable
from memollm.stores.limiting import limiting
from memollm.stores.transfer import Part
from memollm.testing._bench import asked, call, written
from memollm.testing.fakes import NOON

SLOT = Place(call(), 0)
ANSWERS = {"postgres": 6, "redis": 2}
"""How many answers a charge has."""


@pytest.fixture
def opened(kind, closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(kind.store(url))


@pytest.fixture
def store(kind, opened):
    return opened(kind.server.fresh())


# A program that would rather stop.


def test_a_draw_fails_where_its_server_is_away(behind, proxy, monkeypatch):
    """With on_store_error="raise" nothing is called while the server is away; an answer that it misses is not given."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    made = []
    cache = Cache(behind(patience=0))

    @cache.cached_llm(namespace="a", name="ask", version=1, on_store_error="raise")
    def ask(prompt):
        made.append(prompt)
        if made == ["before", "during"]:
            proxy.cut()
        return f"{prompt} {len(made)}"

    assert ask("before") == "before 1"
    for prompt in ("during", "after"):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            ask(prompt)
    assert made == ["before", "during"]
    proxy.mend()
    assert [ask("during"), ask("after")] == ["during 3", "after 4"]
    assert made == ["before", "during", "during", "after"]


# Answers that are lost.


@pytest.mark.parametrize("lost", [1, 2])
def test_a_take_whose_answer_is_lost_takes_once(behind, lost, proxy):
    """Asked again until it is answered, a take gets the positions that it got first, and no more (P1, P3)."""
    store = behind()
    stock(store, b"zero", b"one", b"two")
    for n, expected in ((1, [0]), (2, [1, 2]), (2, [3, 4])):
        proxy.lose_answers(lost)
        assert take(store, n).at == expected
    assert take(store).at == [5]


def test_a_claim_whose_answer_is_lost_is_made_once(behind, proxy):
    """What was claimed by a take whose answer was lost is the draw's own (P5)."""
    store = behind()
    proxy.lose_answers(1)
    hand = take(store, 2)
    assert hand.states == [MINE, MINE]
    proxy.lose_answers(1)
    hand.fill(b"zero", b"one")
    proxy.lose_answers(1)
    hand.settle()
    assert take(store, 2, reader="b").records == [b"zero", b"one"]
    assert take(store).at == [2]


def test_a_look_whose_answer_is_lost(behind, proxy):
    """A look that is asked again finds what it has claimed itself."""
    store = behind()
    hand = take(store, reader="a")
    waiting = take(store, reader="b")
    hand.give_back()
    proxy.lose_answers(1)
    assert waiting.look(0) == [MINE]


def test_a_write_whose_answer_is_lost_counts_once(behind, proxy):
    """A return that was done, and is asked again, frees nothing that was drawn meanwhile (P1)."""
    store = behind()
    stock(store, b"zero", b"one")
    hand = take(store)
    proxy.lose_answers(1)
    hand.bring_back(0)
    assert [take(store).at, take(store).at] == [[0], [1]]


def test_what_was_lost_by_a_fill_is_told_again(behind, proxy):
    """A fill that came second is told so though the first answer was lost (P2)."""
    store = behind()
    hand, other = take(store, reader="a"), take(store, reader="b")
    hand.fill(b"first")
    proxy.lose_answers(1)
    late = written(store, [Fill(other.ticket, SLOT, Sample(b"second", NOON))])
    assert late.lost == {SLOT: Sample(b"first", NOON)}
    assert take(store, reader="c").records == [b"first"]


def test_a_replacement_whose_answer_is_lost_begins_an_epoch(behind, proxy):
    """Who remembers what was replaced is told, whichever answer of that was lost (P2)."""
    store = behind()
    stock(store, b"old")
    for turn in range(3):
        hand = take(store, reader=None, newer_than=NOON + turn)
        epoch = store.epoch()
        proxy.lose_answers(1, after=turn)
        hand.fill(b"new", stored=NOON + turn + 1)
        proxy.lose_answers(0)
        hand.settle()
        assert store.epoch() != epoch


@pytest.mark.parametrize("is_over", [False, True])
def test_a_draw_that_was_never_answered_gives_all_back(behind, proxy, is_over):
    """A take that was done, and of which its process never learned, is freed when the server is there again (P3)."""
    store = behind(patience=0)
    stock(store, b"zero")
    for n in (1, 2, 3):
        ticket = store.flights.depart()
        proxy.lose_answers(1)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            asked(store, Take(ticket, [Want(call(), "reader", n, None)]))
        if not is_over:
            assert asked(store, Write(store.flights.new_id(), [Settle(ticket, None)])) == Written()
        store.flights.arrive(ticket)
        again = take(store, n)
        assert again.at == list(range(n))
        again.give_back()


def test_a_draw_that_was_never_answered_is_settled_by_closing(behind, proxy, opened, kind):
    """What it was given is free when its process has left, though no other draw has come since (P3)."""
    store = behind(patience=0)
    stock(store, b"zero", b"one")
    take(store)
    store.peek(call())
    ticket = store.flights.depart()
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        asked(store, Take(ticket, [Want(call(), "reader", 1, None)]))
    store.flights.arrive(ticket)
    store.close()
    assert take(opened(kind.server.url)).at == [1]


@pytest.mark.parametrize(
    ("kind", "answered"),
    [(kind, answered) for kind, answers in ANSWERS.items() for answered in range(answers)],
    indirect=["kind"],
)
def test_a_charge_whose_answer_is_lost_counts_once(behind, proxy, answered):
    """A program is charged once, whichever answer of it is lost, and what is refused charges nothing (P14)."""
    store = behind()
    charge, allowed = limiting(store).charge, Allowance(calls=3)
    assert charge("p", Charged(1), allowed) == (Charged(1), True)
    proxy.lose_answers(1, after=answered)
    assert charge("p", Charged(1, 0.5), allowed) == (Charged(2, 0.5), True)
    assert charge("p", Charged(2), allowed) == (Charged(2, 0.5), False)
    assert charge("p", Charged(1), allowed) == (Charged(3, 0.5), True)


def test_a_cut_network_is_waited_for(behind, proxy):
    """A network that is cut for a while is no reason to refuse: what was paid for is stored when it is mended (P7)."""
    store = behind()
    hand = take(store)
    proxy.cut()
    mending = threading.Timer(0.3, proxy.mend)
    mending.start()
    hand.fill(b"zero")
    mending.join(PATIENCE)
    assert take(store, reader="b").records == [b"zero"]


def test_what_is_filled_while_its_taker_knows_nothing_is_given_once(behind, proxy, kind, opened):
    """A take that is asked again, and whose slot another has filled meanwhile, is settled as any other (P1)."""
    store, peer = behind(patience=0), opened(kind.server.url)
    making = take(peer, reader="b")
    again = Take(store.flights.depart(), [Want(call(), "reader", 1, None)])
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable):
        asked(store, again)
    making.fill(b"zero")
    making.settle()
    (taken,) = asked(store, again)
    assert [*taken.positions] == [0]
    if not isinstance(taken.states[0], Sample):
        (state,) = asked(store, Look(again.ticket, [SLOT], EVER))
        assert state.record == b"zero"
        written(store, [Settle(again.ticket, ())])
    store.flights.arrive(again.ticket)
    store.close()
    assert take(peer).at == [1]


# Owners.


@pytest.mark.parametrize("order", ["its own first", "the other's first"])
def test_an_owner_that_was_taken_for_dead(kind, store, opened, order):
    """Whichever of two fills comes first is the sample, and who is told of a void position draws another (P1, P2)."""
    peer = opened(kind.server.url)
    hand = take(store)
    with kind.taken_for_dead(kind.server, store):
        taking = take(peer)
        assert (taking.at, taking.states) == ([0], [MINE])
    first, second = (hand, taking) if order == "its own first" else (taking, hand)
    assert written(first.store, first.fills(b"first")) == Written()
    assert written(second.store, second.fills(b"second")).lost == {SLOT: Sample(b"first", NOON)}
    assert [position.at for position in hand.settle().void] == [0]
    assert taking.settle().void == ()
    assert take(store, reader="b").records == [b"first"]
    assert take(peer).at == [1]


def test_who_was_taken_for_dead_and_does_not_hear_what_it_stored(behind, proxy, kind, monkeypatch):
    """With on_store_error="raise" it returns nothing; who has its position by now is given what it stored (P1)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    begun, goes_on, given = threading.Event(), threading.Event(), []
    cache, other = Cache(behind(patience=0)), Cache(kind.server.url)

    def draws(cache, function):
        return cache.cached_llm(namespace="a", name="ask", version=1, on_store_error="raise")(function)

    def held_up():
        if not given:
            # Nothing but the answer to its fill comes after it, once the call is known.
            return "early"
        with kind.taken_for_dead(kind.server, cache.store):
            drawing.start()
            assert begun.wait(PATIENCE)
        proxy.lose_answers(1)
        return "late"

    def slow():
        begun.set()
        assert goes_on.wait(PATIENCE)
        return "other"

    ask, ask_other = draws(cache, held_up), draws(other, slow)
    assert [ask(), ask()] == ["early"] * 2
    drawing = threading.Thread(target=lambda: given.append(ask_other()), daemon=True)
    given.append("begins")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        ask()
    goes_on.set()
    drawing.join(PATIENCE)
    assert given == ["begins", "late"]
    assert ask_other() == "other"
    cache.close()
    other.close()


@pytest.mark.parametrize("is_heard_again", [True, False])
def test_an_interrupt_at_the_end_gives_back_nothing_of_others(kind, is_heard_again, monkeypatch):
    """Taken for dead, and interrupted before it hears so, a draw frees no position that another was given (P1, P3)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    url, made = kind.server.fresh(), []
    cache, other = Cache(url), Cache(url)
    plain, interrupts = cache.store.perform, [KeyboardInterrupt(), StoreUnavailable("It is away.")]

    def perform(requests):
        answers = plain(requests)
        ends = any(isinstance(each, Settle) for request in requests for each in getattr(request, "changes", ()))
        if not (ends and interrupts):
            return answers
        if isinstance(error := interrupts.pop(0), StoreUnavailable):
            return [error] * len(requests)
        if is_heard_again:
            interrupts.clear()
        raise error

    def held_up():
        made.append("held up")
        if len(made) == 1:
            with kind.taken_for_dead(kind.server, cache.store):
                assert ask_other() == "other 2"
            monkeypatch.setattr(cache.store, "perform", perform)
        return f"held up {len(made)}"

    def answer():
        made.append("other")
        return f"other {len(made)}"

    ask, ask_other = (
        each.cached_llm(namespace="a", name="ask", version=1)(function)
        for each, function in ((cache, held_up), (other, answer))
    )
    with pytest.raises(KeyboardInterrupt):
        ask()
    assert not interrupts
    assert [ask_other(), ask(), ask_other()] == ["other 3", "held up 4", "other 5"]
    assert ask.peek() == ["other 2", "other 3", "held up 4", "other 5"]
    cache.close()
    other.close()


def test_what_a_copy_leaves_free_is_no_longer_its_draws(kind, store, opened):
    """Who was taken for dead while its cache was copied draws anew what others are given by the copy (P1)."""
    peer = opened(kind.server.url)
    stock(store, b"zero")
    hand = take(store, 2)
    with kind.taken_for_dead(kind.server, store), peer.keeping.transfer().snapshot() as snapshot:
        (cursor,) = [cursor for entry in snapshot.entries(Part()) for cursor in snapshot.cursors(entry)]
    assert (cursor.next, list(cursor.free)) == (2, [0, 1])
    hand.fill(b"one")
    assert [position.at for position in hand.settle().void] == [0, 1]


def test_a_reader_leaves_free_what_nobody_can_be_given(kind, store, opened):
    """Who may void nothing, as on a standby, counts as given what may be delivered at any moment (P1)."""
    stock(store, b"zero")
    hand = take(store, 2)
    reader = opened(kind.server.url).reader()
    with kind.taken_for_dead(kind.server, store), reader.snapshot() as snapshot:
        (cursor,) = [cursor for entry in snapshot.entries(Part()) for cursor in snapshot.cursors(entry)]
    assert (cursor.next, list(cursor.free)) == (2, [1])
    hand.fill(b"one")
    assert hand.settle().void == ()
    reader.close()


def test_a_store_that_nobody_refers_to_leaves_its_server(kind):
    """Who forgets to close a cache keeps no thread and no connection."""
    store = kind.store(kind.server.fresh())
    stock(store, b"zero")
    gone, thread = weakref.ref(store), store.opened().line._thread
    del store

    def is_gone():
        gc.collect()
        return gone() is None

    # Its thread may be about to say that it lives.
    until(is_gone)
    thread.join(PATIENCE)
    assert not thread.is_alive()


OWNER = """
import os, sys, time
from importlib import import_module
from memollm._types.calls import Want
from memollm.testing._bench import Hand, call

store = getattr(import_module(sys.argv[1]), sys.argv[2])(sys.argv[3])
hand = Hand(store, Want(call(), "reader", 3, None))
if sys.argv[4] == "forks":
    child = os.fork()
    if child == 0:
        own = Hand(store, Want(call("of the child"), "reader", 1, None))
        print("ready", *own.at, flush=True)
        sys.stdin.read()  # Until the test lets go.
        os._exit(0)
else:
    print("ready 0", flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(kind, running):
    """Start a process that holds three positions and their claims; it can only be killed."""
    opens = (kind.store.__module__, kind.store.__name__, kind.server.url + kind.hasty)
    return lambda how: running(OWNER, *opens, how, says=b"ready 0\n")


@pytest.mark.parametrize(
    "how", ["draws", pytest.param("forks", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"))]
)
def test_killed_process_leaves_its_positions_and_claims(store, owner, how):
    """Who waits for a killed process takes over, also where a forked child of it lives on (P3, P5)."""
    process = owner(how)
    waiting = take(store, 3, reader="b")
    assert waiting.states == [Busy(None)] * 3
    woken = threading.Event()
    stop = store.watch([SLOT], lambda _: woken.set())
    process.kill()
    assert woken.wait(PATIENCE)
    stop()
    assert waiting.look(0, 1, 2) == [MINE] * 3
    written(store, [Fill(waiting.ticket, Place(call(), slot), Sample(b"%d" % slot, NOON)) for slot in range(3)])
    waiting.settle()
    assert take(store, 3).at == [0, 1, 2]


def test_waiting_process_is_told_of_a_fill(kind, store, opened):
    """Who waits for a live process is told when the slot is filled."""
    peer = opened(kind.server.url)
    hand = take(store)
    woken = threading.Event()
    peer.watch([SLOT], lambda _: woken.set())
    assert not woken.wait(0.2)
    hand.fill(b"zero")
    assert woken.wait(PATIENCE)


# The server.


def test_killed_server_loses_nothing_that_was_stored(own_server, opened):
    """After a crash of the server what was filled, drawn and claimed is as it was, and draws go on (P1, P5, P7)."""
    store, peer = opened(own_server.url), opened(own_server.url)
    stock(store, b"zero", b"one")
    assert take(store).at == [0]
    hand = take(store, 2)
    waiting = take(peer, reader="b", of=call())
    assert waiting.records == [b"zero"]
    own_server.kill()
    starting = threading.Timer(0.1, own_server.start)
    starting.start()
    hand.fill(b"two")
    starting.join(PATIENCE)
    assert hand.settle().void == ()
    assert take(peer, 2).at == [3, 4]
    assert take(peer, 3, reader="c").records == [b"zero", b"one", b"two"]


def test_server_that_stays_away_is_said(kind, own_server, opened):
    """A draw is refused in a sentence after a while, the next at once, and all goes on when the server is back."""
    store = opened(f"{own_server.url}?patience=0.2")
    take(store).settle()
    own_server.kill()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=rf"cache {kind.name}://…@127.* cannot be reached: .*Check that"):
            take(store)
    until(lambda: store.epoch() == -1)
    own_server.start()
    assert store.opened().line.is_up.wait(PATIENCE)
    assert take(store).at == [1]


def waits_of(store, monkeypatch):
    """Note each wait of a store for its server."""
    waits, get_ready = [], store.get_ready
    monkeypatch.setattr(store, "get_ready", lambda *said: (waits.append(said), get_ready(*said)))
    return waits


@pytest.mark.parametrize("dies", ["during a call", "between draws"])
def test_a_server_that_was_waited_for_in_vain_is_not_waited_for_again(own_server, opened, monkeypatch, dies):
    """Whatever its death left half done, each later draw tries once and says why; all goes on when it is back."""
    store = opened(f"{own_server.url}?patience=0.3")
    cache, waits, made = Cache(store), waits_of(store, monkeypatch), []

    def answer(prompt):
        made.append(prompt)
        if (dies, prompt) == ("during a call", "during"):
            own_server.kill()
        return prompt

    ask, peer = (cache.cached_llm(answer, namespace=each, name="ask", version=1) for each in "ab")
    stopping = cache.cached_llm(answer, namespace="a", name="ask", version=1, on_store_error="raise")
    ask("before")
    if dies == "between draws":
        own_server.kill()
    with pytest.warns(NotStoredWarning, match=r"cannot be reached: .*refused"):
        ask("during")
    assert waits
    waits.clear()
    ask("after")
    with pytest.raises(StoreUnavailable, match=r"cannot be reached: .*refused"):
        stopping("later")
    assert waits == []
    until(lambda: store.epoch() == -1)
    own_server.start()
    assert store.opened().line.is_up.wait(PATIENCE)
    assert [each(prompt) for prompt in ("before", "back") for each in (ask, peer)] == ["before"] * 2 + ["back"] * 2
    assert made == ["before", "during", "after", "before", "back"]
