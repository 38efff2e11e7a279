"""5,000 prompts, many at a time, with progress. It is cut off in the middle, and a rerun pays for the rest alone.

Run it twice: the second run pays for nothing at all. `python crawl.py 500` crawls fewer.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from contextlib import aclosing

import memollm

SIZE = int(sys.argv[1]) if sys.argv[1:] else 5_000
PROMPTS = [f"Is review number {number} kind or unkind?" for number in range(SIZE)]


@memollm.cached_llm(pool=1)
async def classify(prompt: str) -> str:
    """Ask a model; the simulated one takes a millisecond or five."""
    await asyncio.sleep(random.uniform(0.001, 0.005))
    return random.choice(["kind", "kind", "unkind"])


async def crawl(title: str, *, stop_after: int | None = None) -> Counter[str]:
    """Classify everything, or leave early."""
    counts: Counter[str] = Counter()
    with memollm.track() as tracked:
        results = classify.map(PROMPTS, concurrency=256, as_completed=True, progress=told(title))
        async with aclosing(results):
            async for _, answer in results:
                counts[answer] += 1
                if counts.total() == stop_after:
                    break
        await memollm.settle()  # what was under way when we left is finished, and kept
    print(f"{title}: {counts.total():,} results, {tracked.paid:,} calls paid for, {tracked.hits:,} from the cache")
    return counts


def told(title: str):  # noqa: ANN201 - a function, as `progress=` takes it
    """Return what prints a line at each fifth of the way. Without `progress=` a terminal gets a bar."""
    shown = set()

    def tell(progress: memollm.Progress) -> None:
        fifth = 5 * progress.done // len(PROMPTS)
        if fifth and fifth not in shown:
            shown.add(fifth)
            print(f"  {title}: {progress}")

    return tell


async def main() -> None:
    """Be cut off, and go on."""
    await crawl("first attempt", stop_after=SIZE * 2 // 5)
    counts = await crawl("second attempt")
    print(", ".join(f"{count:,} {answer}" for answer, count in counts.most_common()))


if __name__ == "__main__":
    asyncio.run(main())
