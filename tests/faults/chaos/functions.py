"""The functions under test: each of their answers is told from every other, and each call is written down."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from memollm import Gather, cached_llm

from .logs import new_name

if TYPE_CHECKING:
    from .logs import Log

REFUSED = "no"
"""What an answer ends with that `accept` refuses."""
CHUNKS = 3
operation: ContextVar[str | None] = ContextVar("operation", default=None)
"""What is being done here, by its name in the logs."""


class ModelFailed(Exception):
    """The model was overloaded."""


class Model:
    """Makes answers, in a time that nobody foresees, or fails; there is one in a process."""

    log: Log

    def __init__(self) -> None:
        self.random = random.Random()
        self.fails = self.refuses = self.is_slow = 0.05

    @contextmanager
    def call(self, kind, prompts):
        made = [new_name() + REFUSED * (kind == "ask" and self._may(self.refuses)) for _ in prompts]
        call = new_name()
        self.log.say(what="call", call=call, kind=kind, prompts=prompts, makes=made, operation=operation.get())
        try:
            yield made
            if self._may(self.fails):
                raise ModelFailed  # noqa: TRY301 - told in one place, whoever it was
        except BaseException as error:
            self.log.say(what="left", call=call, why=type(error).__name__)
            raise
        self.log.say(what="answered", call=call)

    def _may(self, chance):
        return self.random.random() < chance

    def seconds(self):
        return self.random.random() * (0.05 if self._may(self.is_slow) else 0.003)


model = Model()


def ask(prompt):
    with model.call("ask", [prompt]) as made:
        time.sleep(model.seconds())
    return made[0]


async def ask_async(prompt):
    with model.call("ask", [prompt]) as made:
        await asyncio.sleep(model.seconds())
    return made[0]


def many(prompt, k=2):
    with model.call("many", [prompt] * k) as made:
        time.sleep(model.seconds())
    return made


async def many_async(prompt, k=2):
    with model.call("many", [prompt] * k) as made:
        await asyncio.sleep(model.seconds())
    return made


def batch(prompts):
    with model.call("batch", prompts) as made:
        time.sleep(model.seconds())
    return made


async def batch_async(prompts):
    with model.call("batch", prompts) as made:
        await asyncio.sleep(model.seconds())
    return made


def tell(prompt):
    with model.call("tell", [prompt]) as made:
        for number in range(CHUNKS):
            time.sleep(model.seconds() / CHUNKS)
            yield f"{made[0]}.{number}"


async def tell_async(prompt):
    with model.call("tell", [prompt]) as made:
        for number in range(CHUNKS):
            await asyncio.sleep(model.seconds() / CHUNKS)
            yield f"{made[0]}.{number}"


def memo(prompt):
    with model.call("memo", [prompt]) as made:
        time.sleep(model.seconds())
    return made[0]


async def memo_async(prompt):
    with model.call("memo", [prompt]) as made:
        await asyncio.sleep(model.seconds())
    return made[0]


def few(prompt):
    with model.call("few", [prompt]) as made:
        time.sleep(model.seconds())
    return made[0]


async def few_async(prompt):
    with model.call("few", [prompt]) as made:
        await asyncio.sleep(model.seconds())
    return made[0]


POOLS = {"memo": 1, "few": 3}
"""How many slots a function has; others have no end."""
OPTIONS = {
    "ask": {"accept": lambda answer: not answer.endswith(REFUSED)},
    "many": {"count": "k"},
    "batch": {"batch": "prompts"},
    "tell": {},
    "memo": {"pool": POOLS["memo"]},
    "few": {"pool": POOLS["few"]},
}


def decorated(cache):
    """Return the functions by kind, with their samples in a cache: the plain one, and the one for event loops."""
    functions = globals()
    gather = {"batch": {"gather": Gather(max_size=4, max_wait=0.001)}}
    return {
        kind: (
            cached_llm(functions[kind], name=kind, version="1", cache=cache, **options),
            cached_llm(
                functions[f"{kind}_async"], name=kind, version="1", cache=cache, **options, **gather.get(kind, {})
            ),
        )
        for kind, options in OPTIONS.items()
    }


def answer_of(chunks):
    """Return the answer that a stream was, whole and in order."""
    name = chunks[0].partition(".")[0] if chunks else "nothing"
    if chunks != [f"{name}.{number}" for number in range(CHUNKS)]:
        raise AssertionError(f"a stream gave {chunks}")
    return name
