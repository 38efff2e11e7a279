"""Which arguments and which code a key stands for, on every path to it (P8, P9)."""

from __future__ import annotations

import inspect
import re
import threading

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
        assert keyer.call(None, given_args, kwargs) == keyer._make(keyer._state(None), None, given_args, kwargs)


SECRET = "sk-never-to-be-seen"
HIDDEN = {
    "a parameter": ("(prompt, api_key)", {"api_key": SECRET}),
    "a parameter by place": ("(prompt, api_key, *rest)", (SECRET,)),
    "a default": (f"(prompt, api_key={SECRET!r})", {}),
    "a parameter of a provider": ("(prompt, *, openai_api_key=None)", {"openai_api_key": SECRET}),
    "any keyword": ("(prompt, **options)", {"api_key": SECRET}),
    "any keyword of a provider": ("(prompt, **options)", {"openai_api_key": SECRET}),
    "a keyword beside a parameter": ("(prompt, api_key, /, **options)", (None, {"api_key": SECRET})),
    "an ignored parameter": ("(prompt, client)", {"client": SECRET}),
    "an ignored keyword": ("(prompt, **options)", {"client": SECRET}),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_secrets_and_what_is_ignored_are_neither_keyed_nor_stored(case, tmp_path):
    """P8, P10: however a secret is handed in, it tells no calls apart and stands in no file of the cache."""
    shape, secret = HIDDEN[case]
    ignore = ("client",) if "ignored" in case else ()
    args = secret if isinstance(secret, tuple) else (secret,)
    *args, kwargs = args if isinstance(args[-1], dict) else (*args, {})
    function = made(shape)
    with Cache(tmp_path / "cache") as cache:
        options = {"namespace": "a", "name": "ask", "version": 1, "ignore": ignore}
        ask = cache.cached_llm(function, **options)
        assert ask("prompt", *args, **kwargs) == (1,)
        # Keyed anew by another, whom no shortcut helps.
        other = [value.replace(SECRET, "another") if value else value for value in args]
        anew = cache.cached_llm(function, **options)
        assert anew.peek("prompt", *other, **dict.fromkeys(kwargs, "another")) == [(1,)]
        assert anew.key("another prompt", *args, **kwargs) != ask.key("prompt", *args, **kwargs)
    written = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert b"prompt" in written
    assert SECRET.encode() not in written


def test_what_is_not_ignored_counts_beside_what_is():
    """P8: of the keywords that a function takes in one dict, those that are not ignored tell calls apart."""
    keyer = Keyer(made("(client, /, **options)"), name="f", version="1", ignore=("client",))
    forms = {keyer.form(None, (client,), {"client": 1, "seed": seed}) for client in (1, 2) for seed in (1, 2)}
    assert len(forms) == 2
    assert keyer.form(None, (1,), {"client": 1}) != keyer.form(None, (1,), {"client": 2})


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

    for tool in (reading(threading.local()), counting(1)):
        with pytest.raises(UnkeyableArgument, match="tool"):
            use(tool)
    assert use.key(reading) != use.key(counting)
    assert use.key(reading(Options("a"))) == use.key(reading(Options("a"))) != use.key(reading(Options("b")))


def test_functions_of_libraries_are_keyed_by_name():
    """P9: their code differs between versions of Python, and no key may."""

    @memory.cached_llm(namespace="a", name="use", version=1)
    def use(tool):
        return "ok"

    call = use._self_invocation((re.sub,), {}).keyed()
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
