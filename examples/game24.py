"""Tree of Thoughts on the Game of 24, twice: a narrow search, then a wide one that reuses what the narrow one paid for.

Run it twice: the second run pays for nothing and finds the same.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from fractions import Fraction

import memollm

PUZZLES = ["4 9 10 13", "1 4 8 8", "3 3 8 8", "6 6 7 12"]
COST = memollm.Usage(input_tokens=300, output_tokens=30, cost=0.00004)

State = tuple[Fraction, ...]


def moves(state: State) -> list[State]:
    """Return what one operation on two of the numbers can make of a state."""
    made = []
    for at, other in itertools.permutations(range(len(state)), 2):
        rest = [number for index, number in enumerate(state) if index not in (at, other)]
        a, b = state[at], state[other]
        results = [a + b, a * b, a - b] + ([a / b] if b else [])
        made += [tuple(sorted([*rest, result])) for result in results]
    return made


def can_win(state: State) -> bool:
    """Tell whether 24 can be made; the simulated model knows, but not for sure."""
    return state == (24,) if len(state) == 1 else any(can_win(move) for move in set(moves(state)))


@memollm.cached_llm(usage=lambda _: COST)
async def propose(state: State) -> State:
    """Ask for a next step. The simulated model leans to good ones."""
    await asyncio.sleep(0.001)
    options = sorted(set(moves(state)))
    return random.choices(options, [6 if can_win(option) else 1 for option in options])[0]


@memollm.cached_llm(usage=lambda _: COST)
async def judge(state: State) -> float:
    """Ask how likely 24 can be made of a state. The simulated model errs now and then."""
    await asyncio.sleep(0.001)
    return random.choices([20.0, 1.0, 0.001], [8, 3, 1] if can_win(state) else [1, 3, 8])[0]


async def value(state: State) -> float:
    """Add up three opinions."""
    return sum(await judge.draw(3, state))


async def search(puzzle: str, *, thoughts: int, keep: int) -> bool:
    """Search breadth first; say whether 24 was made."""
    states: list[State] = [tuple(sorted(Fraction(number) for number in puzzle.split()))]
    for _ in range(3):
        proposed = await asyncio.gather(*(propose.draw(thoughts, state) for state in states))
        options = sorted(set(itertools.chain(*proposed)))
        values = dict(zip(options, await asyncio.gather(*map(value, options)), strict=True))
        states = sorted(options, key=lambda option: (-values[option], option))[:keep]
    return (24,) in states


async def main() -> None:
    """Search with two widths, each as a reader of its own."""
    print("search            solved   calls paid for   reused     cost    saved")
    for thoughts, keep in ((3, 1), (8, 3)):
        with memollm.run(), memollm.track() as tracked:
            solved = [await search(puzzle, thoughts=thoughts, keep=keep) for puzzle in PUZZLES]
        print(
            f"{thoughts} thoughts, keep {keep}   {sum(solved)} of {len(solved)}   {tracked.paid:14}   {tracked.hits:6}"
            f"  ${tracked.spent.cost:.4f}  ${tracked.saved.cost:.4f}"
        )


if __name__ == "__main__":
    asyncio.run(main())
