"""The caches that people use: how each is opened around a function as its documentation says, and that it hits.

Each opener is given a folder and a function, and yields the function with a cache around it. What has no decorator is
asked and filled by hand, so of dspy, LangChain and LiteLLM only the cache itself is timed, not the framework around it.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._model import PROMPT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks._model import Paid

Ask = Callable[..., object]
"""What is asked: a prompt, and `model=`."""


class Peer(NamedTuple):
    """A cache: the name in tables, the package that it is in, how to open it, and what it can do."""

    name: str
    package: str
    open: Callable[[Path, Ask], AbstractContextManager[Ask]]
    durable: bool = True
    text_only: bool = False

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None


class AsyncPeer(NamedTuple):
    """The same for coroutine functions, on the loop of a runner."""

    name: str
    package: str
    open: Callable[[Path, Ask, asyncio.Runner], AbstractContextManager[Ask]]

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None


class CalledAgain(AssertionError):
    """A cache was timed for a hit and called the function."""


@contextmanager
def only_hits(name: str, paid: Paid) -> Iterator[None]:
    """Insist that the function is not called in this block, so that what is timed there are hits."""
    before = len(paid.calls)
    yield
    if again := len(paid.calls) - before:
        raise CalledAgain(f"{name} should have hit and called the function {again} times; its figure would be wrong.")


@contextmanager
def hit(peer: Peer, at: Path, paid: Paid) -> Iterator[Callable[[], object]]:
    """Open a cache, store one answer, and yield a call that must hit until the end of the block."""
    with peer.open(at, paid.function) as ask:
        ask(PROMPT, model="m")
        with only_hits(peer.name, paid):
            yield lambda: ask(PROMPT, model="m")


def missing(what: str, peers: Sequence[Peer | AsyncPeer]) -> Iterator[str]:
    """Name the peers that are not there."""
    for peer in peers:
        if not peer.installed:
            yield f"{what}: {peer.name} skipped, {peer.package} is not installed"


@contextmanager
def memollm(at: Path, function: Ask) -> Iterator[Ask]:
    from memollm import Cache

    with Cache(at / "cache.db") as cache:
        yield cache.cached_llm(pool=1, name="answer", version=1)(function)


@contextmanager
def bare_sqlite(at: Path, function: Ask) -> Iterator[Ask]:
    """Keep JSON texts by key in one table."""
    import json
    import sqlite3

    connection = sqlite3.connect(at / "bare.db", isolation_level=None)
    execute = connection.cursor().execute
    execute("PRAGMA journal_mode = WAL")
    execute("CREATE TABLE IF NOT EXISTS answer (prompt TEXT, model TEXT, value TEXT, PRIMARY KEY (prompt, model))")

    def ask(prompt: str, *, model: str) -> object:
        row = execute("SELECT value FROM answer WHERE prompt = ? AND model = ?", (prompt, model)).fetchone()
        if row is not None:
            return json.loads(row[0])
        value = function(prompt, model=model)
        execute("INSERT INTO answer VALUES (?, ?, ?)", (prompt, model, json.dumps(value)))
        return value

    yield ask
    connection.close()


@contextmanager
def lru_cache(at: Path, function: Ask) -> Iterator[Ask]:
    import functools

    yield functools.lru_cache(function)


@contextmanager
def diskcache(at: Path, function: Ask) -> Iterator[Ask]:
    from diskcache import Cache

    with Cache(str(at / "diskcache")) as cache:
        yield cache.memoize()(function)


@contextmanager
def joblib(at: Path, function: Ask) -> Iterator[Ask]:
    from joblib import Memory

    yield Memory(str(at / "joblib"), verbose=0).cache(function)


@contextmanager
def cachier(at: Path, function: Ask) -> Iterator[Ask]:
    from cachier import cachier as decorate

    yield decorate(cache_dir=str(at / "cachier"))(function)


@contextmanager
def sqlitedict(at: Path, function: Ask) -> Iterator[Ask]:
    from sqlitedict import SqliteDict

    with SqliteDict(str(at / "dict.sqlite"), autocommit=True) as kept:

        def ask(prompt: str, *, model: str) -> object:
            key = f"{model}:{prompt}"
            try:
                return kept[key]
            except KeyError:
                kept[key] = value = function(prompt, model=model)
                return value

        yield ask


def dspy_opener(*, disk: bool) -> Callable[[Path, Ask], AbstractContextManager[Ask]]:
    @contextmanager
    def opened(at: Path, function: Ask) -> Iterator[Ask]:
        from dspy.clients.cache import Cache

        cache = Cache(enable_disk_cache=disk, enable_memory_cache=not disk, disk_cache_dir=str(at / "dspy"))

        def ask(prompt: str, *, model: str) -> object:
            request = {"prompt": prompt, "model": model}
            if (value := cache.get(request)) is None:
                value = function(prompt, model=model)
                cache.put(request, value)
            return value

        yield ask
        if disk:
            cache.disk_cache.close()

    return opened


def langchain_opener(make: Callable[[Path], object]) -> Callable[[Path, Ask], AbstractContextManager[Ask]]:
    @contextmanager
    def opened(at: Path, function: Ask) -> Iterator[Ask]:
        from langchain_core.outputs import Generation

        cache = make(at)

        def ask(prompt: str, *, model: str) -> object:
            if (found := cache.lookup(prompt, model)) is None:
                found = [Generation(text=function(prompt, model=model))]
                cache.update(prompt, model, found)
            return found[0].text

        yield ask

    return opened


def langchain_sqlite_cache(at: Path):
    from langchain_community.cache import SQLiteCache

    warnings.filterwarnings("ignore", message="The default value of `allowed_objects`")
    return SQLiteCache(database_path=str(at / "langchain.db"))


def langchain_memory_cache(at: Path):
    from langchain_core.caches import InMemoryCache

    return InMemoryCache()


def litellm_cache():
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Otherwise importing it asks the network for prices.
    from litellm.caching.caching import Cache

    return Cache(type="local")


def chat(prompt: str, model: str) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


@contextmanager
def litellm(at: Path, function: Ask) -> Iterator[Ask]:
    cache = litellm_cache()

    def ask(prompt: str, *, model: str) -> object:
        request = chat(prompt, model)
        if (value := cache.get_cache(**request)) is None:
            value = {"content": function(prompt, model=model)}
            cache.add_cache(value, **request)
        return value["content"]

    yield ask


@contextmanager
def async_cachier(at: Path, function: Ask, runner: asyncio.Runner) -> Iterator[Ask]:
    with cachier(at, function) as ask:
        yield ask


@contextmanager
def async_langchain(at: Path, function: Ask, runner: asyncio.Runner) -> Iterator[Ask]:
    from langchain_core.outputs import Generation

    cache = langchain_sqlite_cache(at)

    async def ask(prompt: str, *, model: str) -> object:
        if (found := await cache.alookup(prompt, model)) is None:
            found = [Generation(text=await function(prompt, model=model))]
            await cache.aupdate(prompt, model, found)
        return found[0].text

    yield ask


@contextmanager
def async_litellm(at: Path, function: Ask, runner: asyncio.Runner) -> Iterator[Ask]:
    cache = litellm_cache()

    async def ask(prompt: str, *, model: str) -> object:
        request = chat(prompt, model)
        if (value := await cache.async_get_cache(**request)) is None:
            value = {"content": await function(prompt, model=model)}
            await cache.async_add_cache(value, **request)
        return value["content"]

    yield ask


@contextmanager
def cachesaver(at: Path, function: Ask, runner: asyncio.Runner) -> Iterator[Ask]:
    """Every call is in a namespace of its own, as its samples are given once to a namespace."""
    from cachesaver.models.wrapper import AsyncWrapper
    from cachesaver.typedefs import Request, Response

    class Model:
        async def request(self, request: Request) -> Response:
            return Response(data=[await function(**request.kwargs) for _ in range(request.n)])

    client, fresh = AsyncWrapper(Model(), cachedir=str(at / "cachesaver")), itertools.count()

    async def ask(prompt: str, *, model: str, n: int = 1) -> object:
        return await client.chat.completions.create(prompt=prompt, model=model, n=n, namespace=f"run {next(fresh)}")

    yield ask
    runner.run(client.pipeline.cleanup())


MEMOLLM = Peer("memollm", "memollm", memollm)
BARE = Peer("bare sqlite3", "sqlite3", bare_sqlite)
LRU = Peer("functools.lru_cache", "functools", lru_cache, durable=False)
DSPY = Peer("dspy, in memory", "dspy", dspy_opener(disk=False), durable=False)
DISKCACHE = Peer("diskcache.memoize", "diskcache", diskcache)
CACHESAVER = AsyncPeer("CacheSaver", "cachesaver", cachesaver)

PEERS = (
    LRU,
    DSPY,
    Peer("LiteLLM, local", "litellm", litellm, durable=False),
    Peer("LangChain, InMemoryCache", "langchain_core", langchain_opener(langchain_memory_cache), durable=False),
    DISKCACHE,
    Peer("dspy, on disk", "dspy", dspy_opener(disk=True)),
    Peer("sqlitedict", "sqlitedict", sqlitedict),
    Peer("joblib.Memory", "joblib", joblib),
    Peer("cachier", "cachier", cachier),
    Peer("LangChain, SQLiteCache", "langchain_community", langchain_opener(langchain_sqlite_cache), text_only=True),
)
"""Those for plain functions, the ones in memory first."""

DURABLE = tuple(peer for peer in PEERS if peer.durable)

ASYNC_PEERS = (
    CACHESAVER,
    AsyncPeer("LiteLLM, local", "litellm", async_litellm),
    AsyncPeer("cachier", "cachier", async_cachier),
    AsyncPeer("LangChain, SQLiteCache", "langchain_community", async_langchain),
)
"""Those for coroutine functions."""
