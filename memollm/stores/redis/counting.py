"""What was counted and used, as scripts of a Redis store are told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from memollm.stores.redis.scripts import Command, books

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, Use
    from memollm.stores.redis.session import RedisSession


def counting(store: RedisSession, id: int, counts: Mapping[Account, Counts]) -> list[Command]:  # noqa: A002 - as in `Write`
    """Return what adds to what was counted, once."""
    encode = msgspec.msgpack.encode
    amounts = [each for account in sorted(counts) for each in (encode(tuple(account)), encode(tuple(counts[account])))]
    return [Command(books(), store.books, (store.opened().owner, "count", id, *amounts))] if amounts else []


def used(uses: Iterable[Use]) -> dict[Call, list[object]]:
    """Write for each call when it was used last, and then the run, the first and the last slot of each stretch."""
    latest: dict[Call, float] = {}
    stretches: dict[Call, list[object]] = {}
    for use in uses:
        latest[use.call] = max(latest.get(use.call, use.at), use.at)
        by_run = [] if use.run is None else [use.run, use.first, use.last]
        stretches.setdefault(use.call, []).extend(by_run)
    return {call: [repr(latest[call]), *of] for call, of in stretches.items()}
