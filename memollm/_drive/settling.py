"""Waiting for calls that nobody waits for any more, before a program or a cache ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from memollm._draws.desk import Pending
from memollm._draws.engine import living_engines
from memollm._draws.waits import under
from memollm._drive.turns import in_thread, outlast, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.engine import Engine
    from memollm._draws.left import Left


async def settle(timeout: float | None = None) -> int:  # noqa: ASYNC109 - as asyncio.wait has it
    """Wait until calls that nobody waits for any more have ended, and return how many have not when the time is up.

    A draw that was cancelled leaves its call to itself, whose answer is kept for the next draw. What is still under
    way when the event loop ends is stopped: await this before, in a program whose draws have time-outs. None of these
    calls goes on for longer than its `grace`.

    timeout  seconds to wait at most; without it, until all have ended
    """
    return await settled(living_engines(), timeout)


async def settled(engines: Sequence[Engine], timeout: float | None = None) -> int:  # noqa: ASYNC109 - as above
    """Wait so for what was left on some engines."""
    # Who has just cancelled a draw, and not awaited it, means its call, too: that is left in the next pass.
    await asyncio.sleep(0)
    # What is left when the time is up is what it returns.
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            while left := _left(engines):
                await turns().until(left[0].over)
    return sum(each.count() for each in _left(engines))


async def closed(engine: Engine, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
    """Close an engine after waiting so."""
    closing = Pending(None)
    try:
        if timeout != 0:
            await settled([engine], timeout)
    finally:
        in_thread(lambda: closing.do(engine.close))
        await outlast(closing.done)
    closing.outcome()


def _left(engines: Sequence[Engine]) -> list[Left]:
    """Return what was left and goes on; who asks from inside a call does not wait for that call."""
    own = {each.ticket for each in under.get()}
    return [each for engine in engines for each in engine.left.all() if each.ticket not in own]
