"""Four agents think at the same time, and a rerun repeats each of them exactly, whatever the timing.

They all ask the same question first. Without lanes a rerun would give the same answers to other agents.
"""

from __future__ import annotations

import asyncio
import random

import memollm

TOOLS = ["search the web", "read the file", "run the tests", "ask the user", "write the answer"]


@memollm.cached_llm
async def think(history: tuple[str, ...]) -> str:
    """Ask a model for the next step; the simulated one takes its time, now more, now less."""
    await asyncio.sleep(random.uniform(0.001, 0.03))
    return random.choice(TOOLS)


async def agent(name: str) -> list[str]:
    """Act until the answer is written, or five times."""
    await asyncio.sleep(random.uniform(0, 0.01))  # agents begin when they begin
    history: list[str] = []
    with memollm.lane(name):
        while len(history) < 5 and "write the answer" not in history:
            history.append(await think(tuple(history)))
    return history


async def team(*names: str) -> dict[str, list[str]]:
    """Let agents act side by side, in a fresh run of the program."""
    with memollm.run(), memollm.track() as tracked:
        histories = await asyncio.gather(*map(agent, names))
    print(f"{len(names)} agents: {tracked.paid} calls paid for, {tracked.hits} answers from the cache")
    return dict(zip(names, histories, strict=True))


async def main() -> None:
    """Run the team, then again in another order and with one more."""
    first = await team("ada", "bob", "cyd", "dan")
    for name, history in first.items():
        print(f"  {name}: {' > '.join(history)}")
    again = await team("eve", "dan", "cyd", "bob", "ada")
    same = all(again[name] == history for name, history in first.items())
    print(f"each of the four did the same again: {same}")


if __name__ == "__main__":
    asyncio.run(main())
