"""A program that draws from a cache in a bucket until it is killed or told to stop: url, machine, folder."""

import os
import random
import sys
import uuid
import warnings
from pathlib import Path

from memollm import Cache, StoreError, namespace

QUESTIONS = [f"q{number}" for number in range(4)]


def writing(folder, name):
    return os.open(Path(folder) / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY)


def functions(cache, paid=None):
    """Return a function that draws a sequence, and one that is plainly memoized."""

    def make(question):
        answer = uuid.uuid4().hex
        os.write(paid, f"{question} {answer}\n".encode())
        return answer

    drawn = cache.cached_llm(make, name="draw", version=1)
    return drawn, cache.cached_llm(make, name="memo", version=1, pool=1)


def main(url, machine, folder):
    warnings.simplefilter("ignore")
    paid = writing(folder, "paid")
    given = {name: writing(folder, f"given {machine} {name}") for name in "ab"}
    stop = Path(folder) / "stop"
    with Cache(url) as cache:
        draw, memo = functions(cache, paid)
        while not stop.exists():
            question, name = random.choice(QUESTIONS), random.choice(["a", "b"])
            if random.random() < 0.05:
                try:
                    cache.sync(up=random.random() < 0.8, down=random.random() < 0.8)
                except StoreError:
                    continue
            elif random.random() < 0.2:
                memo(f"{question} {random.randrange(40)}")
            else:
                with namespace(name):
                    answer = draw(question)
                # Whoever is killed before this has been given a sample that nobody knows of.
                os.write(given[name], f"{question} {answer}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
