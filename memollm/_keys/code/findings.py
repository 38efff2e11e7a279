"""What is found of a function: the parts of its fingerprint, what to say of them, and what to look at again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memollm._keys.code.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(slots=True)
class Findings:
    """The parts, and what there is to say about them."""

    parts: dict[str, str] = field(default_factory=dict[str, str])
    blind: str = ""
    """Why the function's own text is not among them, if it is not."""
    unseen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What is read and could not be seen into: its label and its type."""
    spent: list[str] = field(default_factory=list[str])
    """Containers that the code both changes and hands on."""
    watch: Watch = field(default_factory=Watch)
    """What is to be looked at again."""

    def free_label(self, label: str) -> str:
        """Tell apart helpers that one factory made."""
        number, free = 1, label
        while free in self.parts:
            number += 1
            free = f"{label} ({number})"
        return free


def is_ignored(label: str, names: Collection[str]) -> bool:
    """Tell whether the user has named a part as what does not matter: alone, or with its module."""
    whole = label.partition(" ")[2]
    return any(f".{whole}.".endswith(f".{name}.") or f".{name}." in f".{whole}" or whole == name for name in names)
