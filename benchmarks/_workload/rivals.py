"""The same trials through other caches: none, a memo that keeps one answer for ever, and CacheSaver's pipeline."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks._caches import folder
from benchmarks._workload.clock import run_simulated
from benchmarks._workload.selection import SCENARIOS, Bench, Found, SlowThinker, found

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from pathlib import Path


class Nothing:
    """Every answer is asked for anew."""

    name, needs = "no cache", ()

    def __init__(self, folder: Path, model: SlowThinker) -> None:
        self._model = model

    async def ask(self, namespace: str, question: str) -> bool:
        return await self._model.answer()

    async def close(self) -> None: ...


class Memo(Nothing):
    """What was answered once is answered for ever; a call that is cancelled leaves nothing."""

    name = "plain cache"

    def __init__(self, folder: Path, model: SlowThinker) -> None:
        super().__init__(folder, model)
        self._known: dict[str, bool] = {}

    async def ask(self, namespace: str, question: str) -> bool:
        if question not in self._known:
            right = await self._model.answer()
            self._known.setdefault(question, right)
        return self._known[question]


class Pipeline(Nothing):
    """CacheSaver, with the batch size and time-out that its clients have unless told otherwise."""

    name, needs = "CacheSaver", ("cachesaver", "deepdiff", "diskcache")

    def __init__(self, folder: Path, model: SlowThinker) -> None:
        super().__init__(folder, model)
        from cachesaver.pipelines import OnlineAPI
        from diskcache import Cache as DiskCache

        self._numbers = itertools.count()
        self._disk = DiskCache(str(folder))
        self._pipeline = OnlineAPI(
            model=self, cache=self._disk, batch_size=1, timeout=-1, allow_batch_overflow=True
        )  # fmt: skip

    async def request(self, request: Any) -> Any:
        """Answer as a model that CacheSaver calls."""
        from cachesaver.typedefs import Response

        return Response(data=list(await asyncio.gather(*(self._model.answer() for _ in range(request.n)))))

    async def ask(self, namespace: str, question: str) -> bool:
        from cachesaver.typedefs import Request

        number = f"{next(self._numbers):09}"
        messages = {"messages": [{"role": "user", "content": question}]}
        request = Request(args=(), kwargs=messages, n=1, request_id=number, namespace=namespace)
        # In a task of its own, so that what still waits in its queue goes on as well when its asker leaves.
        (right,) = (await asyncio.shield(asyncio.ensure_future(self._pipeline.request(request)))).data
        return bool(right)

    async def close(self) -> None:
        # What is still in flight ends with its loop; `cleanup` would wait for it for ever.
        self._disk.close()


RIVALS: tuple[type[Nothing], ...] = (Nothing, Memo, Pipeline)


def bench_of(rival: Nothing) -> Bench:
    ask, read = partial(rival.ask, "a"), partial(rival.ask, "b")

    async def map_all(questions: Sequence[str]) -> Iterable[bool]:
        return await asyncio.gather(*map(ask, questions))

    async def completed(questions: Sequence[str]) -> AsyncGenerator[bool]:
        tasks = [asyncio.ensure_future(ask(question)) for question in questions]
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    return Bench(ask, read, None, None, map_all, completed)


def rival_trials(rival: type[Nothing], scenario: str, number: int) -> Found | None:
    """Do a scenario so many times, in simulated time; None where such a cache has nothing like it."""
    rights: list[bool] = []
    for trial in range(number):
        with folder() as at:
            opened = rival(at, SlowThinker(trial))

            async def main(opened: Nothing = opened) -> list[bool]:
                try:
                    return await SCENARIOS[scenario](bench_of(opened))
                finally:
                    await opened.close()

            rights += run_simulated(main())[0]
    return found(rights) if rights else None
