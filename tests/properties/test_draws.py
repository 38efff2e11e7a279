"""Whatever is interleaved (streams, batches, single draws, failures), the promises of drawing hold."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from memollm import Cache

READERS = st.sampled_from(["a", "b"])
ITEMS = st.sampled_from(["x", "y", "z"])


class ModelError(Exception):
    """What the model raises when it is told to."""


class Draws(RuleBasedStateMachine):
    """Draws of a stream function and a batch function against a plain model of what each reader is to get.

    The model: for each reader and call the positions that are free, and how far it has drawn; for each call the slots.
    """

    place = "memory:"

    def __init__(self):
        super().__init__()
        self.cache = Cache(self.place)
        self.numbers = itertools.count()
        self.asked = []
        self.failing = False
        self.chunks = 2
        self.slots = {}
        self.streaming = {}
        self.cursors = {}
        self.delivered = {}
        self.make_functions()

    def make_functions(self):
        @self.cache.cached_llm(batch="items", name="batch", version=1)
        def generate(items):
            self.asked += [("batch", item) for item in items]
            if self.failing:
                raise ModelError
            return [next(self.numbers) for _ in items]

        @self.cache.cached_llm(name="stream", version=1)
        def tell(item):
            self.asked.append(("stream", item))
            for _ in range(2):
                yield next(self.numbers)
            if self.failing:
                raise ModelError

        self.generate, self.tell = generate, tell

    def teardown(self):
        self.cache.close()

    # The model.

    def next_positions(self, reader, call, n):
        """Take positions as the contract says: free ones first, lowest first."""
        free, cursor = self.cursors.setdefault((reader, call), ([], 0))
        free.sort()
        taken = free[:n]
        ahead = n - len(taken)
        self.cursors[reader, call] = (free[n:], cursor + ahead)
        return [*taken, *range(cursor, cursor + ahead)]

    def give_back(self, reader, call, positions):
        self.cursors[reader, call][0].extend(positions)

    def deliver(self, reader, call, position, value):
        key = (reader, call, position)
        assert key not in self.delivered, "P1: a position was delivered twice"
        assert self.slots.setdefault((call, position), value) == value, "P2: readers differ in a slot"
        self.delivered[key] = value

    def is_streamed(self, call, position):
        return (call, position) in self.streaming

    # What users do.

    @rule(reader=READERS, items=st.lists(ITEMS, min_size=1, max_size=4), fails=st.booleans())
    def draw_a_batch(self, reader, items, fails):
        """P4: the model is asked for exactly what is missing, in order; failing, nothing is delivered."""
        calls = [("batch", item) for item in items]
        positions = [self.next_positions(reader, call, 1)[0] for call in calls]
        missing = [call for call, at in zip(calls, positions, strict=True) if (call, at) not in self.slots]
        self.asked.clear()
        self.failing = fails
        generate = self.generate.with_options(namespace=reader)
        if fails and missing:
            with pytest.raises(ModelError):
                generate(items)
            for call, at in zip(calls, positions, strict=True):
                self.give_back(reader, call, [at])
        else:
            for call, at, value in zip(calls, positions, generate(items), strict=True):
                self.deliver(reader, call, at, value)
        self.failing = False
        assert self.asked == missing

    @rule(reader=READERS, item=ITEMS)
    def draw_one(self, reader, item):
        """P4: a single item is the same call as in a list."""
        call = ("batch", item)
        (at,) = self.next_positions(reader, call, 1)
        self.asked.clear()
        missing = [] if (call, at) in self.slots else [call]
        self.deliver(reader, call, at, self.generate.with_options(namespace=reader).one(item))
        assert self.asked == missing

    @rule(reader=READERS, item=ITEMS)
    def begin_a_stream(self, reader, item):
        """Take a position with the first chunk of a stream; one whose slot is streaming already would wait."""
        call = ("stream", item)
        free, cursor = self.cursors.get((reader, call), ([], 0))
        if self.is_streamed(call, min([*free, cursor])):
            return
        (at,) = self.next_positions(reader, call, 1)
        self.asked.clear()
        stream = self.tell.with_options(namespace=reader)(item)
        chunks = [next(stream)]
        known = (call, at) in self.slots
        assert self.asked == ([] if known else [call])
        if known:
            self.deliver(reader, call, at, [*chunks, *stream])
        else:
            self.streaming[call, at] = (reader, stream, chunks)

    @precondition(lambda self: self.streaming)
    @rule(data=st.data(), end=st.sampled_from(["read", "close", "fail"]))
    def end_a_stream(self, data, end):
        """P3: a stream that is read to its end is stored; any other gives its position back."""
        call, at = data.draw(st.sampled_from(sorted(self.streaming)))
        reader, stream, chunks = self.streaming.pop((call, at))
        self.failing = end == "fail"
        if end == "read":
            self.deliver(reader, call, at, [*chunks, *stream])
        elif end == "close":
            stream.close()
            self.give_back(reader, call, [at])
        else:
            with pytest.raises(ModelError):
                list(stream)
            self.give_back(reader, call, [at])
        self.failing = False

    @invariant()
    def what_is_stored_is_what_was_delivered(self):
        """P2, P3: every slot that is stored was somebody's, and nobody's sample is missing."""
        for (kind, item), function, given in [
            *((("batch", item), self.generate, [item]) for item in "xyz"),
            *((("stream", item), self.tell, item) for item in "xyz"),
        ]:
            slots = {at: value for (call, at), value in self.slots.items() if call == (kind, item)}
            assert function.peek(given) == [slots[at] for at in sorted(slots)]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_interleaved_draws_keep_the_promises(store, tmp_path_factory):
    """P1 to P4 hold over streams, batches and single draws, in any order, with failures among them."""

    class OnStore(Draws):
        def __init__(self):
            self.place = "memory:" if store == "memory" else tmp_path_factory.mktemp("draws") / "cache"
            super().__init__()

    run_state_machine_as_test(
        OnStore,
        settings=settings(
            max_examples=60 if store == "memory" else 15,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
