"""What a message about an unknown name ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def did_you_mean(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """End a message about an unknown name."""
    import difflib

    near = difflib.get_close_matches(name, list(known), 1)
    return f". Did you mean {near[0]!r}?" if near else f" (it has: {', '.join(known) or 'none'})."
