"""A program that draws from a shared cache until it is killed, or all is drawn.

Its arguments are url, namespace, folder, samples, and of how many questions it asks one.
"""

import os
import random
import sys
import time
import uuid
import warnings
from pathlib import Path

from memollm import Cache


def main(url, namespace, folder, samples, questions):
    paid, given = (os.open(Path(folder) / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY) for name in ("paid", namespace))

    chance = random.Random()

    def make(prompt):
        answer = uuid.uuid4().hex
        os.write(paid, f"{answer}\n".encode())
        time.sleep(0.002)
        return answer

    # It may begin while the server is away, and is told that it waits then.
    warnings.filterwarnings("ignore", message="(?s).*it is waited for")
    with Cache(url) as cache:
        ask = cache.cached_llm(make, name="ask", version=1, namespace=namespace)
        while True:
            answer = ask(f"question {chance.randrange(questions)}")
            # Whoever is killed before this has been given a sample that nobody knows of.
            os.write(given, f"{answer}\n".encode())
            if sum(space.draws for space in cache.namespaces() if space.name == namespace) >= samples:
                return


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
