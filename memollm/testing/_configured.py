"""Settings for the time of a block, as a test wants them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memollm._calls.configuration import SETTINGS, configuration

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
