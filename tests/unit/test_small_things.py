"""Small things around a decorated function and a cache: looking at them, forgetting, and errors that name the cure."""

from __future__ import annotations

import inspect
import pydoc
import sys
import types

import pytest
from models import asking, run

import memollm
from memollm import Cache, CacheMiss, OptionError, UnkeyableArgument, configure
from memollm._types.children import is_child
from memollm.testing import FakeModel


def test_a_whole_function_is_forgotten(cache):
    """Every call and every version of it goes, for all namespaces; another function's samples stay."""
    ask, other = asking(cache, FakeModel(), namespace="a"), asking(cache, FakeModel(), name="other", namespace="a")
    for version in (1, 2):
        ask.with_options(version=version).map(["x", "y", "z"])
    other("x")
    assert ask.forget_all() == 6
    assert (ask.peek("x"), other.peek("x")) == ([], ["x #1"])
    assert ask.forget_all() == 0


def test_a_method_is_forgotten_for_all_objects(cache):
    """Asked on the class or on an object."""

    class Agent:
        def __init__(self, name):
            self.name = name

        def __memollm_key__(self):
            return self.name

        @cache.cached_llm(version=1, pool=1)
        def ask(self, prompt):
            return prompt

    for name in "ab":
        Agent(name).ask("x")
    assert Agent.ask.forget_all() == 2


def test_tab_completion_and_help_show_what_is_added(cache):
    """`dir` names the methods beside the function's own, and `help` lists them; its docstring stays what it was."""

    @cache.cached_llm
    def ask(prompt):
        """Ask a model."""

    ask.extra = 1
    assert {"draw", "map", "forget_all", "with_options", "extra", "__name__"} <= set(dir(ask))
    told = pydoc.render_doc(ask, renderer=pydoc.plaintext)
    assert "Ask a model." in told
    assert ".forget_all(...)  Remove all stored samples" in told
    assert inspect.getdoc(ask) == ask.__doc__ == "Ask a model."
    ask.__doc__ = "Other."
    assert (ask.__doc__, ask.__wrapped__.__doc__) == ("Other.", "Other.")


def test_the_default_cache_is_the_one_that_functions_use(project):
    """Functions that name no cache keep their samples there; a configured `Cache` is itself."""
    ask = memollm.cached_llm(lambda prompt: prompt, name="ask", version=1, namespace="a")
    ask("x")
    cache = memollm.default_cache()
    assert cache.stats()["ask"].made == 1
    assert repr(cache) == f"Cache({str(project / '.memollm')!r})" == repr(Cache())
    with Cache("memory:") as other:
        configure(cache=other)
        assert memollm.default_cache() is other
        assert repr(other) == "Cache('memory:')"


def test_a_cache_says_where_it_is(project):
    """Whole, also where a relative path was given."""
    assert repr(Cache("results")) == f"Cache({str(project / 'results')!r})"


def test_the_advice_for_a_method_is_a_key(cache):
    """An object that holds the model's name must not be left out of the key, so that is not advised."""

    class Agent:
        def __init__(self):
            self.client = object()

        @cache.cached_llm(version=1)
        def ask(self, prompt):
            return prompt

    with pytest.raises(UnkeyableArgument, match=r"__memollm_key__\(\).*name of the model.*key=") as raised:
        Agent().ask("x")
    assert "ignore" not in str(raised.value)


def test_a_bad_key_result_is_named_as_such(cache):
    """It is no argument of the function, and nothing that `ignore` could leave out."""
    ask = cache.cached_llm(lambda prompt: prompt, key=lambda prompt: [1, object()], name="ask", version=1)
    with pytest.raises(UnkeyableArgument, match=r"What key= returned for .*\[1\] is of type .*object.*from key="):
        ask("x")


def test_a_miss_under_pytest_shows_no_frame_of_ours(cache):
    """The traceback of a test is the user's lines and the message, of plain and coroutine functions and maps."""
    plain = cache.cached_llm(lambda prompt: prompt, mode="offline", name="ask", version=1)

    async def later(prompt):
        return prompt

    coroutine = cache.cached_llm(later, mode="offline", name="later", version=1)
    misses = (lambda: plain("x"), lambda: plain.draw(2, "x"), lambda: plain.map(["x"]), lambda: run(coroutine("x")))
    for miss in misses:
        with pytest.raises(CacheMiss) as raised:
            miss()
        shown = {str(entry.path) for entry in raised.traceback.filter(raised)}
        assert not [path for path in shown if "/memollm/_" in path]
        assert any("test_small_things" in path for path in shown)
    with pytest.raises(OptionError) as raised:
        plain.draw(0, "x")
    assert any("/memollm/_" in str(entry.path) for entry in raised.traceback.filter(raised))


def test_a_name_that_diskcache_was_given_is_told(tmp_path, cache):
    """`memoize(name=...)` lays keys out under that name: with it they are taken, and other functions' left out."""
    diskcache = pytest.importorskip("diskcache")
    with diskcache.Cache(tmp_path / "old") as old:
        answer = old.memoize(name="answers")(lambda prompt, n=1: f"{prompt} {n}")
        answer("x")
        answer("y", n=2)
        old.memoize(name="others")(lambda prompt: "other")("x")
    ask = cache.cached_llm(lambda prompt, n=1: "new", name="ask", version=1, namespace="a")
    with pytest.raises(OptionError, match="--name"):
        cache.import_from("diskcache", tmp_path / "old", function=ask, trust=True)
    done = cache.import_from("diskcache", tmp_path / "old", function=ask, name="answers", trust=True)
    assert (done.added, done.skipped, done.refused) == (2, 1, 0)
    assert (ask("x"), ask("y", n=2)) == ("x 1", "y 2")
    with pytest.raises(OptionError, match="name='answers'"):
        cache.import_from("langchain", tmp_path / "old", map=print, name="answers")


@pytest.mark.parametrize("error", [AttributeError, NameError])
def test_half_imported_multiprocessing_has_started_nobody(monkeypatch, error):
    """A draw beside a thread that is just importing multiprocessing does not fail on what is not there yet."""
    half = types.ModuleType("multiprocessing.process")
    if error is NameError:
        exec("def parent_process(): return _parent_process", vars(half))
    monkeypatch.setitem(sys.modules, "multiprocessing.process", half)
    assert not is_child()
    monkeypatch.delitem(sys.modules, "multiprocessing.process")
    assert not is_child()
