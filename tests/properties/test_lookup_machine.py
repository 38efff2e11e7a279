"""Lookups, updates, releases and leases in any order, against a small model of their five rules."""

import itertools
from collections import defaultdict, deque
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memollm import Cache
from memollm._draws.desk import Debt
from memollm._draws.lookups import Lookups

callers = st.sampled_from(["one", "two"])
calls = st.sampled_from(["x", "y"])
readers = st.sampled_from(["a", "b", "pool", "memo"])
OPTIONS = {
    "a": {"namespace": "a"},
    "b": {"namespace": "b"},
    "pool": {"namespace": "c", "pool": 2},
    "memo": {"pool": 1},
}


@dataclass
class Reader:
    """How far one reader has come in one call."""

    pool: int | None
    has_cursor: bool
    next: int = 0
    free: set = field(default_factory=set)

    def take(self):
        if not self.has_cursor:
            return 0
        if self.free:
            at = min(self.free)
            self.free.discard(at)
            return at
        self.next += 1
        return self.next - 1

    def back(self, at):
        if self.has_cursor:
            self.free.add(at)

    def slot(self, at):
        return at if self.pool is None else at % self.pool

    def peek(self):
        return min(self.free, default=self.next) if self.has_cursor else 0


@dataclass
class Lookup:
    """A lookup that missed: whose it was, and the position that it holds, if any."""

    reader: str
    at: int | None


class Model:
    """The five rules, as they are written."""

    def __init__(self):
        self.filled = defaultdict(dict)
        self.held = defaultdict(dict)
        self.readers = {
            (name, call): Reader(options.get("pool"), "namespace" in options)
            for name, options in OPTIONS.items()
            for call in ("x", "y")
        }
        self.missed = defaultdict(lambda: defaultdict(deque))
        self.has_updated = defaultdict(bool)
        self.delivered = defaultdict(list)

    def holds(self, caller):
        return any(each.at is not None for some in self.missed[caller].values() for each in some)

    def release(self, call, lookup):
        if lookup.at is not None:
            reader = self.readers[lookup.reader, call]
            del self.held[call][reader.slot(lookup.at)]
            reader.back(lookup.at)
            lookup.at = None

    def leave(self, caller, calls):
        for call in calls:
            for lookup in self.missed[caller].pop(call, ()):
                self.release(call, lookup)

    def begin_lookup(self, caller):
        if self.has_updated[caller]:
            self.leave(caller, [*self.missed[caller]])
            self.has_updated[caller] = False

    def would_wait(self, caller, name, call):
        """Tell whether a caller that holds nothing, then, wants what another one holds."""
        then = deepcopy(self)
        then.begin_lookup(caller)
        reader = then.readers[name, call]
        return not then.holds(caller) and reader.slot(reader.peek()) in then.held[call]

    def lookup(self, caller, name, call):
        self.begin_lookup(caller)
        reader = self.readers[name, call]
        at = reader.take()
        slot = reader.slot(at)
        if slot in self.filled[call]:
            self.deliver(name, call, at)
            return self.filled[call][slot]
        if slot in self.held[call]:
            reader.back(at)
            at = None
        else:
            self.held[call][slot] = True
        self.missed[caller][call].append(Lookup(name, at))
        return None

    def update(self, caller, name, call, value):
        self.has_updated[caller] = True
        waiting = self.missed[caller].get(call)
        if not waiting:
            slots = range(self.readers[name, call].pool or 1000)
            self.fill(call, next((slot for slot in slots if self.is_vacant(call, slot)), None), value)
            return
        lookup = next((each for each in waiting if each.reader == name), waiting[0])
        waiting.remove(lookup)
        if not waiting:
            del self.missed[caller][call]
        reader, at = self.readers[lookup.reader, call], lookup.at
        if at is None:
            passed = []
            for _ in range(reader.pool or 1000):
                at = reader.take()
                if self.is_vacant(call, reader.slot(at)):
                    break
                passed.append(at)
                at = None
            for each in passed:
                reader.back(each)
        else:
            del self.held[call][reader.slot(at)]
        if at is not None:
            self.fill(call, reader.slot(at), value)
            self.deliver(lookup.reader, call, at)

    def is_vacant(self, call, slot):
        return slot not in self.filled[call] and slot not in self.held[call]

    def fill(self, call, slot, value):
        if slot is not None:
            self.filled[call][slot] = value

    def deliver(self, name, call, at):
        if name in "ab":
            self.delivered[name, call].append(at)


class LookupsAndUpdates(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.cache = Cache("memory:")
        engine = self.cache._engine
        # No thread: what is owed is written by whoever asks the store next, and a lease ends where a rule says so.
        engine.lookups = self.lookups = Lookups(lambda: None)
        engine.insist = lambda *owed: engine.desk.debts.append(Debt(*owed))
        self.doors = {name: self.cache.door("d", version="1", **options) for name, options in OPTIONS.items()}
        self.model, self.answers = Model(), itertools.count()

    @rule(caller=callers, name=readers, call=calls)
    def lookup(self, caller, name, call):
        if not self.model.would_wait(caller, name, call):
            expected = self.model.lookup(caller, name, call)
            assert self.doors[name].lookup(call, caller=caller) == expected

    @rule(caller=callers, name=readers, call=calls)
    def update(self, caller, name, call):
        value = f"answer {next(self.answers)}"
        self.model.update(caller, name, call, value)
        self.doors[name].update(call, value, caller=caller)

    @rule(caller=callers)
    def abandon(self, caller):
        self.model.leave(caller, [*self.model.missed[caller]])
        self.model.has_updated[caller] = False
        self.doors["a"].abandon(caller=caller)

    @rule(caller=callers, call=calls)
    def abandon_one(self, caller, call):
        self.model.leave(caller, [call])
        self.doors["a"].abandon(call, caller=caller)

    @rule()
    def end_of_the_lease(self):
        for of_calls in self.model.missed.values():
            for call, some in of_calls.items():
                for lookup in some:
                    self.model.release(call, lookup)
        self.lookups.end_leases(float("inf"))

    @invariant()
    def what_is_stored_is_what_the_rules_say(self):
        if not hasattr(self, "model"):
            return
        for call in ("x", "y"):
            filled = self.model.filled[call]
            assert self.doors["a"].peek(call) == [filled[slot] for slot in sorted(filled)]
        assert len(self.lookups._leases) == sum(map(len, self.model.held.values()))
        for positions in self.model.delivered.values():
            assert len(set(positions)) == len(positions)

    def teardown(self):
        """P1, P3: when all is released, each reader draws what it was not given, and every slot gets filled."""
        if not hasattr(self, "model"):
            return
        self.end_of_the_lease()
        for name, call in itertools.product("ab", "xy"):
            reader, filled = self.model.readers[name, call], self.model.filled[call]
            left = [*sorted(reader.free), *range(reader.next, max([*filled, 0]) + 1)]
            for at in left:
                value = self.doors[name].draw(call, lambda: f"drawn {next(self.answers)}")
                assert value == filled.setdefault(at, value)
            assert sorted(filled) == [*range(len(filled))]
        self.cache.close()


TestLookupsAndUpdates = LookupsAndUpdates.TestCase
TestLookupsAndUpdates.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.deep
class TestLookupsAndUpdatesDeep(LookupsAndUpdates.TestCase):
    """The same at length."""

    settings = settings(
        max_examples=3000, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )
