"""The decorated function: what it can decorate, what it keeps, and the options that it refuses."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import subprocess
import sys
import typing

import pytest

import memollm
from memollm import Cache, OptionError, UnkeyableArgument, cached_llm

memory = Cache("memory:")


@memory.cached_llm(namespace="a")
def ask(prompt: str, *, model: str = "m", temperature: float = 1.0) -> str:
    """Ask the model."""
    return f"{prompt} {model} {temperature}"


@memory.cached_llm(namespace="a")
async def ask_async(prompt: str) -> str:
    return prompt


class Agent:
    def __init__(self, name):
        self.name = name

    def __memollm_key__(self):
        return self.name

    @memory.cached_llm(namespace="a")
    def method(self, x):
        return (self.name, x)

    @memory.cached_llm(namespace="a", ignore="self")
    async def method_async(self, x):
        return x

    @memory.cached_llm(namespace="a")
    @classmethod
    def class_method(cls, x):
        return (cls.__name__, x)

    @classmethod
    @memory.cached_llm(namespace="a")
    def class_method_outside(cls, x):
        return (cls.__name__, x)

    @memory.cached_llm(namespace="a")
    @staticmethod
    def static_method(x):
        return x

    @staticmethod
    @memory.cached_llm(namespace="a")
    def static_method_outside(x):
        return x


def test_it_looks_like_the_function():
    """Name, docstring, signature and kind are the function's own."""
    assert (ask.__name__, ask.__doc__, ask.__module__) == ("ask", "Ask the model.", __name__)
    assert str(inspect.signature(ask)) == "(prompt: 'str', *, model: 'str' = 'm', temperature: 'float' = 1.0) -> 'str'"
    assert inspect.iscoroutinefunction(ask_async)
    assert not inspect.iscoroutinefunction(ask)
    assert ask.__wrapped__("x") == "x m 1.0"


def test_methods_in_either_order_of_decorators():
    """Methods, class methods and static methods are called and keyed as written."""
    agent = Agent("bob")
    assert agent.method(1) == Agent.method(agent, 1) == ("bob", 1)
    assert agent.method.draw(2, 1) == [("bob", 1)] * 2
    assert agent.method.key(1) != Agent("eve").method.key(1)
    assert Agent.class_method(1) == agent.class_method(1) == ("Agent", 1)
    assert Agent.class_method_outside(1) == agent.class_method_outside(1) == ("Agent", 1)
    assert Agent.class_method.draw(2, 3) == [("Agent", 3)] * 2
    assert Agent.static_method(1) == agent.static_method(1) == 1
    assert Agent.static_method_outside(1) == agent.static_method_outside(1) == 1
    assert agent.static_method.draw(2, 5) == Agent.static_method_outside.draw(2, 5) == [5, 5]
    assert agent.method.with_options(n=2)(9) == [("bob", 9)] * 2


@pytest.mark.parametrize(
    "options", [{}, {"version": "1"}, {"on_change": "error"}, {"version": "1", "pool": 1}], ids=str
)
def test_an_override_and_what_it_overrides_are_two_functions(options):
    """P8: an override that asks its base's method has samples of its own, and the base's are no change of its code."""
    cache = Cache("memory:")

    class Base:
        def __memollm_key__(self):
            return 1

        @cache.cached_llm(**options)
        def ask(self, x):
            return f"base {x}"

        @cache.cached_llm(**options)
        @classmethod
        def of_class(cls, x):
            return f"base {x}"

    class Child(Base):
        @cache.cached_llm(**options)
        def ask(self, x):
            return "child of " + super().ask(x)

        @cache.cached_llm(**options)
        @classmethod
        def of_class(cls, x):
            return "child of " + super().of_class(x)

    class Grandchild(Child):
        @cache.cached_llm(**options)
        def ask(self, x):
            return "grand" + super().ask(x)

    for ask, answer in [
        (Child().ask, "child of base x"),
        (Grandchild().ask, "grandchild of base x"),
        (Base().ask, "base x"),
        (Child.of_class, "child of base x"),
    ]:
        assert ask("x") == answer
        assert ask.peek("x") == [answer]


def test_a_method_of_an_object_without_identity_says_what_to_do():
    """P8: an object without a stable identity is an error that names the way out, never a guess."""

    class Client:
        @memory.cached_llm
        def ask(self, prompt):
            return prompt

        @memory.cached_llm(ignore=("self",), namespace="a")
        def ask_ignoring(self, prompt):
            return prompt

    with pytest.raises(UnkeyableArgument, match=r"self is of type .*Client, .*__memollm_key__\(\)"):
        Client().ask("x")
    assert Client().ask_ignoring("x") == "x"
    assert Client().ask_ignoring.key("x") == Client().ask_ignoring.key("x")


def test_lambdas_and_partials():
    """What has no name of its own can be decorated too."""
    assert memory.cached_llm(namespace="a")(lambda x: x + 1)(1) == 2
    greet = memory.cached_llm(functools.partial(ask.__wrapped__, model="big"), namespace="a")
    assert greet("x") == "x big 1.0"
    assert memory.cached_llm(functools.partial(ask.__wrapped__, model="small")).key("x") != greet.key("x")


def test_one_call_however_it_is_written():
    """P9: defaults are applied and keywords are bound, so equal calls have one key."""
    keys = {ask.key("x"), ask.key(prompt="x"), ask.key("x", temperature=1.0), ask.key("x", model="m")}
    assert len(keys) == 1
    assert ask.key("x", temperature=1) in keys, "the parameter says that it is a float"
    assert ask.key("x", temperature=2) not in keys


def test_what_is_no_part_of_the_key():
    """Ignored parameters, `count`, and keys to an API do not count; unkeyable values may stand there."""

    @memory.cached_llm(ignore=("client",), count="n", namespace="a")
    def many(prompt, client, n=1, api_key="", **rest):
        return [prompt] * n

    assert many.key("x", object()) == many.key("x", client=object(), n=3) == many.key("x", None, 2, "secret")
    assert many.key("x", None, other_api_key="1") == many.key("x", None)
    assert many.key("x", None, other=1) != many.key("x", None)


def test_a_key_function_replaces_the_arguments():
    """`key` returns what to key on instead."""

    @memory.cached_llm(key=lambda messages, request_id: [m["content"] for m in messages], namespace="a")
    def chat(messages, request_id):
        return messages[0]["content"]

    one = chat.key([{"content": "hi", "id": 1}], 5)
    assert one == chat.key([{"content": "hi", "id": 2}], request_id=6)
    assert one != chat.key([{"content": "ho", "id": 1}], 5)


def test_bytes_like_arguments_take_no_shortcut():
    """P8: what marshal writes alike (bytes, bytearray, memoryview) is keyed apart, in whatever order it comes."""

    @memory.cached_llm(namespace="a")
    def see(image):
        return len(image)

    keys = [see.key(image) for image in (b"a", bytearray(b"a"), b"a", bytearray(b"a"))]
    assert keys[0] == keys[2] != keys[1] == keys[3]


def test_the_shortcut_gives_the_key_of_the_full_path():
    """P9: arguments seen before have the key that a process would make that has not seen them."""
    messages = [{"role": "user", "content": "hi"}]
    first, again = ask.key(messages), ask.key(messages)
    fresh = ask.with_options(n=2).key(messages)
    assert first == again == fresh


def test_wrong_arguments_raise_what_the_function_would():
    """A call that does not fit the signature is a TypeError that names the function."""
    with pytest.raises(TypeError, match=r"ask\(\) missing a required argument: 'prompt'"):
        ask()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0: it must be a whole number from 1 up"),
        ({"n": True}, "n=True"),
        ({"n": 2.0}, "n=2.0"),
        ({"pool": -1}, "pool=-1"),
        ({"n": 3, "pool": 2}, "n=3 with pool=2"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"namespace": ""}, "namespace=''"),
        ({"namespace": 3}, "namespace=3"),
        ({"ignore": ("promt",)}, "no parameter of that name. Did you mean 'prompt'"),
        ({"count": "k"}, "count='k'"),
        ({"key": 3}, "key=3"),
        ({"accept": "x"}, "accept='x'"),
        ({"keep_arguments": "nonsense"}, "keep_arguments='nonsense'"),
        ({"key": len, "ignore": ("prompt",)}, "leave `ignore` out"),
        ({"name_space": "a"}, "no option 'name_space'. Did you mean 'namespace'"),
        ({"cache": "mongodb://there"}, "memollm knows paths"),
        ({"cache": ":memory:"}, "memollm knows paths, 'memory:'"),
        ({"cache": "mongodb://me:secret@there/0"}, "'mongodb://…@there/0'"),
    ],
)
def test_wrong_options_are_refused_at_decoration(options, message):
    """The error says what is wrong, before anything is called."""

    def function(prompt):
        return prompt

    with pytest.raises(OptionError, match=message):
        cached_llm(**options)(function)


def test_only_functions_are_decorated():
    """What cannot be called, and what is decorated already, is refused."""
    with pytest.raises(OptionError, match="cannot be called"):
        cached_llm(3)
    with pytest.raises(OptionError, match="decorated already"):
        cached_llm(ask)


def test_its_annotations_are_those_of_the_function():
    """Whoever reads the hints of a decorated function reads the function's, and may set them."""
    hints = {"prompt": str, "model": str, "temperature": float, "return": str}
    assert typing.get_type_hints(ask) == hints
    assert ask.__annotations__ == ask.__wrapped__.__annotations__

    @functools.wraps(ask)
    def wrapper(*args, **kwargs):
        return ask(*args, **kwargs)

    assert typing.get_type_hints(wrapper) == hints

    class Holder:
        @memory.cached_llm
        def method(self, x: int) -> str:
            return str(x)

    assert typing.get_type_hints(Holder().method) == {"x": int, "return": str}
    Holder.method.__annotations__ = {"x": "float"}
    assert typing.get_type_hints(Holder.method) == {"x": float}


def test_it_pickles_by_reference():
    """A decorated function comes back as the same object; with other options, as an equal function."""
    assert pickle.loads(pickle.dumps(ask)) is ask
    assert copy.deepcopy(ask) is copy.copy(ask) is ask
    five = pickle.loads(pickle.dumps(ask.with_options(n=5)))
    assert five.key("x") == ask.key("x")
    assert five("pickled") == ["pickled m 1.0"] * 5
    agent = Agent("bob")
    assert pickle.loads(pickle.dumps(agent.method))(1) == ("bob", 1)


SENDING = """
import sys
import cloudpickle
from memollm import cached_llm

PROMPT = "say "

def helper(x):
    return PROMPT + x

@cached_llm(pool=1, cache="there")
def ask(q):
    print("called", q)
    return helper(q)

@cached_llm(pool=1, cache="there")
def again(q, n):
    return q if n == 0 else again(q, n - 1)

def work(q):
    return ask(q)

if __name__ == "__main__":
    print(ask("hello"), ask.key("x"), again("a", 2))
    sys.stdout.buffer.write(cloudpickle.dumps((ask, ask.with_options(n=2, pool=2), again, work)))
"""
TAKING = """
import pickle, sys

ask, two, again, work = pickle.load(sys.stdin.buffer)
print(ask("hello"), ask.key("x"), again("a", 2))
print(work("hello"), two("hello"))
"""


def test_cloudpickle_takes_it_by_value(tmp_path):
    """A function of a main program draws from the same samples where cloudpickle has sent it, and whoever uses it."""
    (tmp_path / "sending.py").write_text(SENDING)
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    sent = run([sys.executable, "-W", "error", "sending.py"]).stdout
    said, _, pickled = sent.partition(b"a\n")
    called, told = said.decode().splitlines()
    assert called == "called hello"
    taken = run([sys.executable, "-W", "error", "-c", TAKING], input=pickled).stdout.decode()
    assert taken.splitlines() == [f"{told}a", "called hello", "say hello ['say hello', 'say hello']"]


def test_errors_pickle():
    """Errors cross process borders with their text and path."""
    error = pickle.loads(pickle.dumps(UnkeyableArgument("what", "a.b")))
    assert (str(error), error.path) == ("what", "a.b")


def test_with_options_wins_over_all(monkeypatch):
    """A context manager wins over the decorator, which wins over the environment; each names the reader."""
    cache = Cache("memory:")

    @cache.cached_llm
    def free(x):
        return x

    monkeypatch.setenv("MEMOLLM_NAMESPACE", "environment")
    free.with_options(name="free")(1)
    with memollm.namespace("manager"):
        free.with_options(name="free", version="1")(1)
        free(1)
        free.with_options(namespace="insisted")(1)
    cache.cached_llm(namespace="decorator")(free.__wrapped__)(1)
    assert [space.name for space in cache.namespaces()] == ["decorator", "environment", "insisted", "manager"]


def test_importing_touches_nothing(project):
    """P10: `import memollm` and decorating create no file, open no database and import no optional package."""
    program = (
        "import sys, memollm\n"
        "@memollm.cached_llm\n"
        "def f(x): return x\n"
        "optional = {'numpy', 'pydantic', 'attr', 'pandas', 'click', 'rich', 'psycopg', 'redis', 'sqlitedict',"
        " 'cloudpickle', 'multiprocessing', 'platformdirs'}\n"
        "print(sorted(optional & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
    assert [path.name for path in project.iterdir()] == ["pyproject.toml"]
