"""Two processes draw from one namespace, as jobs on a cluster's node do: no sample comes twice or is paid for twice.

Each process starts by itself, knows nothing of the others, and shares nothing with them but the cache file.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile

import memollm

QUESTION = "Name a random number."


@memollm.cached_llm(namespace="cluster")
def ask(question: str) -> str:
    """Ask a model; the simulated one never says the same twice."""
    return f"{question} {random.randrange(10**12)}"


def work(name: str) -> None:
    """Draw fifteen samples, one after the other, and print them."""
    for _ in range(15):
        print(name, ask(QUESTION))


def main() -> None:
    """Start the workers twice: first they pay, then another namespace reads what they left."""
    with tempfile.TemporaryDirectory() as folder:
        for namespace in ("cluster", "review"):
            environment = {**os.environ, "MEMOLLM_CACHE": folder}
            workers = [
                subprocess.Popen(
                    [sys.executable, __file__, f"worker-{number}", namespace],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for number in range(2)
            ]
            lines = "".join(worker.communicate()[0] for worker in workers).splitlines()
            answers = [line.partition(" ")[2] for line in lines]
            print(
                f"{namespace}: {len(answers)} samples in {len(workers)} processes, {len(set(answers))} of them distinct"
            )
        with memollm.Cache(folder) as cache:
            print(cache.stats("namespace"))


if __name__ == "__main__":
    if sys.argv[1:]:
        with memollm.namespace(sys.argv[2]):
            work(sys.argv[1])
    else:
        main()
