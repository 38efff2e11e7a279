"""An ablation grid: models x prompts x votes, with what each cell cost, and a plot.

Every number of votes reads the same samples, so the grid costs what its largest column costs. Run it twice: the second
run is free. The plot is written into the folder that you are in, as `ablation.svg`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import memollm

MODELS = {"small": 0.50, "large": 0.65}
PROMPTS = {"bare": 0.0, "step by step": 0.15}
VOTES = (1, 3, 9)
QUESTIONS = [
    f"What is {a} x {b}?" for a, b in [(17, 23), (12, 41), (33, 14), (56, 19), (27, 38), (64, 72), (81, 9), (7, 43)]
]
PRICES = {"small": (0.10, 0.40), "large": (2.00, 8.00)}


def answer_of(question: str) -> int:
    """Return what is right."""
    a, b = re.findall(r"\d+", question)
    return int(a) * int(b)


def model(question: str, name: str, prompt: str) -> dict[str, object]:
    """Stand in for a language model that answers as OpenAI's interface does."""
    is_right = random.random() < MODELS[name] + PROMPTS[prompt]
    answer = answer_of(question) + (0 if is_right else random.choice([-10, 10, 1, 100]))
    return {
        "model": name,
        "text": str(answer),
        "usage": {"prompt_tokens": 60, "completion_tokens": random.randint(40, 200)},
    }


@memollm.cached_llm
def ask(question: str, model_name: str, prompt: str) -> str:
    """Ask, and say what it took, since the text alone does not."""
    return memollm.used(model(question, model_name, prompt))["text"]


def accuracy(model_name: str, prompt: str, votes: int) -> float:
    """Return how often the majority of so many votes is right."""
    right = 0
    for question in QUESTIONS:
        answers = ask.draw(votes, question, model_name, prompt)
        right += Counter(answers).most_common(1)[0][0] == str(answer_of(question))
    return right / len(QUESTIONS)


def plot(cells: dict[tuple[str, str, int], float]) -> str:
    """Return bars as SVG."""
    bars = [
        f'<text x="0" y="{row * 22 + 15}">{name}, {prompt}, {votes}</text>'
        f'<rect x="190" y="{row * 22 + 3}" width="{300 * value:.0f}" height="16" fill="#2f6fdb"/>'
        f'<text x="{196 + 300 * value:.0f}" y="{row * 22 + 15}">{value:.0%}</text>'
        for row, ((name, prompt, votes), value) in enumerate(cells.items())
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="560" height="{len(cells) * 22 + 8}">'
    return "\n".join([head, "<style>text{font:12px sans-serif}</style>", *bars, "</svg>"])


def main() -> None:
    """Fill the grid, and print a line for each cell."""
    memollm.configure(prices=PRICES)
    cells = {}
    print("model  prompt        votes  accuracy                          paid    cost     saved")
    for name in MODELS:
        for prompt in PROMPTS:
            for votes in VOTES:
                with memollm.run(), memollm.track() as tracked:  # each cell reads from the start
                    value = cells[name, prompt, votes] = accuracy(name, prompt, votes)
                print(
                    f"{name:6} {prompt:13} {votes:5}  {'#' * round(25 * value):25} {value:4.0%}   {tracked.paid:4}"
                    f"  ${tracked.spent.cost:.4f}  ${tracked.saved.cost:.4f}"
                )
    Path("ablation.svg").write_text(plot(cells), encoding="utf-8")
    print("the same as a picture: ablation.svg")


if __name__ == "__main__":
    main()
