"""A small project that is edited at random: no hit gives what a fresh call would not give (P8)."""

from __future__ import annotations

import importlib
import itertools
import linecache
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memollm import Cache

WORDS = st.sampled_from(["a", "b", "c"])
PLACES = ("constant", "default", "shot", "field", "method", "closure", "helper", "slot", "deep")
TEXT = """
import lab
from dataclasses import dataclass, field
CONSTANT = {constant!r}
SHOTS = [{shot!r}]
DEEP = {{"of": [{{"it": {deep!r}}}]}}
@dataclass
class Config:
    style: str = {field!r}
    more: list = field(default_factory=lambda: [{field!r}])
CFG = Config()
class Slots:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
SLOT = Slots({slot!r})
def make():
    said = {closure!r}
    def tell(): return said
    def to(new):
        nonlocal said
        said = new
    return tell, to
tell, to = make()
class Tidy:
    def go(self): return {method!r}
LOG = []
def read(cfg, slot): return cfg.style + "".join(cfg.more) + slot.x
def ask(q, default={default!r}):
    LOG.append(q)
    read_here = [CONSTANT, "".join(SHOTS), DEEP["of"][0]["it"], read(CFG, SLOT), tell(), Tidy().go()]
    return "|".join([*read_here, lab.tidy(q), default])
"""
LAB = "STYLE = {helper!r}\ndef tidy(q): return STYLE + q\n"
NAMES = itertools.count()


def saying(word):
    return lambda self: word


def joining(word):
    return lambda q: word + q


class Editing(RuleBasedStateMachine):
    """Edits of files, of state and of code, between runs and while one goes on."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.words = dict.fromkeys(PLACES, "a")
        self.store = Cache("memory:")
        self.name = f"edited{next(NAMES)}"
        self.start()

    @rule()
    def start(self):
        """Run the program again, as it is in its files."""
        for name, text in (("lab", LAB), ("study", TEXT)):
            sys.modules.pop(name, None)
            (self.folder / f"{name}.py").write_text(text.format(**self.words))
        sys.path.insert(0, str(self.folder))
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        linecache.clearcache()
        try:
            self.study = importlib.import_module("study")
        finally:
            sys.path.remove(str(self.folder))
        self.lab = sys.modules["lab"]
        self.ask = self.store.cached_llm(self.study.ask, pool=1, name=self.name)

    @rule(place=st.sampled_from(PLACES), word=WORDS)
    def edit_a_file(self, place, word):
        """Edit a file, which the next run loads, and this one does not."""
        self.words[place] = word
        for name, text in (("lab", LAB), ("study", TEXT)):
            (self.folder / f"{name}.py").write_text(text.format(**self.words))

    @rule(word=WORDS)
    def set_a_constant(self, word):
        self.study.CONSTANT = word

    @rule(word=WORDS)
    def set_what_a_helper_reads(self, word):
        self.lab.STYLE = word

    @rule(word=WORDS)
    def change_a_list(self, word):
        self.study.SHOTS[:] = [word]

    @rule(word=WORDS)
    def replace_a_list(self, word):
        self.study.SHOTS = [word]

    @rule(word=WORDS)
    def change_what_is_deep(self, word):
        self.study.DEEP["of"][0]["it"] = word

    @rule(word=WORDS)
    def change_an_object(self, word):
        self.study.CFG.style = word

    @rule(word=WORDS)
    def change_what_an_object_holds(self, word):
        self.study.CFG.more[0] = word

    @rule(word=WORDS)
    def replace_an_object(self, word):
        self.study.CFG = self.study.Config(word)

    @rule(word=WORDS)
    def set_a_slot(self, word):
        self.study.SLOT.x = word

    @rule(word=WORDS)
    def set_a_closure(self, word):
        self.study.to(word)

    @rule(word=WORDS)
    def put_in_a_method(self, word):
        self.study.Tidy.go = saying(word)

    @rule(word=WORDS)
    def replace_a_helper(self, word):
        self.lab.tidy = joining(word)

    @rule(word=WORDS)
    def replace_a_default(self, word):
        self.study.ask.__defaults__ = (word,)

    @rule(question=st.sampled_from(["p", "q"]))
    def call(self, question):
        """Whatever is given is what the undecorated function gives now."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert self.ask(question) == self.study.ask(question)

    @invariant()
    def twice_is_once(self):
        """Nothing is paid for twice in one state."""
        if hasattr(self, "study"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fresh = self.ask("p")
                count = len(self.study.LOG)
                assert (self.ask("p"), len(self.study.LOG)) == (fresh, count)
                assert fresh == self.study.ask("p")

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)
            self.store.close()
            for name in ("study", "lab"):
                sys.modules.pop(name, None)


FEW = settings(max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=[*HealthCheck])
MANY = settings(max_examples=10_000, stateful_step_count=20, deadline=None, suppress_health_check=[*HealthCheck])


class TestEditing(Editing.TestCase):
    """Few examples, at every test."""

    settings = FEW


@pytest.mark.deep
class TestEditingDeep(Editing.TestCase):
    """Many, by `make deep`."""

    settings = MANY
