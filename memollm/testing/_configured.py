"""Settings for the time of a block, as a test wants them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memollm._calls.configuration import SETTINGS, configuration
from memollm._draws.scope import NOWHERE, scope

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def configured(**options: Any) -> Generator[None]:
    """Configure for the time of a block, in all threads, as `memollm.configure` does for good."""
    before = configuration.in_code()
    configuration.say(**options)
    try:
        yield
    finally:
        configuration.say(**{**dict.fromkeys(SETTINGS), **before})


@contextmanager
def drawing_as(run: str, *, mode: str | None = None) -> Generator[None]:
    """Draw as a run inside the block, as `memollm.run` does, and in a mode if one is named, for who runs tests.

    Threads that a test starts are outside of it, as of any block, and are not warned: the test has not opened it.
    `MEMOLLM_RUN` and `configured` tell them what it says.
    """
    here = scope.get() or NOWHERE
    role = here.role._replace(run=run, namespace=None, resumes=False, mode=mode or here.role.mode)
    token = scope.set(here._replace(role=role, replay=None))
    try:
        yield
    finally:
        scope.reset(token)
