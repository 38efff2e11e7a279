"""What type checkers know about decorated functions. Read by mypy and pyright, never run.

Each line that ends in `# E: ...` must be an error, and no other line may be one.
"""
# pyright: strict

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, assert_type

from memollm import (
    AsyncHeldDraw,
    Cache,
    Cached,
    Door,
    DrawEvent,
    Embedder,
    Gather,
    HeldDraw,
    Mapped,
    Progress,
    Similar,
    Usage,
    budget,
    cached_llm,
    configure,
    lane,
    mode,
    namespace,
    replay,
    run,
    track,
    wrap,
)

# A plain function, bare.


@cached_llm
def ask(prompt: str, *, model: str = "m", temperature: float = 1.0) -> str:
    return prompt


assert_type(ask("x"), str)
assert_type(ask("x", model="m", temperature=0.5), str)
assert_type(ask(prompt="x"), str)
assert_type(ask.draw(3, "x", model="m"), list[str])
assert_type(ask.peek("x"), list[str])
assert_type(ask.key("x"), str)
assert_type(ask.forget("x"), int)
assert_type(ask.explain("x").hit, bool)
assert_type(ask.__name__, str)
ask(1)  # E: a wrong argument
ask()  # E: a missing argument
ask("x", "m")  # E: model is keyword-only
ask("x", modle="m")  # E: a misspelt argument
ask.draw("x")  # E: how many comes first
ask.draw(3)  # E: a missing argument
ask.draw(3, 4)  # E: a wrong argument
ask.draw(n=3, prompt="x")  # E: how many is positional
ask.peek(1)  # E: a wrong argument
ask.key("x", modle="m")  # E: a misspelt argument
ask.explain(prompt=1)  # E: a wrong argument
ask.forget()  # E: a missing argument
ask.drawn(3, "x")  # E: no such method


# A plain function, with options.


@cached_llm(namespace="e", pool=3, ignore=("client",), version=2, concurrency=4, name="again", on_change="warn")
def again(prompt: str, client: object = None) -> dict[str, int]:
    return {prompt: 1}


assert_type(again("x"), dict[str, int])
assert_type(again.draw(2, "x"), list[dict[str, int]])


@cached_llm()
def called(prompt: str) -> str:
    return prompt


assert_type(called("x"), str)


@cached_llm(n=5, namespace="e")
def five(prompt: str) -> str:
    return prompt


assert_type(five("x"), list[str])
assert_type(five.draw(2, "x"), list[str])
assert_type(five.peek("x"), list[str])
five(5)  # E: a wrong argument


@cached_llm(count="n", n=2)
def several(prompt: str, n: int) -> list[str]:
    return [prompt] * n


assert_type(several("x", n=3), list[str])
assert_type(several.draw(3, "x", 1), list[str])
assert_type(several.peek("x", 1), list[str])


@cached_llm(count="n")  # E: what counts gives a list
def not_several(prompt: str, n: int = 2) -> int:
    return n


# Many items.


assert_type(ask.map(["x", ("y",), {"prompt": "z"}]), list[str])
assert_type(ask.map(iter("xyz"), concurrency=4, progress=False, on_error="skip"), list[str])
assert_type(ask.map(["x"], on_error="return"), list[str | Exception])
assert_type(five.map(["x"], progress=print), list[list[str]])
assert_type(several.map([("x", 2)]), list[list[str]])
for mapped in ask.map(["x"], as_completed=True):
    assert_type(mapped, Mapped[str])
    assert_type(mapped.at, int)
for at, answer in five.map(["x"], as_completed=True, on_error="return"):
    assert_type(at, int)
    assert_type(answer, list[str] | Exception)


def watch(progress: Progress) -> None:
    assert_type(progress.total, int | None)
    assert_type(progress.paid, int)


ask.map(["x"], progress=watch)
ask.map(3)  # E: no items
ask.map(["x"], 4)  # E: a positional option
ask.map(["x"], on_error="ignore")  # E: a wrong option
ask.map(["x"], concurrency="4")  # E: a wrong option
ask.map(["x"], progres=True)  # E: a misspelt option
ask.map(["x"], progress=len)  # E: a function of something else


# Coroutine functions.


@cached_llm
async def ask_async(prompt: str, model: str = "m") -> str:
    return prompt


@cached_llm(n=5)
async def five_async(prompt: str) -> str:
    return prompt


@cached_llm(count="n")
async def several_async(prompt: str, n: int) -> list[str]:
    return [prompt] * n


async def later_items() -> AsyncIterator[str]:
    yield "x"


async def coroutines() -> None:
    assert_type(await ask_async("x"), str)
    assert_type(await ask_async.draw(3, "x"), list[str])
    assert_type(ask_async.peek("x"), list[str])
    assert_type(ask_async.key("x"), str)
    assert_type(await ask_async.with_options(n=3)("x"), list[str])
    assert_type(await five_async("x"), list[str])
    assert_type(await five_async.draw(3, "x"), list[str])
    assert_type(await five_async.with_options(n=None)("x"), str)
    assert_type(await five_async.with_options(n=None).draw(2, "x"), list[str])
    assert_type(five_async.peek("x"), list[str])
    assert_type(await several_async("x", 3), list[str])
    assert_type(await several_async.draw(3, "x", 3), list[str])
    later: Coroutine[Any, Any, str] = ask_async("x")
    await later
    assert_type(await ask_async.map(["x"]), list[str])
    assert_type(await ask_async.map(later_items()), list[str])
    assert_type(await five_async.map(["x"], on_error="return"), list[list[str] | Exception])
    async for at, answer in ask_async.map(["x"], as_completed=True):
        assert_type(at, int)
        assert_type(answer, str)
    async for mapped in ask_async.map(later_items(), as_completed=True, on_error="return"):
        assert_type(mapped.result, str | Exception)
    ask.map(later_items())  # E: a plain function cannot wait for items
    await ask_async(1)  # E: a wrong argument
    await ask_async.draw(3)  # E: a missing argument
    ask_async("x").upper()  # E: not awaited


# Generator functions.


@cached_llm
def tell(prompt: str) -> Generator[str, bool, int]:
    if (yield prompt):
        return 1
    return 2


@cached_llm(pool=1)
async def tell_async(prompt: str) -> AsyncGenerator[str, None]:
    yield prompt


class Teller:
    @cached_llm
    def tell(self, prompt: str) -> Generator[str, None, None]:
        yield prompt


assert_type(tell("x"), Generator[str, bool, int])
assert_type(tell.peek("x"), list[list[str]])
assert_type(tell_async("x"), AsyncGenerator[str, None])
assert_type(tell_async.peek("x"), list[list[str]])
assert_type(Teller().tell("x"), Generator[str, None, None])
tell(1)  # E: a wrong argument


# Batches.


@cached_llm(batch="prompts", pool=1)
def generate(prompts: list[str], temperature: float = 1.0) -> list[int]:
    return [len(prompt) for prompt in prompts]


@cached_llm(batch="prompts", n=2)
def generate_two(prompts: list[str]) -> list[int]:
    return [len(prompt) for prompt in prompts]


@cached_llm(batch="prompts", gather=Gather(max_size=8))
async def generate_async(prompts: list[str]) -> list[int]:
    return [len(prompt) for prompt in prompts]


class Generator_:
    @cached_llm(batch="prompts")
    async def generate(self, prompts: list[str]) -> list[int]:
        return [len(prompt) for prompt in prompts]


assert_type(generate(["x"], temperature=0.5), list[int])
assert_type(generate.draw(2, ["x"]), list[list[int]])
assert_type(generate.peek(["x"]), list[int])
assert_type(generate.one("x"), int)
assert_type(generate.map([["x"], ["y", "z"]]), list[list[int]])
assert_type(generate_two(["x"]), list[list[int]])
assert_type(generate_two.one("x"), list[int])
generate("x")  # E: no list
generate(["x"], "hot")  # E: a wrong argument


async def batches() -> None:
    assert_type(await generate_async(["x"]), list[int])
    assert_type(await generate_async.one("x"), int)
    assert_type(await generate_async.draw(2, ["x"]), list[list[int]])
    assert_type(await Generator_().generate(["x"]), list[int])
    assert_type(await Generator_().generate.one("x"), int)


@cached_llm(batch="prompts")  # E: a batch gives a list
def no_batch(prompts: list[str]) -> int:
    return len(prompts)


Gather(64)  # E: keywords only


@cached_llm(count="n", gather=Gather(joins=True, waves=True), on_cancel="stop")
async def gathered_samples(prompt: str, n: int = 1) -> list[int]:
    return [len(prompt)] * n


async def samples() -> None:
    assert_type(await gathered_samples("x"), list[int])


@cached_llm(grace="2m")
async def patient(prompt: str) -> int:
    return len(prompt)


cached_llm(on_cancel="finnish")  # E: a wrong way
cached_llm(batch=1)  # E: a wrong option


# Methods.


class Agent:
    @cached_llm
    def ask(self, prompt: str, *, model: str = "m") -> str:
        return prompt

    @cached_llm(n=3, ignore="self")
    def three(self, prompt: str) -> int:
        return len(prompt)

    @cached_llm(namespace="e")
    async def ask_async(self, prompt: str) -> str:
        return prompt

    @cached_llm
    @staticmethod
    def static(prompt: str) -> str:
        return prompt

    @cached_llm(n=3)
    @staticmethod
    async def static_async(prompt: str) -> str:
        return prompt

    @cached_llm
    @classmethod
    def of_class(cls, prompt: str) -> str:
        return prompt

    @cached_llm(n=3)
    @classmethod
    async def of_class_async(cls, prompt: str) -> str:
        return prompt

    @cached_llm(count="n")
    @staticmethod
    def static_several(prompt: str, n: int) -> list[str]:
        return [prompt] * n

    @cached_llm(count="n")
    @classmethod
    async def of_class_several(cls, prompt: str, n: int) -> list[str]:
        return [prompt] * n

    @staticmethod
    @cached_llm
    def inner_static(prompt: str) -> str:
        return prompt

    @staticmethod
    @cached_llm(n=3)
    async def inner_static_async(prompt: str) -> str:
        return prompt

    @classmethod
    @cached_llm
    def inner_of_class(cls, prompt: str) -> str:
        return prompt

    @classmethod
    @cached_llm(n=3)
    async def inner_of_class_async(cls, prompt: str) -> str:
        return prompt

    def inside(self) -> None:
        assert_type(self.ask("x"), str)
        assert_type(self.of_class("x"), str)


class Special(Agent):
    """Inherits every decorated method."""


agent = Special()
assert_type(agent.ask("x", model="m"), str)
assert_type(agent.ask.draw(3, "x"), list[str])
assert_type(agent.ask.peek("x"), list[str])
assert_type(agent.ask.map(["x"]), list[str])
assert_type(agent.ask.with_options(n=2)("x"), list[str])
assert_type(agent.three("x"), list[int])
assert_type(agent.three.draw(2, "x"), list[int])
assert_type(agent.three.peek("x"), list[int])
assert_type(Agent.ask(agent, "x"), str)
assert_type(Agent.ask.draw(3, agent, "x"), list[str])
agent.ask(1)  # E: a wrong argument
agent.ask()  # E: a missing argument
agent.ask.draw(3, 4)  # E: a wrong argument
agent.three(3)  # E: a wrong argument
Agent.ask("x")  # E: no object
Agent.ask(3, "x")  # E: not its object


async def methods() -> None:
    assert_type(await agent.ask_async("x"), str)
    assert_type(await agent.ask_async.draw(3, "x"), list[str])
    assert_type(await agent.ask_async.map(["x"]), list[str])
    assert_type(await Agent.static_async("x"), list[str])
    assert_type(await agent.static_async.draw(3, "x"), list[str])
    assert_type(await Agent.of_class_async("x"), list[str])
    assert_type(await agent.of_class_async.draw(3, "x"), list[str])
    assert_type(await Agent.inner_static_async("x"), list[str])
    assert_type(await agent.inner_static_async("x"), list[str])
    assert_type(await Agent.inner_of_class_async("x"), list[str])
    assert_type(await agent.inner_of_class_async("x"), list[str])
    assert_type(await Agent.of_class_several("x", 3), list[str])
    assert_type(await agent.of_class_several.draw(3, "x", 1), list[str])
    await agent.ask_async(1)  # E: a wrong argument
    await agent.static_async(1)  # E: a wrong argument
    await Agent.of_class_async(1)  # E: a wrong argument


assert_type(Agent.static("x"), str)
assert_type(agent.static("x"), str)
assert_type(Agent.static.draw(3, "x"), list[str])
assert_type(agent.static.peek("x"), list[str])
assert_type(Agent.static.with_options(n=3)("x"), list[str])
assert_type(Agent.of_class("x"), str)
assert_type(agent.of_class("x"), str)
assert_type(Agent.of_class.draw(3, "x"), list[str])
assert_type(agent.of_class.peek("x"), list[str])
assert_type(Agent.static_several("x", 3), list[str])
assert_type(Agent.inner_static("x"), str)
assert_type(agent.inner_static("x"), str)
assert_type(Agent.inner_of_class("x"), str)
assert_type(agent.inner_of_class("x"), str)
Agent.static(1)  # E: a wrong argument
agent.static()  # E: a missing argument
Agent.static.draw(3, 4)  # E: a wrong argument
Agent.of_class(1)  # E: a wrong argument
agent.of_class()  # E: a missing argument
agent.of_class.draw(3, 4)  # E: a wrong argument
Agent.inner_static(1)  # E: a wrong argument
Agent.inner_of_class(1)  # E: a wrong argument


# Generic functions keep their type variables solved at each call; lambdas and partials are functions too.


shout = cached_llm(lambda: "x")
assert_type(shout(), str)
assert_type(shout.draw(2), list[str])


def plain(prompt: str, model: str) -> str:
    return prompt


with_model = cached_llm(partial(plain, model="m"))
assert_type(with_model("x"), str)
assert_type(with_model.draw(2, "x"), list[str])
assert_type(cached_llm(plain)("x", "m"), str)
assert_type(cached_llm(n=2)(plain)("x", "m"), list[str])
assert_type(cached_llm(n=2)(partial(plain, model="m"))("x"), list[str])


class Model:
    def __call__(self, prompt: str) -> str:
        return prompt


assert_type(cached_llm(Model())("x"), str)
cached_llm(Model())(1)  # E: a wrong argument


# with_options.


assert_type(ask.with_options(n=3)("x"), list[str])
assert_type(ask.with_options(n=3).draw(2, "x"), list[str])
assert_type(ask.with_options(namespace="other")("x"), str)
assert_type(ask.with_options(n=3).with_options(namespace="other")("x"), list[str])
assert_type(five.with_options(n=None)("x"), str)
assert_type(five.with_options(namespace="other")("x"), list[str])
assert_type(several.with_options(n=None)("x", 2), list[str])
assert_type(several.with_options(n=3, namespace="other").draw(2, "x", 1), list[str])
ask.with_options(n=3)(3)  # E: a wrong argument
ask.with_options(3)  # E: a positional option
ask.with_options(namespaces="e")  # E: a misspelt option
ask.with_options(n="3")  # E: a wrong option


# A cache's own decorator.


cache = Cache(Path("x.db"))


@cache.cached_llm
def here(prompt: str) -> str:
    return prompt


@cache.cached_llm(n=2, namespace="e")
async def two_here(prompt: str) -> str:
    return prompt


assert_type(here("x"), str)
assert_type(here.draw(3, "x"), list[str])
here(1)  # E: a wrong argument


async def two() -> None:
    assert_type(await two_here("x"), list[str])


cache.cached_llm(name_space="e")  # E: a misspelt option


# Options.


cached_llm(namespaces="e")  # E: a misspelt option
cached_llm("e")  # E: a positional option
cached_llm(ask, n=2)  # E: the function or options, not both
cached_llm(n="5")  # E: a wrong option
cached_llm(pool="5")  # E: a wrong option
cached_llm(n=2, pool="5")  # E: a wrong option
cached_llm(on_change="never")  # E: a wrong option
cached_llm(count=3)  # E: a wrong option
cached_llm(mode="ofline")  # E: no such mode
cached_llm(ttl=b"7d")  # E: no duration
cached_llm(usage="cost")  # E: no function


def usage_of(answer: str) -> Usage:
    return Usage(input_tokens=len(answer), output_tokens=1, model="m")


def embed_text(text: str) -> list[float]:
    return [1.0, float(len(text))]


similar = Similar("question", embed=embed_text, threshold=0.9, verify=lambda asked, stored: asked == stored)
looking = Similar("question", embed=Embedder(embed_text, name="e"), gates=["numbers"], shadow=True)


@cached_llm(similar=similar, pool=1)
def answer_similar(question: str, *, model: str) -> str:
    return question


assert_type(answer_similar("x", model="m"), str)
assert_type(answer_similar.with_options(similar=looking)("x", model="m"), str)


@cached_llm(mode="offline", ttl="7d", usage=usage_of, pool=1)
def controlled(prompt: str) -> str:
    return prompt


@cached_llm(n=2, mode="refresh", ttl=timedelta(days=7), usage=len)
async def controlled_async(prompt: str) -> str:
    return prompt


@cached_llm(batch="prompts", mode="off", ttl=3600)
def controlled_batch(prompts: list[str]) -> list[str]:
    return prompts


assert_type(controlled("x"), str)
assert_type(controlled.with_options(mode="auto", ttl=None)("x"), str)
assert_type(controlled_batch(["x"]), list[str])
ask.with_options(mode="on")  # E: no such mode
ask.with_options(ttl=["7d"])  # E: no duration


async def controlled_coroutines() -> None:
    assert_type(await controlled_async("x"), list[str])
    assert_type(await controlled_async.with_options(mode="auto", n=None)("x"), str)


# Context managers.


with namespace("e") as nothing:
    assert_type(nothing, None)
with run() as of_itself, run("id") as named:
    assert_type(of_itself, str)
    assert_type(named, str)
namespace(1)  # E: a wrong name
run(1)  # E: a wrong id

with mode("offline") as nothing, replay("e") as nothing_either, replay("e", then="draw"):
    assert_type(nothing, None)
    assert_type(nothing_either, None)
with lane("agent-1") as full_name:
    assert_type(full_name, str)
with budget(calls=50) as spent, budget(cost=2.5, calls=None):
    assert_type(spent.calls, int)
    assert_type(spent.cost, float)
with track() as tracked:
    assert_type(tracked.draws, list[DrawEvent])
    assert_type(tracked.hits, int)
    assert_type(tracked.spent.cost, float)
    assert_type(tracked.saved.tokens, int)
    assert_type(tracked.draws[0].cost, float | None)
mode(1)  # E: a wrong mode
lane()  # E: a missing name
budget(50)  # E: keywords only
budget(call=50)  # E: a misspelt limit
replay("e", "draw")  # E: keywords only
replay()  # E: a missing name


# What was counted.


stats = cache.stats("namespace")
assert_type(stats["e"].draws, int)
assert_type(stats.total.spent.cost, float)
assert_type([line.name for line in stats], list[str])
assert_type(ask.stats().total.hit_latency, float | None)
cache.stats(1)  # E: a wrong grouping


# Settings.


def watching(event: DrawEvent) -> None:
    assert_type(event.slot, int)
    assert_type(event.lane, str | None)


configure(mode="offline", prices={"m": (1.0, 2.0)}, on_draw=watching)
configure("offline")  # E: keywords only


# Clients of SDKs.


class Sdk:
    pass


assert_type(wrap(Sdk(), namespace="a", paths=["/rerank"], host=False), Sdk)
wrap(Sdk(), "a")  # E: keywords only
wrap(Sdk(), n=3)  # E: a request says itself how many samples it wants
wrap(Sdk(), mode="of")  # E: there is no such mode


# As annotations, and at run time.


def takes(f: Cached[[str], str, list[str], str]) -> list[str]:
    return f.draw(3, "x")


def takes_any(f: Cached[[str], object, object, object]) -> None:
    f("x")


takes(called)
takes(agent.ask_async)  # E: it gives coroutines
takes(five)  # E: it gives lists
takes_any(five)
takes_any(several)  # E: it wants two arguments


def at_run_time(f: object) -> None:
    if isinstance(f, Cached):
        f.key()


# A door.

door = Cache().door("judge", version=1, namespace="a", pool=3, ttl="7d", lease="1h")
assert_type(door, Door)
assert_type(door.draw({"x": 1}, lambda: 1), int)
assert_type(door.draw("x", lambda: 1, n=3), list[int])
assert_type(door.peek("x"), list[Any])
assert_type(door.put("x", 1), bool)
assert_type(door.abandon(), int)
Cache().door("judge", n=3)  # E: said at each draw
Cache().door("judge", ignore="x")  # E: there is no function
Cache().door("judge", pool="x")  # E: a number
door.draw("x", 1)  # E: nothing that makes samples
with door.hold("x", n=2) as held:
    assert_type(held, HeldDraw)
    assert_type(held.missing, int)
    held.fill(1)


async def through_a_door() -> None:
    assert_type(await door.adraw("x", ask_later), str)
    assert_type(await door.adraw("x", ask_later, n=2), list[str])
    await door.aupdate("x", await door.alookup("x"))
    async with door.hold("x") as held:
        assert_type(held, AsyncHeldDraw)
        await held.fill(1)


async def ask_later() -> str:
    return ""


# The known limit: a static method whose first parameter takes anything looks like a method.


class Limit:
    @cached_llm
    @staticmethod
    def static(anything: object) -> str:
        return str(anything)


Limit.static("x")  # E: not an error at run time; annotate the parameter more closely
