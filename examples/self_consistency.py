"""Self-consistency: how many votes are enough? One set of samples answers for every number of votes.

Run it twice: the second run pays for nothing and prints the same table.
"""

from __future__ import annotations

import random
from collections import Counter

import memollm

QUESTIONS = {f"What is {a} x {b}?": str(a * b) for a, b in [(17, 23), (12, 41), (33, 14), (56, 19), (27, 38), (64, 72)]}


def model(question: str) -> str:
    """Stand in for a language model, which is right six times in ten and else off by ten."""
    answer = int(QUESTIONS[question])
    return str(random.choices([answer, answer - 10, answer + 10, answer + 1], [6, 2, 1, 1])[0])


@memollm.cached_llm(usage=lambda _: memollm.Usage(input_tokens=20, output_tokens=150, cost=0.0004))
def ask(question: str) -> str:
    """Ask the model; that is all that a user writes."""
    return model(question)


def majority(answers: list[str]) -> str:
    """Return the most frequent answer, the earliest where several are."""
    return Counter(answers).most_common(1)[0][0]


def main() -> None:
    """Vote with 1, 3, 5, 9 and 25 samples of each question."""
    print("votes   accuracy   calls paid for   saved")
    for votes in (1, 3, 5, 9, 25):
        with memollm.run(), memollm.track() as tracked:  # each reads from the start
            right = sum(majority(ask.draw(votes, question)) == answer for question, answer in QUESTIONS.items())
        accuracy = right / len(QUESTIONS)
        print(f"{votes:5}   {accuracy:8.0%}   {tracked.paid:14}   ${tracked.saved.cost:.4f}")
    print(f"an ordinary cache would have voted with: {[ask(next(iter(QUESTIONS)))] * 5}")


if __name__ == "__main__":
    main()
