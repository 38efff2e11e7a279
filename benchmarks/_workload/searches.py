"""The searches: Tree of Thoughts, a fleet of agents, a graph of thoughts, and retries in a chat.

The first three go step by step as their published code does on Game of 24: three moves, then the answer is written.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from benchmarks._workload.players import AGAIN, IMPOSSIBLE, LIKELY, SURE
from benchmarks._workload.puzzles import GOAL, Numbers, is_solution, numbers_of, read_move, text_of

Ask = Callable[..., Awaitable[list[str]]]
"""Called with a chat, and n."""
WORTH = {IMPOSSIBLE: 0.001, LIKELY: 1.0, SURE: 20.0}


class State(NamedTuple):
    """How far a puzzle has come."""

    puzzle: tuple[int, ...]
    numbers: Numbers
    steps: tuple[str, ...] = ()
    answer: str | None = None

    @classmethod
    def start(cls, puzzle: tuple[int, ...]) -> State:
        return cls(puzzle, numbers_of(puzzle))

    def made(self) -> bool:
        """Tell whether 24 was made and the answer may be written."""
        return self.numbers == (GOAL,)

    def over(self) -> bool:
        """Tell whether nothing more can be done."""
        return self.answer is not None or (len(self.numbers) == 1 and not self.made())

    def solved(self) -> bool:
        return self.answer is not None and is_solution(self.puzzle, self.answer)

    def after(self, line: str) -> State | None:
        """Return the state after what the model said: a move, or the answer."""
        if self.made():
            return self._replace(answer=line)
        read = read_move(line)
        if read is None or len(read[4]) != len(self.numbers) - 1:
            return None
        return self._replace(numbers=read[4], steps=(*self.steps, line))

    def prompt(self, wanted: str) -> tuple[str]:
        """Ask for a move, or for the answer where it is time for that."""
        if self.made():
            return ("\n".join([f"write {text_of(self.puzzle)}", *self.steps]),)
        return (f"{wanted} {text_of(self.numbers)}",)

    def judging(self) -> tuple[str]:
        if self.answer is not None:
            return (f"judge {text_of(self.puzzle)}\n{self.answer}",)
        return (f"evaluate {text_of(self.numbers)}",)


class Valuing:
    """The model's opinions of states, asked for once each in a run, as the published code does."""

    def __init__(self, ask: Ask, evaluations: int) -> None:
        self._ask = ask
        self._evaluations = evaluations
        self._known: dict[tuple[str], float] = {}

    async def of(self, states: Sequence[State]) -> list[float]:
        return await asyncio.gather(*map(self._value, states))

    async def _value(self, state: State) -> float:
        prompt = state.judging()
        if prompt not in self._known:
            opinions = await self._ask(prompt, self._evaluations)
            self._known[prompt] = sum(WORTH[opinion.rpartition("\n")[2]] for opinion in opinions)
        return self._known[prompt]


class TreeOfThoughts(NamedTuple):
    """Breadth first: of all that is proposed, the best go on."""

    selections: int = 3
    evaluations: int = 3
    steps: int = 4

    def __str__(self) -> str:
        return f"ToT s{self.selections} e{self.evaluations}"

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        states = [State.start(puzzle)]
        for _ in range(self.steps):
            proposals = await self._proposals([state for state in states if not state.over()], ask)
            if not proposals:
                break
            states = best(proposals, await valuing.of(proposals), self.selections)
            if any(state.solved() for state in states):
                return True
        return any(state.solved() for state in states)

    async def _proposals(self, states: Sequence[State], ask: Ask) -> list[State]:
        answers = await asyncio.gather(*(ask(state.prompt("propose"), 1) for state in states))
        return [
            after
            for state, (answer,) in zip(states, answers, strict=True)
            for line in answer.split("\n")
            if (after := state.after(line))
        ]


class GraphOfThoughts(NamedTuple):
    """As a tree, but the model itself first selects from what it has proposed for a state."""

    selections: int = 3
    evaluations: int = 3
    best: int = 2
    steps: int = 4

    def __str__(self) -> str:
        return f"GoT s{self.selections} e{self.evaluations}"

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        states = [State.start(puzzle)]
        for _ in range(self.steps):
            going = [state for state in states if not state.over()]
            found = await asyncio.gather(*(self._selected(state, ask) for state in going))
            proposals = [state for states in found for state in states]
            if not proposals:
                break
            states = best(proposals, await valuing.of(proposals), self.best)
        return any(state.solved() for state in states)

    async def _selected(self, state: State, ask: Ask) -> list[State]:
        (answer,) = await ask(state.prompt("propose"), 1)
        lines = answer.split("\n")
        if not state.made():
            (chosen,) = await ask((f"select {text_of(state.numbers)} {self.selections}\n{answer}",), 1)
            lines = [lines[int(number) - 1] for number in chosen.split(", ")]
        return [after for line in lines if (after := state.after(line))]


def best(states: Sequence[State], values: Sequence[float], number: int) -> list[State]:
    ranked = sorted(zip(states, values, strict=True), key=lambda pair: pair[1], reverse=True)
    return [state for state, _ in ranked[:number]]


class FleetOfAgents(NamedTuple):
    """Agents that go one step each, and after it begin anew from states chosen by value, those of before included."""

    agents: int = 7
    steps: int = 7
    evaluations: int = 3
    backtrack: float = 0.5
    """What a state's value is worth one step later; 0: there is no way back."""
    selection: bool = True
    """Agents begin anew from what is worth more; without it each goes on from where it is."""
    origin: float = 120.0
    least_steps: int = 4

    def __str__(self) -> str:
        return (
            "FoA" + (" no backtracking" if not self.backtrack else "") + (" no selection" if not self.selection else "")
        )

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        choose = random.Random(str(puzzle))
        start = State.start(puzzle)
        states, visited = [start] * self.agents, [(start, self.origin)]
        for step in range(self.steps):
            answers = await asyncio.gather(*(ask(state.prompt("step"), 1) for state in states))
            states = [state.after(line) or state for state, (line,) in zip(states, answers, strict=True)]
            if any(state.solved() for state in states):
                return True
            left = self.steps - step - 1
            visited = [(state, value * self.backtrack) for state, value in visited]
            visited = [(state, value) for state, value in visited if left >= self.least_steps - len(state.steps)]
            lost = [state.over() for state in states]
            again = resample(visited or [(start, 1.0)], self.agents, choose)
            states = [again[at] if lost[at] else state for at, state in enumerate(states)]
            if self.selection and left:
                moved = [state for state in states if state.steps]
                visited += zip(moved, await valuing.of(moved), strict=True)
                states = resample(visited or [(start, 1.0)], self.agents, choose)
        return False


def resample(visited: Sequence[tuple[State, float]], number: int, choose: random.Random) -> list[State]:
    """Choose states in proportion to their values; those worth less than a tenth of the best are left out."""
    least = max(value for _, value in visited) / 10
    kept = [(state, value or 1.0) for state, value in visited if value >= least]
    return choose.choices([state for state, _ in kept], [value for _, value in kept], k=number)


class Retries(NamedTuple):
    """Several who try in a chat of their own, each time told that it was wrong."""

    tries: int
    chats: int = 5

    def __str__(self) -> str:
        return f"{self.tries} tries"

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        return any(await asyncio.gather(*(self._chat(puzzle, ask) for _ in range(self.chats))))

    async def _chat(self, puzzle: tuple[int, ...], ask: Ask) -> bool:
        chat: tuple[str, ...] = (f"solve {text_of(puzzle)}",)
        for _ in range(self.tries):
            (answer,) = await ask(chat, 1)
            if is_solution(puzzle, answer):
                return True
            chat = (*chat, answer, AGAIN)
        return False


class Crowd(NamedTuple):
    """Not a search: many who ask for one sample each of a puzzle's first step at one moment."""

    asks: int

    def __str__(self) -> str:
        return f"{self.asks} at once"

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        await asyncio.gather(*(ask(State.start(puzzle).prompt("step"), 1) for _ in range(self.asks)))
        return False


class ReAct(NamedTuple):
    """Agents that each go their own way, step by step; a prompt holds all steps so far, or the state alone."""

    agents: int
    on_states: bool = False
    steps: int = 4

    def __str__(self) -> str:
        return f"ReAct {self.agents}" + (" on states" if self.on_states else "")

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        return any(await asyncio.gather(*(self._agent(State.start(puzzle), ask) for _ in range(self.agents))))

    async def _agent(self, state: State, ask: Ask) -> bool:
        for _ in range(self.steps):
            (prompt,) = state.prompt("step")
            told = [] if self.on_states or state.made() else state.steps
            (line,) = await ask(("\n".join([prompt, *told]),), 1)
            state = state.after(line) or state
            if state.over():
                break
        return state.solved()


class Sampling(NamedTuple):
    """Not a search: one sample after the other of a puzzle's first step."""

    times: int

    def __str__(self) -> str:
        return f"{self.times} samples"

    async def solve(self, puzzle: tuple[int, ...], ask: Ask, valuing: Valuing) -> bool:
        for _ in range(self.times):
            await ask(State.start(puzzle).prompt("step"), 1)
        return False


Search = TreeOfThoughts | GraphOfThoughts | FleetOfAgents | Retries | Crowd | ReAct | Sampling


async def run_search(search: Search, puzzles: Sequence[tuple[int, ...]], ask: Ask) -> list[bool]:
    """Solve all puzzles side by side, and tell which were solved."""
    valuing = Valuing(ask, getattr(search, "evaluations", 0))
    return await asyncio.gather(*(search.solve(puzzle, ask, valuing) for puzzle in puzzles))
