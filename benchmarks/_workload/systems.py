"""The caches that are compared, each used as its documentation says, behind one `ask(chat, n, namespace)`.

Each is opened for one run of a program, in a folder that may hold what earlier runs left there.
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from memollm import Cache, Gather

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._workload.model import Chat, SimulatedModel


class System(Protocol):
    """A cache between a program and a model, opened for one run of the program."""

    name: str
    needs: tuple[str, ...]
    """The packages that must be installed."""
    keeps: bool
    """What one run has paid for is there for the next."""

    def __init__(self, folder: Path, model: SimulatedModel) -> None: ...

    async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
        """Return n answers of the model."""
        ...

    def settle(self) -> None:
        """Wait for the work of other threads."""

    async def close(self) -> None: ...


class NoCache:
    """Every answer is paid for."""

    name, needs, keeps = "no cache", (), False

    def __init__(self, folder: Path, model: SimulatedModel) -> None:
        self._model = model

    async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
        return await self._model.ask(chat, n)

    def settle(self) -> None: ...

    async def close(self) -> None: ...


class PlainCache:
    """A memo on disk: what was answered once to a chat and an n is answered for ever."""

    name, needs, keeps = "plain cache", ("diskcache",), True

    def __init__(self, folder: Path, model: SimulatedModel) -> None:
        from diskcache import Cache as DiskCache

        self._model = model
        self._disk = DiskCache(str(folder))

    async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
        if (known := self._disk.get((chat, n))) is not None:
            return known
        self._disk[chat, n] = answers = await self._model.ask(chat, n)
        return answers

    def settle(self) -> None: ...

    async def close(self) -> None:
        self._disk.close()


class CacheSaver:
    """The pipeline for online models, with the batch size and time-out of its authors' experiments."""

    name, needs, keeps = "CacheSaver", ("cachesaver", "deepdiff", "diskcache"), True
    batch_size, timeout = 300, 2.0

    def __init__(self, folder: Path, model: SimulatedModel) -> None:
        from cachesaver.pipelines import OnlineAPI
        from diskcache import Cache as DiskCache

        self._numbers = itertools.count()
        self._pipeline = OnlineAPI(
            model=_SingleRequests(model),
            cache=DiskCache(str(folder)),
            batch_size=self.batch_size,
            timeout=self.timeout,
            allow_batch_overflow=True,
        )

    async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
        from cachesaver.typedefs import Request

        roles = itertools.cycle(("user", "assistant"))
        messages = [{"role": role, "content": turn} for role, turn in zip(roles, chat, strict=False)]
        # Requests are put in the order of their ids, as texts.
        number = f"{next(self._numbers):09}"
        response = await self._pipeline.request(
            Request(args=(), kwargs={"messages": messages}, n=n, request_id=number, namespace=namespace)
        )
        return response.data

    def settle(self) -> None: ...

    async def close(self) -> None:
        await self._pipeline.cleanup()


class CacheSaverClient(CacheSaver):
    """The same, with the batch size and time-out that its clients have unless told otherwise."""

    name = "CacheSaver, client"
    batch_size, timeout = 1, -1


class _SingleRequests:
    """The simulated model as CacheSaver calls models."""

    def __init__(self, model: SimulatedModel) -> None:
        self._model = model

    async def request(self, request: Any) -> Any:
        from cachesaver.typedefs import Response

        chat = tuple(message["content"] for message in request.kwargs["messages"])
        return Response(data=await self._model.ask(chat, request.n))


class Memollm:
    """A decorated coroutine function that itself takes how many samples to make."""

    name, needs, keeps = "memollm", (), True
    gather = Gather()

    def __init__(self, folder: Path, model: SimulatedModel) -> None:
        self.cache = Cache(folder / "cache.db")
        self._function = self._decorated(model)
        self._readers: dict[object, Any] = {}

    def _decorated(self, model: SimulatedModel) -> Any:
        @self.cache.cached_llm(count="n", name="ask", version="1", gather=self.gather)
        async def ask(chat: Chat, n: int = 1) -> list[str]:
            return await model.ask(chat, n)

        return ask

    def reader(self, **options: object) -> Any:
        known = tuple(options.values())
        if known not in self._readers:
            self._readers[known] = self._function.with_options(**options)
        return self._readers[known]

    async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
        return await self.reader(namespace=namespace)(chat, n=n)

    def settle(self) -> None:
        # The helper does one thing after the other, so what was handed to it before is done now.
        self.cache._engine.desk.settle()

    async def close(self) -> None:
        self.cache.close()


class MemollmJoins(Memollm):
    """The same; samples wanted while a request for the same chat is in flight share the next one."""

    name = "memollm, joins"
    gather = Gather(max_size=300, joins=True)


class MemollmWaves(Memollm):
    """The same; what is wanted while any request is in flight goes together, when the last has landed."""

    name = "memollm, waves"
    gather = Gather(max_size=300, waves=True)


SYSTEMS: tuple[type[System], ...] = (
    NoCache,
    PlainCache,
    CacheSaver,
    CacheSaverClient,
    Memollm,
    MemollmJoins,
    MemollmWaves,
)


def missing(system: type[System]) -> list[str]:
    """List the packages that a system needs and that are not installed."""
    return [package for package in system.needs if not find_spec(package)]
