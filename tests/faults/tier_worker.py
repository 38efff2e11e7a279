"""A program of a machine that draws, refreshes and forgets until it is killed: url, folder, its machine, seed."""

import os
import random
import sys
import time
from pathlib import Path

from memollm import Cache

TEXTS = ("one", "two", "three")


def main(url, folder, machine, seed):
    chance = random.Random(int(seed))
    padding = random.Random(1).randbytes(20_000).hex()
    paid, given, seen = (
        os.open(Path(folder) / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY) for name in ("paid", "given", "seen")
    )

    def make(text):
        answer = time.monotonic_ns()
        os.write(paid, f"{text} {answer}\n".encode())
        return f"{answer} {padding}"

    with Cache(url) as cache:
        memo = cache.cached_llm(make, name="memo", version=1, pool=1)
        ask = cache.cached_llm(make, name="ask", version=1, namespace="all")
        while True:
            text, what = chance.choice(TEXTS), chance.random()
            begun = time.monotonic_ns()
            if what < 0.3:
                os.write(given, f"{text} {number(ask(text))}\n".encode())
                continue
            if what < 0.32:
                memo.forget(text)
                continue
            drawn, how = (memo.with_options(mode="refresh"), "refreshed") if what < 0.37 else (memo, "read")
            answer = number(drawn(text))
            os.write(seen, f"{text} {begun} {time.monotonic_ns()} {answer} {how} {machine}-{os.getpid()}\n".encode())


def number(answer):
    return answer.partition(" ")[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
