"""What changed between two fingerprints, told to the user who is about to pay for it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDTH = 72
_DIFF_LINES = 12


def changes(old_parts: Mapping[str, str], new_parts: Mapping[str, str]) -> str:
    """Tell in a few lines what differs between the parts of two fingerprints of one function."""
    if not old_parts or not new_parts:
        return "what it was made of is not known on both sides"
    labels = sorted({*old_parts, *new_parts}, key=lambda label: (label == "body", label))
    told = [line for label in labels for line in _change(label, old_parts.get(label), new_parts.get(label))]
    return "\n".join(told) or "nothing that can be named"


def changed_constants(old_parts: Mapping[str, str], new_parts: Mapping[str, str]) -> list[str]:
    """Name the globals and variables that differ, as `ignore` takes them."""
    kinds = ("constant ", "closure ")
    labels = sorted(label for label in {*old_parts, *new_parts} if old_parts.get(label) != new_parts.get(label))
    return [label.partition(" ")[2].rpartition(".")[2] for label in labels if label.startswith(kinds)]


def _change(label: str, old: str | None, new: str | None) -> Iterator[str]:
    if old == new:
        return
    if label == "body" and old is not None and new is not None:
        yield "body:"
        yield from _diff(old, new)
    elif old is None or new is None:
        yield f"{label}: {'no longer' if new is None else 'now'} read"
    elif label.startswith("helper "):
        yield f"{label}: changed"
    else:
        yield f"{label}: {_around(old, new)} -> {_around(new, old)}"


def _diff(old: str, new: str) -> Iterator[str]:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1))[2:]
    lines = [line for line in lines if not line.startswith("@@")]
    removed = [line[1:] for line in lines if line.startswith("-")]
    added = [line[1:] for line in lines if line.startswith("+")]
    pairs = dict(zip(removed, added, strict=False)) | dict(zip(added, removed, strict=False))
    for line in lines[:_DIFF_LINES]:
        yield f"  {line[0]} {_around(line[1:], pairs.get(line[1:], ''))}"
    if len(lines) > _DIFF_LINES:
        yield f"  and {len(lines) - _DIFF_LINES} more lines"


def _around(whole: str, other: str) -> str:
    """Shorten a text to the place where it begins to differ from another."""
    if len(whole) <= _WIDTH:
        return whole
    same = next((place for place, (a, b) in enumerate(zip(whole, other, strict=False)) if a != b), len(other))
    start = max(0, min(same - _WIDTH // 3, len(whole) - _WIDTH))
    end = start + _WIDTH
    return f"{'…' if start else ''}{whole[start:end]}{'…' if end < len(whole) else ''}"
