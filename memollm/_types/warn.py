"""Warnings that point at the user's line, not at one of ours."""

from __future__ import annotations

import inspect
import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.secret import veiled

if TYPE_CHECKING:
    from collections.abc import Generator

PASSED_ON: Final = frozenset({"memollm", "wrapt", "asyncio", "concurrent", "threading", "contextlib"})
"""Packages that call what the user asked for."""
LOOP: Final = "asyncio.events"
"""Below it stands whoever runs the event loop, who asked for nothing."""


class CodeLine(NamedTuple):
    """A line of the user's, as warnings tell of it."""

    file: str
    number: int
    module: str
    registry: Any
    """What was warned of there already."""


_asked_at: ContextVar[CodeLine | None] = ContextVar("memollm_asked_at", default=None)


def user_line() -> CodeLine:
    """Return the nearest line outside this package; where there is none, the one that this is done for."""
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module == LOOP:
            break
        if module.partition(".")[0] not in PASSED_ON:
            registry = frame.f_globals.setdefault("__warningregistry__", {})
            return CodeLine(frame.f_code.co_filename, frame.f_lineno, module, registry)
        frame = frame.f_back
    return _asked_at.get() or CodeLine("sys", 1, "sys", sys.__dict__.setdefault("__warningregistry__", {}))


def remember_line() -> None:
    """Let what is done later in this context be done for the line that is the user's now."""
    _asked_at.set(user_line())


@contextmanager
def done_for(line: CodeLine | None) -> Generator[None]:
    """Let warnings, where no line of the user's is near, point at this one."""
    before = _asked_at.set(line)
    try:
        yield
    finally:
        _asked_at.reset(before)


def warn(message: str, category: type[Warning]) -> None:
    """Warn about the user's line; what others have said is in the message, without the secrets in it."""
    line = user_line()
    warnings.warn_explicit(veiled(message), category, line.file, line.number, line.module, line.registry)
