"""Functions, classes and objects as arguments count by what they do and say of themselves (P8)."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types

import pydantic
import pytest

from memollm import Cache
from memollm._keys import functions

memory = Cache("memory:")


@memory.cached_llm(namespace="a", name="use", version=1)
def use(tool):
    return "ok"


def made(text, name="thing", module="toolbox", file="<toolbox>"):
    space = types.ModuleType(module).__dict__ | {"__file__": file}
    exec(compile(text, file, "exec"), space)
    return space[name]


def closure(word):
    def tool(q):
        return word + q

    return tool


def manager(word):
    @contextlib.contextmanager
    def tool():
        yield word

    return tool


def dispatched(word):
    @functools.singledispatch
    def tool(q):
        return q

    tool.register(int, lambda q: word)
    return tool


def documented(doc):
    def tool(q):
        return q

    tool.__doc__ = doc
    return tool


def hinted(hint):
    def tool(q):
        return q

    tool.__annotations__ = {"q": hint}
    return tool


def attributed(name):
    def tool(q):
        return q

    tool.name = name
    return tool


def local_class(style):
    class Agent:
        voice = style

    return Agent


def typed(style):
    return type("Agent", (), {"voice": style, "__module__": __name__})


def with_method(method):
    cls = dataclasses.make_dataclass("Agent", [("x", int)])
    cls.__module__ = __name__
    cls.render = method
    return cls(1)


@dataclasses.dataclass
class Card:
    x: int

    def render(self):
        return f"a{self.x}"


class Form(pydantic.BaseModel):
    x: int = 1
    y: int = 2


class Reading(pydantic.BaseModel):
    x: int

    @pydantic.computed_field
    def shown(self) -> int:
        return self.x


class Writing(pydantic.BaseModel):
    x: int

    @pydantic.computed_field
    def shown(self) -> str:
        return str(self.x)


Writing.__qualname__ = Writing.__name__ = "Reading"

PAIRS = {
    "closures": (closure("a"), closure("b")),
    "closures under a library's decorator": (manager("a"), manager("b")),
    "closures under singledispatch": (dispatched("a"), dispatched("b")),
    "docstrings": (documented("a"), documented("b")),
    "hints": (hinted(int), hinted(str)),
    "attributes": (attributed("a"), attributed("b")),
    "bound formats": ("a {}".format, "b {}".format),
    "local classes": (local_class("a"), local_class("b")),
    "made classes": (typed("a"), typed("b")),
    "methods of an object's class": (with_method(lambda self: "a"), with_method(lambda self: "b")),
    "fields that were given": (Form(x=1), Form(x=1, y=2)),
    "schemas of what is written": (Reading, Writing),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_an_argument_does_or_says_tells_calls_apart(name):
    """Two that differ have two keys; one of them has one."""
    one, other = PAIRS[name]
    assert use.key(one) == use.key(one)
    assert use.key(one) != use.key(other)


def test_a_method_put_in_while_the_program_runs_counts(monkeypatch):
    """An object whose class has got another method is another argument, and the old one again with the old method."""
    before = use.key(Card(1))
    with monkeypatch.context() as patched:
        patched.setattr(Card, "render", lambda self: f"b{self.x}")
        assert use.key(Card(1)) != before
    assert use.key(Card(1)) == before


def test_the_own_package_is_no_library_wherever_it_is_installed(monkeypatch):
    """A tool of the same package as the function that uses it counts with its code."""
    monkeypatch.setattr(functions, "is_of_library", lambda file: file.startswith("<site>"))
    tools = [made(f"def thing(q): return {word!r}", file=f"<site>{word}") for word in "ab"]
    asking = made("def thing(tool): return 'ok'", file="<site>use")
    mine = memory.cached_llm(asking, namespace="a", name="mine", version=1)
    assert use.key(tools[0]) == use.key(tools[1])
    assert mine.key(tools[0]) != mine.key(tools[1])


def test_what_needs_no_word_is_keyed_as_before():
    """A class of fields alone has no code that could count."""
    plain = dataclasses.make_dataclass("Plain", [("x", int)])
    call = use._self_invocation((plain(1),), {}).keyed()
    assert "!code" not in call.form
