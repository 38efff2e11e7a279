"""Whatever is drawn and loaded in whatever order, nobody is given a sample twice and none is lost or moved."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from hypothesis import given, settings, strategies as st

from memollm import Cache, mode, namespace

NAMES = ("n", "m")
PLACES = (0, 1, 2)
STEPS = st.one_of(
    st.tuples(st.just("draw"), st.sampled_from(PLACES), st.sampled_from(NAMES), st.integers(1, 3)),
    st.tuples(st.just("load"), st.sampled_from(PLACES), st.sampled_from(PLACES), st.sampled_from(["all", *NAMES])),
    st.tuples(st.just("rest"), st.sampled_from(PLACES), st.sampled_from(NAMES), st.just(1)),
)


class World:
    """Three caches whose model never answers the same, and what each has given to whom."""

    def __init__(self, folder):
        self.file = folder / "x.jsonl"
        self.caches = [Cache("memory:") for _ in PLACES]
        numbers = itertools.count()
        self.asks = [c.cached_llm(lambda x: next(numbers), name="ask", version="1") for c in self.caches]
        self.given = {(at, name): set() for at in PLACES for name in NAMES}

    def draw(self, at, name, n):
        with namespace(name):
            drawn = self.asks[at].draw(n, "q")
        assert self.given[at, name].isdisjoint(drawn)
        self.given[at, name].update(drawn)

    def rest(self, at, name, _):
        """Draw all that is stored and was not given: nothing of it is passed over (P3)."""
        stored = set(self.asks[at].peek("q"))
        missing = stored - self.given[at, name]
        if missing:
            with namespace(name):
                assert set(self.asks[at].draw(len(missing), "q")) == missing
            self.given[at, name] |= missing

    def load(self, source, target, which):
        try:
            self.caches[source].export(self.file, **({} if which == "all" else {"namespace": which}))
        except ValueError:
            return  # The namespace has not drawn there.
        before = self.asks[target].peek("q")
        self.caches[target].load(self.file)
        after = self.asks[target].peek("q")
        assert [sample for sample in after if sample in before] == before
        assert len(after) == len(set(after))
        for name in NAMES if which == "all" else (which,):
            self.given[target, name] |= self.given[source, name]
        assert self.given[target, NAMES[0]] | self.given[target, NAMES[1]] <= set(after)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_merges_keep_the_promises(steps):
    """P1 and P3 hold for namespaces that draw in several caches which are loaded into one another."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for step, *arguments in steps:
            getattr(world, step)(*arguments)
        for at, name in world.given:
            world.rest(at, name, 1)


class ReplacingWorld(World):
    """The same with samples that are replaced, and files that are loaded when they are old."""

    def __init__(self, folder):
        super().__init__(folder)
        self.replaced = [set() for _ in PLACES]
        self.files = []

    def refresh(self, at, name, n):
        before = set(self.asks[at].peek("q"))
        with mode("refresh"):
            self.draw(at, name, n)
        self.replaced[at] |= before - set(self.asks[at].peek("q"))

    def save(self, at):
        path = self.file.with_name(f"{len(self.files)}.jsonl")
        self.caches[at].export(path)
        given = {name: set(self.given[at, name]) for name in NAMES}
        self.files.append((path, given, set(self.replaced[at])))

    def load(self, number, target):
        if not self.files:
            return
        path, given, replaced = self.files[number % len(self.files)]
        before = set(self.asks[target].peek("q"))
        self.caches[target].load(path)
        after = set(self.asks[target].peek("q"))
        assert before <= after
        assert self.replaced[target].isdisjoint(after - before)
        self.replaced[target] |= replaced - after
        for name in NAMES:
            self.given[target, name] |= given[name]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("draw"), st.sampled_from(PLACES), st.sampled_from(NAMES), st.integers(1, 3)),
            st.tuples(st.just("refresh"), st.sampled_from(PLACES), st.sampled_from(NAMES), st.integers(1, 2)),
            st.tuples(st.just("save"), st.sampled_from(PLACES)),
            st.tuples(st.just("load"), st.integers(0, 20), st.sampled_from(PLACES)),
        ),
        max_size=25,
    )
)
def test_what_was_replaced_comes_back_from_no_file(steps):
    """Files of any age bring no replaced sample, and no namespace what it has drawn in any of the caches (P1)."""
    with tempfile.TemporaryDirectory() as folder:
        world = ReplacingWorld(Path(folder))
        for step, *arguments in steps:
            getattr(world, step)(*arguments)
        for at, name in world.given:
            world.draw(at, name, len(world.asks[at].peek("q")) + 1)
