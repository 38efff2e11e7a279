"""What selects: a model whose slow answers are right more often, and everything that users do with time-outs.

`python -m benchmarks._workload.selection` prints the bias of an accuracy as a table, with calls finished and stopped.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks._workload.clock import run_simulated
from memollm import Cache, Gather, namespace, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

FAST, SLOW, PATIENCE = 1.0, 10.0, 3.0
"""Seconds that answers take, and after which users give up."""
RIGHT: Final = {FAST: 0.14, SLOW: 0.56}
TRUTH: Final = sum(RIGHT.values()) / 2
"""How often an answer is right; slow ones are half of all and four times as often right as fast ones."""
QUESTIONS: Final = [f"question {number}" for number in range(20)]
TRIES: Final = 6
LEFT_AFTER: Final = 3
"""How many results somebody looks at who leaves a map."""


class SlowThinker:
    """The model: every answer is drawn anew, with the time that it takes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def answer(self) -> bool:
        seconds = self._random.choice([FAST, SLOW])
        is_right = self._random.random() < RIGHT[seconds]
        await asyncio.sleep(seconds)
        return is_right


class Bench(NamedTuple):
    """One trial: a function, alone and gathered, with the samples of each in a cache of its own."""

    ask: Any
    one: Callable[[str], Awaitable[bool]]


def bench(cache: Cache, seed: int, on_cancel: str) -> Bench:
    model = SlowThinker(seed)

    @cache.cached_llm(namespace="a", on_cancel=on_cancel)
    async def ask(question: str) -> bool:
        return await model.answer()

    @cache.cached_llm(namespace="a", on_cancel=on_cancel, batch="questions", gather=Gather(max_size=2, max_wait=0.1))
    async def generate(questions: list[str]) -> list[bool]:
        # A batch takes as long as its slowest answer.
        return await asyncio.gather(*(model.answer() for _ in questions))

    return Bench(ask, generate.one)


# What users do, and who reads afterwards.


async def patiently(draw: Callable[[], Awaitable[bool]]) -> list[bool]:
    """Draw with a time-out, and again after each, some times."""
    for _ in range(TRIES):
        with suppress(TimeoutError):
            return [await asyncio.wait_for(draw(), PATIENCE)]
    return []


async def each(draw: Callable[[str], Awaitable[Any]]) -> list[bool]:
    return [right for got in await asyncio.gather(*map(draw, QUESTIONS)) for right in got]


async def read(draw: Callable[[str], Awaitable[bool]]) -> list[bool]:
    """Read the first sample of each question, as another namespace."""
    await settle()
    with namespace("b"):
        return list(await asyncio.gather(*map(draw, QUESTIONS)))


async def retries(the: Bench) -> list[bool]:
    return await each(lambda question: patiently(lambda: the.ask(question)))


async def retries_read(the: Bench) -> list[bool]:
    await retries(the)
    return await read(the.ask)


async def hedged_read(the: Bench) -> list[bool]:
    async def hedged(question: str) -> list[bool]:
        both = [asyncio.ensure_future(the.ask(question)) for _ in range(2)]
        done, late = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()
        await asyncio.wait(both)
        return [task.result() for task in done]

    await each(hedged)
    return await read(the.ask)


async def rerun(the: Bench) -> list[bool]:
    with suppress(TimeoutError):
        await asyncio.wait_for(the.ask.map(QUESTIONS), PATIENCE)
    return list(await the.ask.map(QUESTIONS))


async def map_left(the: Bench) -> list[bool]:
    left = 0
    async with aclosing(the.ask.map(QUESTIONS, as_completed=True)) as given:
        async for _ in given:
            left += 1
            if left == LEFT_AFTER:
                break
    return await read(the.ask)


async def gathered(the: Bench) -> list[bool]:
    async def once(question: str) -> list[bool]:
        with suppress(TimeoutError):
            return [await asyncio.wait_for(the.one(question), PATIENCE)]
        return []

    await each(once)
    return await read(the.one)


SCENARIOS: Final[dict[str, Callable[[Bench], Awaitable[list[bool]]]]] = {
    "time-outs and retries": retries,
    "another namespace reads after them": retries_read,
    "two hedged draws, read after": hedged_read,
    "a run cancelled once, then rerun": rerun,
    "a map left early, read after": map_left,
    "gathered draws with time-outs, read after": gathered,
}


class Found(NamedTuple):
    """An accuracy over all trials, as one sample each of so many answers."""

    bias: float
    half_width: float
    """Of the interval that holds it 999 times in 1000."""

    @property
    def is_unbiased(self) -> bool:
        return abs(self.bias) <= self.half_width


def found(rights: Iterable[bool]) -> Found:
    answers = list(rights)
    mean = sum(answers) / len(answers)
    return Found(mean - TRUTH, 3.29 * math.sqrt(TRUTH * (1 - TRUTH) / len(answers)))


def trials(scenario: str, number: int, *, on_cancel: str = "finish", seed: int = 0) -> Found:
    """Do a scenario so many times, in simulated time."""
    rights: list[bool] = []
    for trial in range(number):
        with Cache("memory:") as cache:
            the = bench(cache, seed + trial, on_cancel)
            rights += run_simulated(_warm(the, scenario), cache._engine.desk.settle)[0]
    return found(rights)


async def _warm(the: Bench, scenario: str) -> list[bool]:
    """Introduce the functions first, which takes its time in a thread."""
    await asyncio.gather(the.ask("nothing"), the.one("nothing"))
    return await SCENARIOS[scenario](the)


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(f"bias of an accuracy of {TRUTH:.2f}, {number} trials of {len(QUESTIONS)} questions, with 99.9 % intervals")
    for scenario in SCENARIOS:
        by = {how: trials(scenario, number, on_cancel=how) for how in ("finish", "stop")}
        told = "  ".join(f"{how} {one.bias:+.3f} ± {one.half_width:.3f}" for how, one in by.items())
        print(f"{scenario:45}  {told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
