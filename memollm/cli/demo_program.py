"""The main job in one minute: two namespaces and a rerun read the samples that were paid for once."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import memollm

LATENCY = 0.15  # seconds a call
PRICE = 0.002  # dollars a call
QUESTIONS = ["What is 17 x 23?", "Name a colour.", "Is 91 prime?"]

PROGRAM = "memollm.cli.demo_program"

calls = 0


def model(prompt: str) -> str:
    """Stand in for a language model: slow, dear, and never twice the same."""
    global calls  # noqa: PLW0603 - the demo counts what it pays for
    calls += 1
    time.sleep(LATENCY)
    print("  $", end="", flush=True)
    return f"{prompt} -> answer {random.randrange(10**9):09d}"


@memollm.cached_llm
def ask(prompt: str) -> str:
    """Ask the model; that is all a user writes."""
    return model(prompt)


def draw(namespace: str, n: int) -> dict[str, list[str]]:
    """Draw n samples of each question as a reader of its own, and print what it cost."""
    global calls
    calls, begun = 0, time.perf_counter()
    print(f"{namespace}: {n} samples each of {len(QUESTIONS)} questions ", end="")
    with memollm.namespace(namespace):
        got = {question: ask.draw(n, question) for question in QUESTIONS}
    seconds = time.perf_counter() - begun
    drawn = n * len(QUESTIONS)
    print(
        f"\n  paid {calls} calls, ${calls * PRICE:.3f}, {seconds:.2f} s;"
        f" saved {drawn - calls} calls, ${(drawn - calls) * PRICE:.3f}, {(drawn - calls) * LATENCY:.2f} s"
    )
    repeated = drawn - len(set(itertools.chain(*got.values())))
    print(f"  samples repeated within {namespace}: {repeated}")
    if repeated:
        sys.exit("a sample was given twice")
    return got


def rerun() -> None:
    """Draw without a namespace, as a program does that is simply started again."""
    answers = [ask(question) for question in QUESTIONS for _ in range(3)]
    print(f"  paid {calls} calls; drew {len(answers)} samples, {len(set(answers))} of them distinct")


def main() -> None:
    """Run the demo in a cache that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        memollm.configure(cache=Path(folder))
        first = draw("baseline", 3)
        second = draw("ablation", 5)
        same = all(second[question][:3] == first[question] for question in QUESTIONS)
        print(f"  its first three are the baseline's: {same}")
        for attempt in ("the program", "the program, run again"):
            print(f"{attempt} (no namespace: it replays from the start)", flush=True)
            environment = {**os.environ, "MEMOLLM_CACHE": folder}
            subprocess.run([sys.executable, "-m", PROGRAM, "rerun"], env=environment, check=True)
        print("baseline goes on where it stopped")
        draw("baseline", 2)
        print(f"stored samples of {QUESTIONS[0]!r}:")
        for slot, answer in enumerate(ask.peek(QUESTIONS[0])):
            print(f"  slot {slot}: {answer}")


if __name__ == "__main__":
    rerun() if "rerun" in sys.argv else main()
