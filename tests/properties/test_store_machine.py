"""The SQLite store and the memory store answer alike whatever is done to them, and as a model of positions says."""

import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memollm._types.calls import RESUMES, Place, Position, Want, recorder, resumed
from memollm._types.counting import Use
from memollm._types.requests import Fill, Look, Return, Settle, Take, Write
from memollm._types.samples import EVER, MINE, Busy, Sample
from memollm.stores.keeping import keeping
from memollm.stores.looking import drawn, looking
from memollm.stores.memory.store import MemoryStore
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import FakeClock
from memollm.testing._bench import asked, call

CALLS = [call("one", key=b"k" * 16), call("other", key=b"k" * 16)]
READERS = ["a", "b", "run:1", "run:2"]
RESUMING = [f"{RESUMES}{run}\na" for run in (1, 2)]
LANES = [None, "x", "y"]
# Most draws are of one call by one reader outside lanes, so that they meet.
calls = st.sampled_from([CALLS[0], *CALLS])
readers = st.sampled_from(["a", *READERS, None])
lanes = st.sampled_from([None, *LANES])
pools = st.sampled_from([None, 1, 2, 3])
orders = {None: st.just(()), "x": st.sampled_from([(), ("x", "y"), ("y", "x")]), "y": st.sampled_from([(), ("x", "y")])}
wants = lanes.flatmap(
    lambda lane: st.builds(Want, calls, readers, st.integers(1, 4), pools, st.just(lane), orders[lane])
).map(lambda want: want if want.reader else want._replace(order=()))
ages = st.sampled_from([None, None, None, 0, 3])
numbers = st.integers(0, 50)


@dataclass
class Drawn:
    """One draw, as both stores know it by tickets of their own."""

    want: Want
    tickets: tuple[int, int]
    at: list[int]
    states: dict[int, object]
    newer_than: float
    generations: tuple[int, int]
    generation: int
    """Of the reader's sequence in the model: how often it was begun anew."""
    flying: set[int] = field(default_factory=set)
    """Its positions that neither a rewind nor, once it has vanished, another draw has taken from it."""

    @property
    def key(self):
        return (self.want.reader, self.want.call)

    def mine(self):
        return [slot for slot, state in self.states.items() if state is MINE]

    def positions(self, at, ticket):
        """Name positions for the store that knows the draw by this ticket."""
        generation = self.generations[self.tickets.index(ticket)]
        return [Position(self.want.call, self.want.reader, each, generation) for each in at if self.want.reader]


class Stores(RuleBasedStateMachine):
    """Every rule does one thing to both stores and compares what they say."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.stores = (MemoryStore(), SqliteStore(Path(self.folder.name) / "cache"))
        self.clock = FakeClock()
        self.count = itertools.count()
        self.aloft: list[Drawn] = []
        self.ghosts: list[Drawn] = []
        self.tickets: dict[int, int] = {}
        self.delivered: dict[tuple, set[int]] = {}
        # By recorder and call, whose lane's a position is; and by reader and call, how far its cursor has come.
        self.recorded: dict[tuple, dict[int, str]] = {}
        self.cursors: dict[tuple, int] = {}
        self.begun: dict[tuple, int] = {}
        # What a lane was given and refused, which it is not given again.
        self.refused: dict[tuple, set[int]] = {}
        # By reader that resumes and call, what the other one had been given when it began.
        self.resumed: dict[tuple, set[int]] = {}
        # What was written last, as each store was asked for it and answered.
        self.last: list[tuple] = []
        # Opened now, so that both have an epoch to compare.
        assert self.both(lambda store: looking(store).readers()) == []

    def teardown(self):
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.folder.cleanup()

    # Doing one thing twice.

    def both(self, do):
        ours, theirs = (do(store) for store in self.stores)
        assert ours == theirs
        return ours

    def each(self, tickets, do):
        """Do one thing with each store's own ticket; tell what changed in the epoch."""
        before = [store.epoch() for store in self.stores]
        results = [do(store, ticket) for store, ticket in zip(self.stores, tickets, strict=True)]
        ours, theirs = (was != store.epoch() for was, store in zip(before, self.stores, strict=True))
        assert ours == theirs
        return results

    def known(self, state):
        """Name a state so that two stores' states compare: a busy one by its draw."""
        return ("busy", self.tickets[state.ticket]) if isinstance(state, Busy) else state

    def taken_from_all(self, key):
        """Positions of a reader in a call that nobody may get now."""
        held = [draw.flying for draw in self.aloft if draw.key == key]
        return self.delivered.get(key, set()).union(self.refused.get(key, ()), *held)

    def old(self, age):
        return EVER if age is None else self.clock() - age

    def pick(self, draws, number):
        return draws[number % len(draws)]

    # Drawing.

    @rule(want=wants, age=ages)
    def take(self, want, age):
        self._take(want._replace(n=min(want.n, want.pool or want.n)), age)

    def _take(self, want, age=None):
        self.clock.advance(1)
        tickets = tuple(store.flights.depart() for store in self.stores)
        number = next(self.count)
        self.tickets.update(dict.fromkeys(tickets, number))
        old = self.old(age)
        ours, theirs = self.each(tickets, lambda store, t: asked(store, Take(t, [want], old))[0])
        return self._taken(want, tickets, ours, theirs, old)

    def _taken(self, want, tickets, ours, theirs, old):
        at = list(ours.positions)
        assert at == list(theirs.positions)
        assert [*map(self.known, ours.states)] == [*map(self.known, theirs.states)]
        states = dict(zip(map(want.slot, at), ours.states, strict=True))
        begun = self.begun.get((want.reader, want.call), 0)
        draw = Drawn(want, tickets, at, states, old, (ours.generation, theirs.generation), begun)
        # Whoever asks again, because the answer was lost, is given the same and nothing more.
        again = self.each(tickets, lambda store, t: asked(store, Take(t, [want], old))[0])
        assert [(list(each.positions), each.generation) for each in again] == [
            *((at, generation) for generation in draw.generations)
        ]
        self._account_for(draw)
        return draw

    def write(self, draw, changes):
        """Write what `changes` makes for each store's ticket; both say the same of it."""
        before = [store.epoch() for store in self.stores]
        self.last = []
        for store, ticket in zip(self.stores, draw.tickets, strict=True):
            write = Write(store.flights.new_id(), changes(ticket))
            self.last.append((store, write, asked(store, write)))
        ours, theirs = (answer for _, _, answer in self.last)
        assert ours.lost == theirs.lost
        assert [each.at for each in ours.void] == [each.at for each in theirs.void]
        assert not {each.at for each in ours.void} & draw.flying
        assert len({was != store.epoch() for was, store in zip(before, self.stores, strict=True)}) == 1
        return ours

    @rule()
    def write_again(self):
        """Ask for a write again: it gives the same answer and changes nothing."""
        for store, write, answer in self.last:
            epoch = store.epoch()
            assert asked(store, write) == answer
            assert store.epoch() == epoch

    @rule(several=st.lists(wants, min_size=2, max_size=4), age=ages)
    def take_together(self, several, age):
        """Several draws asked together are taken in their order."""
        self.clock.advance(1)
        several = [want._replace(n=min(want.n, want.pool or want.n)) for want in several]
        old = self.old(age)
        tickets = [tuple(store.flights.depart() for store in self.stores) for _ in several]
        answers = []
        for index, store in enumerate(self.stores):
            requests = [Take(both[index], [want], old) for both, want in zip(tickets, several, strict=True)]
            answers.append(store.perform(requests))
        for both in tickets:
            self.tickets.update(dict.fromkeys(both, next(self.count)))
        for want, both, ours, theirs in zip(several, tickets, *answers, strict=True):
            self._taken(want, both, ours[0], theirs[0], old)

    @rule(want=wants)
    def take_and_forget(self, want):
        """End a draw that does not know what it was given, stored or not: it was given nothing (P3)."""
        want = want._replace(n=min(want.n, want.pool or want.n))
        tickets = tuple(store.flights.depart() for store in self.stores)
        self.tickets.update(dict.fromkeys(tickets, next(self.count)))
        ours, theirs = self.each(tickets, lambda store, t: asked(store, Take(t, [want]))[0])
        assert list(ours.positions) == list(theirs.positions)
        at, key = list(ours.positions), (want.reader, want.call)
        if want.reader is not None:
            self._free_for(want, self.taken_from_all(key))
            draw = Drawn(want, tickets, at, {}, EVER, (0, 0), 0)
            assert not self.taken_from_all(key) & set(at)
            self._record(draw)
            for ghost in self.ghosts:
                ghost.flying -= set(at) if ghost.key == key else set()
        self.each(tickets, lambda store, t: asked(store, Write(store.flights.new_id(), [Settle(t, None)])))
        self.each(tickets, lambda store, ticket: store.flights.arrive(ticket))

    def _account_for(self, draw):
        key = draw.key
        if draw.want.reader is not None:
            taken = self.taken_from_all(key)
            is_resuming = resumed(draw.want.reader) is not None
            free = list(itertools.islice((self._left_for if is_resuming else self._free_for)(draw.want, taken), 100))
            if draw.want.pool is None:
                assert draw.at == free[: draw.want.n]
            if not is_resuming:
                self._record(draw)
            # In a pool one may be passed over, lest two read one slot.
            assert not taken & set(draw.at)
            number = min(draw.want.n, len(set(map(draw.want.slot, free))))
            assert len(set(map(draw.want.slot, draw.at))) == number == len(draw.at)
            draw.flying = set(draw.at)
            for ghost in self.ghosts:
                ghost.flying -= draw.flying if ghost.key == draw.key else set()
        if all(isinstance(state, Sample) for state in draw.states.values()):
            self.delivered.setdefault(key, set()).update(draw.flying)
            draw.flying = set()
            self.arrive(draw)
            self.ghosts += [draw] if draw.at else []
        else:
            self.aloft.append(draw)

    def _left_for(self, want, taken):
        """P1 of a reader that resumes another: what that one had been given, in its order, and nothing else."""
        key = (want.reader, want.call)
        if key not in self.resumed:
            self.resumed[key] = set(self.delivered.get((resumed(want.reader), want.call), ()))
        recorded = self.recorded.get((recorder(want.reader), want.call), {})
        if want.lane is None:
            ahead = [at for at in sorted(self.resumed[key]) if at not in recorded]
        else:
            ahead = [at for at, lane in recorded.items() if lane == want.lane and at in self.resumed[key]]
        return (at for at in ahead if at not in taken)

    def _free_for(self, want, taken):
        """P1 and P3 in one line: what its lane has and was not given, then the lowest that nobody and no lane has."""
        recorded = self.recorded.get((recorder(want.reader), want.call), {})
        key = (want.reader, want.call)
        if key not in self.cursors or want.lane is not None:
            self.cursors[key] = max([self.cursors.get(key, 0), *(at + 1 for at in recorded)])
        cursor = self.cursors[key]
        own = [at for at, lane in recorded.items() if lane == want.lane and at < cursor and at not in taken]
        for _ in range(want.n - len(own) if want.order else 0):
            recorded = self.recorded.setdefault((recorder(want.reader), want.call), recorded)
            recorded.update(enumerate(want.order, cursor))
            own.append(cursor + want.order.index(want.lane))
            self.cursors[key] = cursor = cursor + len(want.order)
        others = [at for at in range(cursor) if at not in recorded]
        return (at for at in itertools.chain(own, others, itertools.count(cursor)) if at not in taken)

    def _record(self, draw):
        key, want = draw.key, draw.want
        self.cursors[key] = max(self.cursors[key], *(at + 1 for at in draw.at))
        if want.lane is not None:
            recorded = self.recorded.setdefault((recorder(want.reader), want.call), {})
            for at in draw.at:
                # No position is ever two lanes'.
                assert recorded.setdefault(at, want.lane) == want.lane

    def arrive(self, draw):
        self.each(draw.tickets, lambda store, ticket: store.flights.arrive(ticket))

    @rule(n=st.integers(1, 2))
    def meet(self, n):
        self._take(Want(CALLS[0], "a", n, None))

    @rule(
        run=st.sampled_from(READERS[2:]),
        lane=st.sampled_from(LANES),
        order=st.sampled_from([(), ("x", "y")]),
        end=st.sampled_from([None, "kept", "returned", "refused"]),
    )
    def meet_in_lanes(self, run, lane, order, end):
        draw = self._take(Want(CALLS[0], run, 1, None, lane, order if lane else ()))
        if end and draw in self.aloft:
            refuses = end == "refused" and lane is not None
            self._settle(draw, {0} if end == "kept" else set(), knows=True, refuses=refuses)

    @rule(of=calls, reader=readers, n=st.integers(1, 4), kept=st.sets(st.integers(0, 3)), lane=lanes)
    def draw(self, of, reader, n, kept, lane):
        aloft = len(self.aloft)
        self._take(Want(of, reader, n, None, lane))
        if len(self.aloft) > aloft:
            self.fill(-1, several=True, settle=False)
            self._settle(self.aloft[-1], kept, knows=True)

    @rule(lane=st.sampled_from(LANES[1:]))
    def rerun(self, lane):
        """Give every fresh run the same position as the k-th of a lane (P2)."""
        self._set_back("drop", "run:2")
        recorded = self.recorded.get((recorder("run:2"), CALLS[0]), {})
        for at in [at for at, whose in recorded.items() if whose == lane]:
            assert self._take(Want(CALLS[0], "run:2", 1, None, lane)).at == [at]

    @rule(want=st.builds(Want, calls, st.sampled_from(RESUMING), st.integers(1, 4), pools, lanes), age=ages)
    def resume(self, want, age):
        """Read again what a reader was given (P1)."""
        self._take(want._replace(n=min(want.n, want.pool or want.n)), age)

    @precondition(lambda self: self.aloft)
    @rule(which=numbers, several=st.booleans(), settle=st.booleans())
    def fill(self, which, several, settle):
        draw = self.pick(self.aloft, which)
        slots = draw.mine() if several else draw.mine()[:1]
        samples = {slot: Sample(b"%d" % next(self.count), self.clock()) for slot in slots}
        answer = self.write(draw, lambda t: [*self.fills(draw, t, samples), *[Settle(t, [])] * settle])
        draw.states.update(samples)
        draw.states.update({place.slot: sample for place, sample in answer.lost.items()})
        if settle:
            self._ends(draw, set())

    def fills(self, draw, ticket, samples):
        return [Fill(ticket, Place(draw.want.call, slot), each, draw.newer_than) for slot, each in samples.items()]

    @precondition(lambda self: self.aloft)
    @rule(which=numbers, kept=st.sets(st.integers(0, 3)), how=st.sampled_from(["settle", "refuse", "fail", "vanish"]))
    def end(self, which, kept, how):
        draw = self.pick(self.aloft, which)
        if how == "vanish":
            self._vanish(draw)
        else:
            self._settle(draw, kept, knows=how != "fail", refuses=how == "refuse" and draw.want.lane is not None)

    def _settle(self, draw, kept, *, knows, refuses=False):
        others = [at for index, at in enumerate(draw.at) if index not in kept]
        returned, refused = ([], others) if refuses else (others, [])
        self.write(
            draw,
            lambda ticket: [
                Settle(
                    ticket,
                    draw.positions(returned, ticket) if knows else None,
                    refused=draw.positions(refused, ticket),
                )
            ],
        )
        self.refused.setdefault(draw.key, set()).update(draw.flying.intersection(refused))
        self._ends(draw, {*refused, *returned} if knows else set(draw.at))

    def _ends(self, draw, returned):
        self.delivered.setdefault(draw.key, set()).update(draw.flying - returned)
        draw.flying = set()
        self._vanish(draw)

    def _vanish(self, draw):
        self.aloft.remove(draw)
        self.arrive(draw)
        self.ghosts.append(draw)

    @precondition(lambda self: self.aloft)
    @rule(which=numbers)
    def look(self, which):
        draw = self.pick(self.aloft, which)
        slots = [slot for slot, state in draw.states.items() if isinstance(state, Busy)] or [0]
        places = [Place(draw.want.call, slot) for slot in slots]
        ours, theirs = self.each(
            draw.tickets, lambda store, ticket: asked(store, Look(ticket, places, draw.newer_than))
        )
        assert [*map(self.known, ours)] == [*map(self.known, theirs)]
        draw.states.update(zip(slots, ours, strict=True))

    # What comes late.

    @precondition(lambda self: self.ghosts)
    @rule(which=numbers, what=st.sampled_from(["all", "none", "unknown", "fill"]))
    def late(self, which, what):
        draw = self.pick(self.ghosts, which)
        if what == "fill":
            self._fill_late(draw)
            return
        at = draw.at if what == "all" else []
        self.write(draw, lambda ticket: [Settle(ticket, None if what == "unknown" else draw.positions(at, ticket))])
        if what == "none":
            self.delivered.setdefault(draw.key, set()).update(draw.flying)
        draw.flying = set()

    def _fill_late(self, draw):
        samples = {slot: Sample(b"late %d" % next(self.count), self.clock()) for slot in draw.mine()}
        # Both orders of a late fill and the next claimer's: what is stored and new enough stays.
        stored = self.stores[0].peek(draw.want.call)
        answer = self.write(draw, lambda ticket: self.fills(draw, ticket, samples))
        kept = {slot: stored[slot] for slot in samples if slot in stored and stored[slot].stored > draw.newer_than}
        assert {place.slot: sample for place, sample in answer.lost.items()} == kept

    @precondition(lambda self: self.ghosts)
    @rule(which=numbers, nth=st.integers(0, 3))
    def bring_back(self, which, nth):
        """Give a position back, which has an effect if its sequence is still the reader's."""
        draw = self.pick(self.ghosts, which)
        at = draw.at[nth % len(draw.at)]
        if draw.want.reader is None or (draw.generation == self.begun.get(draw.key, 0) and at in draw.flying):
            return
        self.write(draw, lambda ticket: [Return(ticket, *draw.positions([at], ticket))])
        if draw.generation == self.begun.get(draw.key, 0):
            self.delivered.get(draw.key, set()).discard(at)
            self.refused.get(draw.key, set()).discard(at)

    # Maintenance.

    @rule(
        what=st.sampled_from(["rewind", "rewind", "drop", "forget", "evict", "use", "restart"]),
        reader=st.sampled_from(READERS),
        of=calls,
    )
    def maintain(self, what, reader, of):
        """One rule for all, so that most of a run is drawing."""
        {
            "forget": lambda: self._forget(of),
            "evict": self._evict,
            "use": lambda: self._use(of),
            "restart": self._restart,
        }.get(what, lambda: self._set_back(what, reader))()

    def _use(self, of):
        for store in self.stores:
            keeping(store).count(store.flights.new_id(), {}, [Use("run:1", of, 0, 1, self.clock())])

    def _set_back(self, how, reader):
        self.both(lambda store: getattr(keeping(store), how)(reader))
        self._void(lambda key: key[0] == reader)
        for key in [key for key in self.cursors if key[0] == reader]:
            self.cursors[key] = max([0, *(at + 1 for at in self.recorded.get((recorder(reader), key[1]), ()))])
        if how == "drop":
            self._remove(lambda key: key[0] == reader)

    def _forget(self, of):
        self.both(lambda store: keeping(store).forget(of))
        self._gone(of)

    def _gone(self, of):
        self._void(lambda key: key[1] == of)
        self._remove(lambda key: key[1] == of)

    def _remove(self, concerned):
        for table in (self.cursors, self.recorded, self.resumed):
            for key in [key for key in table if concerned(key)]:
                del table[key]

    def _evict(self):
        in_use = {draw.want.call for draw in self.aloft if draw.flying}
        ours, theirs = (
            keeping(store).evict([item.handle for item in looking(store).inventory()], used_by=self.clock() - 1)
            for store in self.stores
        )
        assert len(ours) == len(theirs)
        assert not in_use & set(ours)
        for of in ours:
            self._gone(of)

    def _evicted(self, store):
        handles = [item.handle for item in looking(store).inventory()]
        return keeping(store).evict(handles, used_by=self.clock() - 1)

    def _void(self, concerned):
        for key in list(self.delivered):
            if concerned(key):
                del self.delivered[key]
        for key in list(self.refused):
            if concerned(key):
                del self.refused[key]
        for draw in (*self.aloft, *self.ghosts):
            if concerned(draw.key):
                draw.flying = set()
        for key in itertools.product([*READERS, *RESUMING], CALLS):
            if concerned(key):
                self.begun[key] = self.begun.get(key, 0) + 1

    def _restart(self):
        while self.aloft:
            self._vanish(self.aloft[0])
        self.ghosts.clear()
        self.last = []
        self.stores[1].leave()
        self.both(lambda store: looking(store).readers())

    # What always holds.

    @invariant()
    def stores_agree(self):
        if not hasattr(self, "stores"):
            return
        self.both(lambda store: looking(store).readers())
        self.both(lambda store: sorted(item[1:] for item in looking(store).inventory()))
        for of in CALLS:
            self._standings_agree(of)
            self.both(lambda store, of=of: list(store.peek(of).items()))
            self.both(lambda store, of=of: self._settled(store, [Place(of, slot) for slot in range(4)]))

    def _settled(self, store, places):
        """Tell which places nobody is waited for; within one process both stores know at once."""
        woken = set()
        store.watch(places, woken.add)()
        return woken

    def _standings_agree(self, of):
        for reader in RESUMING:
            self.both(lambda store, reader=reader: looking(store).standing(reader, of))
        for reader in READERS:
            standing = self.both(lambda store, reader=reader: looking(store).standing(reader, of))
            given = set(range(standing.next)) - standing.loose
            assert given == self.delivered.get((reader, of), set())
            in_order = self.both(
                lambda store, reader=reader: [drawn(looking(store), reader, of, lane) for lane in LANES]
            )
            assert sorted(itertools.chain(*in_order)) == sorted(given)


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.deep
class TestStoresDeep(Stores.TestCase):
    """The same at length."""

    settings = settings(
        max_examples=1000, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
