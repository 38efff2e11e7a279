"""What a function reads may change, often and while draws wait: whose samples these are, and what is told (P8)."""

from __future__ import annotations

import asyncio
import threading
import warnings

import pytest
from models import run

from memollm import CodeChangedWarning, Gather, MemollmWarning, OptionError

STYLE = "a"
HISTORY: list = []
STEP = {"n": 0}


class Live:
    """What cannot be seen into."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def name(request):
    """Give functions names of their own: what is told once is told of each."""
    return request.node.name


@pytest.fixture
def style(monkeypatch):
    """Set the style of the functions here."""

    def set_to(value):
        monkeypatch.setitem(globals(), "STYLE", value)

    set_to("a")
    return set_to


def test_arms_of_an_ablation_have_samples_of_their_own(cache, style):
    """Four arms in a loop make four samples, and a second pass makes none."""
    calls = []

    @cache.cached_llm(namespace="x", pool=1)
    def ask(q):
        calls.append(q)
        return STYLE + q

    for _ in range(2):
        for arm in "abcd":
            style(arm)
            assert ask("q") == arm + "q"
    assert len(calls) == 4


def test_a_draw_that_waited_is_keyed_by_what_its_function_reads_as_it_begins(cache, style, monkeypatch):
    """What changes between a draw's take and its call makes it another version's; its place is given back."""
    store, made = cache.store, []
    perform = store.perform

    def performing(requests):
        done = perform(requests)
        style("b")
        return done

    @cache.cached_llm(namespace="x", n=2)
    def ask(q):
        made.append(STYLE + q)
        return STYLE + q

    ask.peek("q")
    style("a")
    with monkeypatch.context() as patched:
        patched.setattr(store, "perform", performing)
        assert ask("q") == ["bq", "bq"]
    assert ask.peek("q") == made == ["bq", "bq"]
    style("a")
    assert ask.peek("q") == []
    assert ask("q") == ["aq", "aq"]
    assert ask.stats()["x"].failed == 0


def test_no_sample_of_one_arm_is_filed_under_another(cache, style):
    """Tasks of arms that overlap leave under each version what was made under it."""

    @cache.cached_llm(namespace="x")
    async def ask(q):
        return STYLE + q

    async def arm(name):
        style(name)
        return await ask("q")

    async def arms():
        return await asyncio.gather(*map(arm, "abcd"))

    run(arms())
    for name in "abcd":
        style(name)
        assert set(ask.peek("q")) <= {name + "q"}


def test_streams_are_keyed_by_what_they_read_as_they_begin(cache, style):
    """A stream that was asked for under one state and begun under another is the other's."""

    @cache.cached_llm(namespace="x")
    def tell(q):
        yield STYLE
        yield q

    told = tell("q")
    style("b")
    assert list(told) == ["b", "q"]
    assert tell.peek("q") == [["b", "q"]]
    style("a")
    assert tell.peek("q") == []


def test_items_of_two_versions_are_not_gathered_in_one_call(cache, style):
    """Each call of a batch function serves items of one version."""

    @cache.cached_llm(batch="items", pool=1, gather=Gather(max_size=4, max_wait=0.01))
    async def ask(items):
        return [STYLE + item for item in items]

    async def both():
        one = asyncio.ensure_future(ask.one("p"))
        await asyncio.sleep(0)
        style("b")
        two = asyncio.ensure_future(ask.one("q"))
        return await asyncio.gather(one, two)

    assert run(both()) == ["bp", "bq"]
    style("a")
    assert ask.peek(["p"]) == ask.peek(["q"]) == []


def test_explaining_names_what_has_changed(cache, style, capsys):
    """It is no warning, but stands where one asks."""

    @cache.cached_llm(pool=1)
    def ask(q):
        return STYLE + q

    ask("q")
    style("b")
    explanation = str(ask.explain("q"))
    assert "has changed since this program called it first" in explanation
    assert f'constant {__name__}.STYLE: "a" -> "b"' in explanation
    style("a")
    assert "has changed" not in str(ask.explain("q"))


def test_a_state_that_never_comes_back_is_named_once(cache, monkeypatch):
    """After five versions the user is told what changes, and how to leave it out."""
    monkeypatch.setitem(STEP, "n", 0)

    @cache.cached_llm(pool=1)
    def ask(q):
        return f"{STEP['n']}{q}"

    def step(times):
        for _ in range(times):
            STEP["n"] += 1
            ask("q")

    ask("q")
    step(4)
    with pytest.warns(MemollmWarning, match=r'(?s)STEP: \{"n":4\} -> \{"n":5\}.*ignore=\("STEP",\)'):
        step(1)
    step(5)
    quiet = ask.with_options(ignore=("STEP",), name="quiet")
    assert quiet("q") == quiet("q") == "10q"
    STEP["n"] = 11
    assert quiet("q") == "10q"


def test_arms_that_come_back_are_no_warning(cache, style):
    """A loop over questions and, within it, over arms is what ablations are."""

    @cache.cached_llm(pool=1)
    def ask(q):
        return STYLE + q

    given = []
    for question in "pq":
        for arm in "abcd":
            style(arm)
            given.append(ask(question))
    assert given == ["ap", "bp", "cp", "dp", "aq", "bq", "cq", "dq"]


def send(messages):
    return str(messages)


def test_a_container_that_is_changed_and_sent_is_named(cache, name):
    """A hit would skip the change: the user is told once to make it an argument."""

    @cache.cached_llm(pool=1, name=name)
    def chat(q):
        HISTORY.append(q)
        return send(HISTORY)

    with pytest.warns(MemollmWarning, match=r"changes .*HISTORY and hands it on as data.*Make it an argument"):
        chat("q")
    chat("r")


def test_what_cannot_be_seen_into_is_named_once(cache, name):
    """What it is, where it is read, and the three ways out; ignored knowingly, nothing is said."""
    client = threading.local()

    def ask(q):
        return f"{client}{q}"

    asked = cache.cached_llm(pool=1, name=name)(ask)
    ways = r'closure client \(_thread._local\).*argument.*version=.*ignore=\("client",\)'
    with pytest.warns(MemollmWarning, match=ways):
        asked("q")
    asked("r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.cached_llm(pool=1, name=f"{name} ignoring", ignore=("client",))(ask)("q")


def test_a_name_that_nothing_has_cannot_be_ignored(cache):
    """What is neither a parameter nor read is a slip of the pen."""
    with pytest.raises(OptionError, match="no parameter of that name"):
        cache.cached_llm(ignore=("STILE",))(lambda q: STYLE + q)


def test_a_replaced_key_function_is_another_version(cache):
    """What is keyed on by another rule is not what was keyed on before."""

    def ask(q):
        return q

    keys = {"first": lambda q: q[0], "last": lambda q: q[-1]}
    first, last = (cache.cached_llm(ask, pool=1, key=key, on_change="new") for key in keys.values())
    assert first("ab") == "ab"
    with pytest.warns(CodeChangedWarning, match="changed"):
        assert last("ba") == "ba"
