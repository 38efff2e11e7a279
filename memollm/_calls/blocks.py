"""The blocks that are open in this process, threads that draw outside of them, and functions that carry them along."""

from __future__ import annotations

import contextvars
import functools
import inspect
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from memollm._draws.scope import NOWHERE, Role, Scope, scope
from memollm._types.warn import user_line, warn
from memollm.errors import OptionError, OutsideBlockWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

P = ParamSpec("P")
R = TypeVar("R")

WAITING: Final = ("threading", "concurrent.futures")
"""How the names of the modules begin in which a thread waits."""

derived: Final[ContextVar[bool]] = ContextVar("memollm_derived", default=False)
"""Whether a context comes from that of the main thread, as those of tasks do; that of a new thread is empty."""
derived.set(threading.current_thread() is threading.main_thread())


class Block(NamedTuple):
    """A `with` block that says something to the draws inside."""

    name: str
    """As its user has written it, about."""
    where: str
    """The line that has opened it."""
    thread: int
    is_main: bool
    others: frozenset[int]
    """The threads that were there before it."""


blocks: Final[dict[int, Block]] = {}
"""Those that are open, by number."""
_warned: Final[set[str]] = set()
"""The places of the blocks of which it was told that a thread draws outside of them."""


@contextmanager
def block(name: str, *, opened_in: str | None = None, everywhere: bool = False, **said: Any) -> Generator[None]:
    """Say something for a block, in this task or thread and those that it starts with its context.

    Where no line of the user's has opened it, `opened_in` says what has. What holds `everywhere` in the process all
    the same is missed by no thread, so none is told.
    """
    thread = get_ident()
    is_main = thread == threading.main_thread().ident
    # A copy: other threads may begin meanwhile.
    others = frozenset[int]() if is_main else frozenset(each.ident or 0 for each in threading.enumerate())
    line = user_line()
    where = opened_in or f"{line.file}, line {line.number}"
    opened = Block(name, where, thread, is_main, others)
    if not everywhere:
        blocks[id(opened)] = opened
    token = scope.set((scope.get() or NOWHERE)._replace(**said))
    try:
        yield
    finally:
        blocks.pop(id(opened), None)
        scope.reset(token)


def look_around() -> None:
    """Warn of a draw outside of all blocks, in a thread of which somebody will think that it is inside of one."""
    thread = threading.current_thread()
    if derived.get() or thread is threading.main_thread():
        return
    here = get_ident()
    missed = [each for each in list(blocks.values()) if each.where not in _warned and _is_meant(each, here)]
    if missed:
        # Who is told of the outermost finds the others there.
        _warned.update(each.where for each in missed)
        warn(
            f"The thread {thread.name!r} draws outside of the block `with memollm.{missed[0].name}` that is open in "
            f"{missed[0].where}: a new thread takes over no block of the thread that starts it. Hand it the function "
            "as memollm.carry(f), as in pool.map(memollm.carry(f), items); f.map(items) and asyncio.to_thread need "
            "no such thing.",
            OutsideBlockWarning,
        )


def _is_meant(opened: Block, thread: int) -> bool:
    """Tell whether a thread is one that works for a block: the main thread's, or of one that waits for new threads."""
    if opened.thread == thread or opened.is_main:
        return opened.is_main
    return thread not in opened.others and _waits_for_others(opened.thread)


def _waits_for_others(thread: int) -> bool:
    """Tell whether a thread is joining another, or waits for what it has given to an executor."""
    frame, asked = sys._current_frames().get(thread), ("", "")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - nothing else tells
    while frame is not None and (module := str(frame.f_globals.get("__name__"))).startswith(WAITING):
        asked, frame = (module, frame.f_code.co_name), frame.f_back
    return asked[0].startswith("concurrent") or asked == ("threading", "join")


# Carrying.


class Carried:
    """A function that runs inside the blocks that were open where it was carried from."""

    def __init__(self, function: Callable[..., Any], context: contextvars.Context) -> None:
        functools.update_wrapper(self, function)
        self._function, self._context = function, context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A copy for each call, as several threads may be in it at once.
        return self._context.copy().run(self._function, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        here = self._context.get(scope) or NOWHERE
        if here.replay is not None or here.watchers or here.budgets:
            raise TypeError(
                "A budget, a track and a replay hold within one process, so a function cannot carry them into another. "
                "Open them there; MEMOLLM_BUDGET limits a program and its children together."
            )
        return (_carried_here, (self._function, here.role, here.lane, here.order))


def carry(function: Callable[P, R], /) -> Callable[P, R]:
    """Return the function, to be called in any thread inside the blocks that are open here.

    ::

        with memollm.namespace("exp-1"), memollm.budget(calls=100), ThreadPoolExecutor() as pool:
            answers = list(pool.map(memollm.carry(ask), prompts))

    A new thread begins outside of all blocks; tasks, `asyncio.to_thread` and `.map` carry them by themselves. Pickled,
    for `multiprocessing`, the function takes the namespace, run, mode and lane along.
    """
    if not callable(function):
        raise OptionError(f"carry({function!r}): it takes a function.")
    for kind, is_so in (
        ("coroutine", inspect.iscoroutinefunction),
        ("generator", inspect.isgeneratorfunction),
        ("generator", inspect.isasyncgenfunction),
    ):
        if is_so(function):
            raise OptionError(
                f"carry({getattr(function, '__name__', function)}): what a {kind} function does is done where it is "
                "awaited or read, so it carries nothing. Carry the function that does this."
            )
    return Carried(function, contextvars.copy_context())


def _carried_here(function: Callable[..., Any], role: Role, lane: str | None, order: tuple[str, ...]) -> Carried:
    context = contextvars.copy_context()
    context.run(scope.set, Scope(role, lane, order))
    return Carried(function, context)
