"""What tracebacks of tests leave out: frames of ours that say nothing about a miss."""

from __future__ import annotations

from typing import Any

from memollm.errors import CacheMiss


def hides(excinfo: Any) -> bool:
    """Tell pytest whether to hide a frame of the module whose `__tracebackhide__` this is: where something is missing.

    What misses is the user's call, and the message says all about it.
    """
    return isinstance(getattr(excinfo, "value", None), CacheMiss)
