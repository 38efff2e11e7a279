"""A program that draws and forgets, or sweeps, until it is killed: url, folder, its machine, seed, what it does."""

import os
import random
import sys
from pathlib import Path

from memollm import Cache, MemollmError
from memollm._upkeep.sweep import sweep

TEXTS = [f"text {number}" for number in range(12)]
AGE = 4.0
"""Seconds; far less than users may say, and more than a fill takes."""


def answer(number):
    """Return one of few answers, so that an object is used anew that was of no use for some time."""
    return random.Random(number).randbytes(20_000).hex()


def main(url, folder, machine, seed, what):
    chance = random.Random(int(seed))
    said = os.open(Path(folder) / what, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    with Cache(url, tier=f"s3://bucket/samples?local={Path(folder) / machine}") as cache:
        memo = cache.cached_llm(lambda text: answer(chance.randrange(20)), name="memo", version=1, pool=1)
        while True:
            try:
                if what == "sweeps":
                    told = repr(sweep([cache.store], seconds=AGE, dry_run=False, told=lambda *_: None))
                else:
                    told = draw(memo, chance)
            except MemollmError as error:
                told = f"error {error}"
            os.write(said, f"{told}\n".encode())


def draw(memo, chance):
    text, way = chance.choice(TEXTS), chance.random()
    if way < 0.25:
        memo.forget(text)
    elif way < 0.4:
        memo.with_options(mode="refresh")(text)
    else:
        memo(text)
    return "drawn"


if __name__ == "__main__":
    main(*sys.argv[1:])
