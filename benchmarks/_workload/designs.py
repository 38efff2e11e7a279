"""What else is done with samples: what selects by nature, what does not, and what an interval is worth.

Each play is one trial: a cache and a model of its own, and the answers from which an accuracy is estimated.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from contextlib import aclosing, closing, suppress
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks._workload.clock import run_simulated
from benchmarks._workload.selection import (
    FAST,
    PATIENCE,
    QUESTIONS,
    SLOW,
    TRUTH,
    Found,
    SlowThinker,
    found,
    patiently,
    read,
)
from memollm import Cache, settle
from memollm.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

UNREADABLE: Final = 0.3
"""How many of the wrong answers are refused by `accept`."""
SAMPLES: Final = 2
"""How many samples of each question an interval is made of."""


class Clock(FakeClock):
    """Tells the time of the event loop that runs."""

    def __call__(self) -> float:
        with suppress(RuntimeError):
            return super().__call__() + asyncio.get_running_loop().time()
        return super().__call__()


class Trial:
    """A cache and a model, and the one function that most plays need."""

    def __init__(self, seed: int) -> None:
        self.clock = Clock()
        self.cache = Cache("memory:", clock=self.clock)
        self.model = SlowThinker(seed)

    def asking(self, **options: Any) -> Any:
        @self.cache.cached_llm(**{"namespace": "a", "name": "ask", "version": "1", **options})
        async def ask(question: str) -> bool:
            return await self.model.answer()

        return ask

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        result, seconds = run_simulated(main, self.cache._engine.desk.settle)
        self.clock.advance(seconds)
        return result


Play = "Callable[[Trial], list[bool]]"


async def all_of(ask: Callable[[str], Awaitable[bool]]) -> list[bool]:
    return list(await asyncio.gather(*map(ask, QUESTIONS)))


# What selects by nature.


def streams_left(trial: Trial) -> list[bool]:
    @trial.cache.cached_llm(namespace="a", name="tell", version="1")
    async def tell(question: str) -> AsyncGenerator[str]:
        seconds, right = trial.model.drawn()
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            yield "…"
        yield str(right)

    async def leave(question: str) -> None:
        async with aclosing(tell(question)) as chunks:
            number = 0
            async for _ in chunks:
                number += 1
                if number > PATIENCE:
                    return

    async def last(question: str) -> bool:
        return [chunk async for chunk in tell.with_options(namespace="b")(question)][-1] == "True"

    async def main() -> list[bool]:
        await asyncio.gather(*map(leave, QUESTIONS))
        return await all_of(last)

    return trial.run(main())


def ended(trial: Trial, *, settles: bool) -> list[bool]:
    ask = trial.asking()

    async def begun() -> None:
        await ask("nothing")
        asked = [asyncio.ensure_future(ask(question)) for question in QUESTIONS]
        await asyncio.wait(asked, timeout=PATIENCE)
        if settles:
            for each in asked:
                each.cancel()
            await settle()

    trial.run(begun())
    return trial.run(all_of(ask.with_options(namespace="b")))


def loop_ends(trial: Trial) -> list[bool]:
    return ended(trial, settles=False)


def loop_ends_settled(trial: Trial) -> list[bool]:
    return ended(trial, settles=True)


def timeout_inside(trial: Trial) -> list[bool]:
    @trial.cache.cached_llm(namespace="a", name="ask", version="1")
    async def ask(question: str) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await trial.model.answer()

    async def main() -> list[bool]:
        return [
            right for got in await asyncio.gather(*(patiently(lambda q=q: ask(q)) for q in QUESTIONS)) for right in got
        ]

    return trial.run(main())


def short_grace(trial: Trial) -> list[bool]:
    ask = trial.asking(grace=1)

    async def main() -> list[bool]:
        await asyncio.gather(*(patiently(lambda q=q: ask(q)) for q in QUESTIONS))
        return await read(ask.with_options(namespace="b"))

    return trial.run(main())


def peeked(trial: Trial) -> list[bool]:
    ask = trial.asking()

    async def main() -> list[bool]:
        await ask("nothing")
        asked = [asyncio.ensure_future(ask(question)) for question in QUESTIONS]
        await asyncio.wait(asked, timeout=PATIENCE)
        seen = [right for question in QUESTIONS for right in ask.peek(question)]
        await asyncio.wait(asked)
        return seen

    return trial.run(main())


def accepting(trial: Trial) -> tuple[list[bool], int]:
    """Return what is kept of one answer to each question, and how many were refused."""

    @trial.cache.cached_llm(namespace="a", name="ask", version="1", accept=lambda right: right is not None)
    async def ask(question: str) -> bool | None:
        right = await trial.model.answer()
        return right if right or not trial.model.happens(UNREADABLE) else None

    trial.run(all_of(ask))
    kept = [right for question in QUESTIONS for right in ask.peek(question)]
    total = ask.stats().total
    assert total.paid - total.refused == len(kept)
    return kept, total.refused


def accepted(trial: Trial) -> list[bool]:
    return accepting(trial)[0]


def corrected(trial: Trial) -> list[bool]:
    kept, refused = accepting(trial)
    return [*kept, *[False] * refused]


# What does not.


def _pruned(trial: Trial, policy: str) -> list[bool]:
    ask = trial.asking()

    async def main() -> list[bool]:
        await all_of(ask)
        trial.cache.prune(max_samples=len(QUESTIONS) // 2, policy=policy)
        return await all_of(ask.with_options(namespace="b"))

    return trial.run(main())


def pruned_fifo(trial: Trial) -> list[bool]:
    return _pruned(trial, "fifo")


def pruned_lru(trial: Trial) -> list[bool]:
    return _pruned(trial, "lru")


def expiring(trial: Trial) -> list[bool]:
    ask = trial.asking(ttl=2 * SLOW)

    async def main() -> list[bool]:
        await all_of(ask)
        # Now those that took long were answered less than the ttl ago, and all were asked for longer ago.
        await asyncio.sleep(SLOW + (SLOW + FAST) / 2)
        return await all_of(ask.with_options(namespace="b"))

    return trial.run(main())


def two_imported(trial: Trial) -> list[bool]:
    ask = trial.asking()
    with TemporaryDirectory() as folder:
        for number in range(2):
            old = Path(folder, f"{number}.db")
            _write_as_langchain(old, {question: trial.model.drawn()[1] for question in QUESTIONS})
            trial.cache.import_from(
                "langchain", old, map=lambda key, texts: (ask, (key[0],), {}, [text == "True" for text in texts])
            )

    async def main() -> list[bool]:
        return [
            right for got in await asyncio.gather(*(ask.draw(2, question) for question in QUESTIONS)) for right in got
        ]

    return trial.run(main())


def _write_as_langchain(file: Path, answers: dict[str, bool]) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("create table full_llm_cache (prompt text, llm text, idx integer, response text)")
        rows = [(question, f'{{"kwargs": {{"text": "{right}"}}}}') for question, right in answers.items()]
        connection.executemany("insert into full_llm_cache values (?, 'llm', 0, ?)", rows)


UNBIASED: Final[dict[str, Callable[[Trial], list[bool]]]] = {
    "the loop ends after `settle()`, then rerun": loop_ends_settled,
    "`accept`, corrected by the refused": corrected,
    "half pruned, oldest first, then redrawn": pruned_fifo,
    "half pruned, least recently used, then redrawn": pruned_lru,
    "read between ttl and ttl + latency": expiring,
    "two other caches imported, then read": two_imported,
}
BIASED: Final[dict[str, Callable[[Trial], list[bool]]]] = {
    "the loop ends, or a kill, then rerun": loop_ends,
    "a time-out inside the function, and retries": timeout_inside,
    "time-outs and a grace of a second, read after": short_grace,
    "long streams left, read after": streams_left,
    "`.peek` or an export in the middle of a run": peeked,
    "what `accept` has let in": accepted,
}


def played(play: Callable[[Trial], list[bool]], number: int, seed: int = 0) -> Found:
    """Do a trial so many times."""
    rights: list[bool] = []
    for turn in range(number):
        trial = Trial(seed + turn)
        with trial.cache:
            rights += play(trial)
    return found(rights)


# What an interval is worth.


class Covered(NamedTuple):
    """How often a 95 % interval held the truth, of so many trials."""

    share: float
    trials: int
    spread: float
    """The standard deviation, over the trials, of the means of three seeds beside one another."""

    def half_width(self, figures: int = 1, confidence: float = 0.999) -> float:
        chance = 1 - (1 - confidence) / (2 * figures)
        return NormalDist().inv_cdf(chance) * math.sqrt(0.95 * 0.05 / self.trials)

    @property
    def is_right(self) -> bool:
        return abs(self.share - 0.95) <= self.half_width()


def holds(answers: list[bool]) -> bool:
    """Tell whether the interval around a mean of answers that are taken to be independent holds the truth (Wilson)."""
    z, number, mean = 1.96, len(answers), fmean(answers)
    middle = (mean + z * z / (2 * number)) / (1 + z * z / number)
    half = z * math.sqrt(mean * (1 - mean) / number + z * z / (4 * number * number)) / (1 + z * z / number)
    return abs(middle - TRUTH) <= half


async def _samples(ask: Any, number: int, readers: tuple[str, ...] = ("a",)) -> list[list[bool]]:
    """Draw so many samples of each question, as each reader."""
    drawn = [
        [ask.with_options(namespace=reader).draw(number, question) for question in QUESTIONS] for reader in readers
    ]
    return [[right for got in await asyncio.gather(*of) for right in got] for of in drawn]


def one_draw(trial: Trial) -> list[list[bool]]:
    (answers,) = trial.run(_samples(trial.asking(), 3 * SAMPLES))
    third = len(answers) // 3
    return [answers[part::3] for part in range(3)] if third else []


def three_namespaces(trial: Trial) -> list[list[bool]]:
    return trial.run(_samples(trial.asking(), SAMPLES, ("a", "b", "c")))


def pool(trial: Trial) -> list[list[bool]]:
    ask = trial.asking(pool=SAMPLES)

    async def main() -> list[list[bool]]:
        return [(await _samples(ask, SAMPLES))[0] for _ in range(3)]

    return trial.run(main())


COVERAGES: Final[dict[str, Callable[[Trial], list[list[bool]]]]] = {
    "`draw(3 * n)`, cut into three seeds": one_draw,
    "three namespaces, taken for three seeds": three_namespaces,
    f"`pool={SAMPLES}`, drawn three times through": pool,
}


def covered(design: Callable[[Trial], list[list[bool]]], number: int, seed: int = 0) -> Covered:
    """Pool what three seeds gave, so many times."""
    held, spreads = 0, list[float]()
    for turn in range(number):
        trial = Trial(seed + turn)
        with trial.cache:
            seeds = design(trial)
        held += holds([right for of in seeds for right in of])
        spreads.append(stdev(map(fmean, seeds)))
    return Covered(held / number, number, fmean(spreads))


def paired(number: int, seed: int = 0) -> tuple[float, float]:
    """Return the variance of a difference, a vote of three against one answer, from samples shared and not shared."""
    differences: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(number):
        for shares, of_them in differences.items():
            trial = Trial(seed + turn)
            with trial.cache:
                ask = trial.asking()
                of = ("a", "b") if shares else ("a", "a")

                async def main(ask: Any = ask, of: tuple[str, str] = of) -> float:
                    single = [await ask.with_options(namespace=of[0]).draw(1, question) for question in QUESTIONS]
                    three = [await ask.with_options(namespace=of[1]).draw(3, question) for question in QUESTIONS]
                    return fmean((sum(votes) > 1) - one[0] for one, votes in zip(single, three, strict=True))

                of_them.append(trial.run(main()))
    return stdev(differences[True]) ** 2, stdev(differences[False]) ** 2
