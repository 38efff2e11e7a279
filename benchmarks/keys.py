"""The canonical form and key of a chat, beside the key functions of other caches."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks._measure import Row, in_turn, ratio, repeated
from memollm._keys.canonical import canonical_call
from memollm._keys.keyer import Keyer, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IDENTITY = {"name": "study.ask", "version": "code:0123456789abcdef"}


def chat(turns: int) -> list[dict[str, str]]:
    return [
        {"role": "user" if i % 2 else "assistant", "content": f"Turn {i}: what follows from what was said so far?"}
        for i in range(turns)
    ]


def ask(messages: list[dict[str, str]], *, model: str = "m", temperature: float = 1.0) -> str:
    return "yes"


def full(messages: Any) -> Callable[[], object]:
    arguments = {"messages": messages, "model": "m", "temperature": 1.0}
    return lambda: hash_of(canonical_call(IDENTITY, arguments))


def keyed(messages: Any) -> Callable[[], object]:
    keyer = Keyer(ask, name="ask", version="1")
    return lambda: keyer.call(None, (messages,), {"model": "m"})


def dspy_key(messages: Any) -> Callable[[], object]:
    from dspy.clients.cache import Cache as DspyCache

    cache = DspyCache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir="")
    request = {"messages": messages, "model": "m", "temperature": 1.0}
    return lambda: cache.cache_key(request)


def joblib_key(messages: Any) -> Callable[[], object]:
    import joblib

    arguments = {"messages": messages, "model": "m", "temperature": 1.0}
    return lambda: joblib.hash(arguments)


def cachesaver_key(messages: Any) -> Callable[[], object]:
    from cachesaver.typedefs import Request, hash as key_of

    request = Request(args=(), kwargs={"messages": messages, "model": "m"}, n=1, request_id="1", namespace="n")
    return lambda: key_of(request)


PEERS = {"dspy": dspy_key, "cachesaver": cachesaver_key, "joblib": joblib_key}


def run() -> Iterator[Row | str]:
    for turns in (4, 200):
        messages = chat(turns)
        contenders = {"full": repeated(full(messages)), "again": repeated(keyed(messages))}
        present = [package for package in PEERS if find_spec(package)]
        for package in present:
            contenders[package] = repeated(PEERS[package](messages))
        times = in_turn(contenders)
        for package in PEERS:
            if package in present:
                yield ratio(f"key, {turns} messages", times["full"], f"{package}'s key", times[package], at_most=None)
                yield ratio(
                    f"same, seen before, {turns}", times["again"], f"{package}'s key", times[package], at_most=None
                )
            else:
                yield f"keys: {package} skipped, it is not installed"
        if not present:
            yield ratio(
                f"key seen before, {turns} messages", times["again"], "the full key", times["full"], at_most=None
            )
