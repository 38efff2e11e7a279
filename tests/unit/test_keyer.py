"""Which arguments and which code a key stands for, on every path to it (P8, P9)."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given, strategies as st

from memollm import Cache, UnkeyableArgument
from memollm._keys.keyer import Keyer

memory = Cache("memory:")

SHAPES = {
    "(a, *parts, client=None)": ("client",),
    "(*args, **kw)": ("kw",),
    "(client, /, **kw)": ("client",),
    "(p, *parts, n=1)": ("n",),
    "(client, a, b=2, *, c=3)": ("client", "c"),
    "(a, api_key='', **rest)": (),
}


def made(shape):
    space = {}
    exec(f"def f{shape}: return (1,)", space)
    return space["f"]


@given(
    st.sampled_from(sorted(SHAPES)),
    st.lists(st.integers(0, 2), max_size=4),
    st.dictionaries(st.sampled_from(["client", "a", "b", "c", "n", "kw", "api_key", "other"]), st.integers(0, 2)),
    st.lists(st.integers(0, 2), max_size=4),
)
def test_the_shortcut_gives_the_key_of_the_full_path(shape, args, kwargs, others):
    """P8: whatever was called before, a call has the key that its bound and counted arguments say."""
    keyer = Keyer(made(shape), name="f", version="1", ignore=SHAPES[shape])
    for given_args in (tuple(others), tuple(args)):
        try:
            inspect.signature(made(shape)).bind(*given_args, **kwargs)
        except TypeError:
            continue
        assert keyer.call(None, given_args, kwargs) == keyer._make(None, given_args, kwargs)


COUNTED = 0


def counting_ask(question):
    global COUNTED
    COUNTED += 1
    return TEMPLATE + question


def test_what_the_function_assigns_itself_is_no_change():
    """P9: a counter that the function moves is no part of it; what it only reads is."""
    keyer = Keyer(counting_ask, name="ask")
    first = keyer.identity(None)
    counting_ask("q")
    assert keyer.identity(None) is first


TEMPLATE = "one "


def test_the_answer_of_another_prompt_is_never_given(monkeypatch):
    """P8: each template has samples of its own, also through what this process remembers."""

    @memory.cached_llm(pool=1, name="templated")
    def ask(question):
        return TEMPLATE + question

    assert [ask("q"), ask("q")] == ["one q", "one q"]
    monkeypatch.setitem(globals(), "TEMPLATE", "two ")
    assert ask("q") == "two q"
    monkeypatch.setitem(globals(), "TEMPLATE", "one ")
    assert ask("q") == "one q"


class Options:
    def __init__(self, style):
        self.style = style


def test_functions_that_read_what_has_no_identity_are_refused():
    """P8: a function as an argument is keyed by its code and what it reads, or refused; never by a guess."""

    @memory.cached_llm(namespace="a", name="use", version=1)
    def use(tool):
        return "ok"

    def reading(options):
        return lambda question: options.style + question

    def counting(n):
        def count():
            nonlocal n
            n += 1
            return n

        return count

    for tool in (reading(Options("a")), counting(1)):
        with pytest.raises(UnkeyableArgument, match="tool"):
            use(tool)
    assert use.key(reading) != use.key(counting)


def test_functions_of_libraries_are_keyed_by_name():
    """P9: their code differs between versions of Python, and no key may."""

    @memory.cached_llm(namespace="a", name="use", version=1)
    def use(tool):
        return "ok"

    call, _ = use._self_invocation((re.sub,), {}).keyed()
    assert "re.sub" in call.form
    assert "library" in call.form


def test_each_cache_has_its_own_way_of_keeping_arguments(tmp_path):
    """What one cache may hold in readable form, another never sees."""

    def ask(prompt):
        return "ok"

    with Cache(tmp_path / "a") as one, Cache(tmp_path / "b") as two:
        one.cached_llm(ask, namespace="n", version=1)("HIDDEN prompt")
        hiding = two.cached_llm(ask, namespace="n", version=1, keep_arguments=False)
        hiding("HIDDEN prompt")
    assert not any(b"HIDDEN" in path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file())
