"""What the user is told, once each, of code that cannot count as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memollm._types.warn import warn
from memollm.errors import MemollmWarning

if TYPE_CHECKING:
    from memollm._keys.code.findings import Findings

SHOWN: Final = 3
_said: set[tuple[str, str]] = set()


def say(name: str, found: Findings) -> None:
    """Tell of a function whose code cannot be read, or reads what cannot be seen, or changes what it hands on."""
    if found.blind and _is_news(name, "blind"):
        counts = "Its compiled form counts instead" if found.parts else "It counts by its name only"
        warn(
            f"memollm cannot read the code of {name}: {found.blind}. {counts}, so an edit may go unnoticed or make "
            "samples anew. To own this, give cached_llm a version= and change it with the code.",
            MemollmWarning,
        )
    if found.unseen and _is_news(name, "unseen"):
        places = [f"{where} ({kind.replace(':', '.')})" for where, kind in found.unseen[:SHOWN]]
        warn(
            f"{name} reads what memollm cannot see into: {'; '.join(places)}. It counts by its type only, so a sample "
            "made with another one of that type would be taken for this one's. Hand it in as an argument, give "
            f'cached_llm a version=, or say that it does not matter: ignore=("{_root(found.unseen[0][0])}",).',
            MemollmWarning,
        )
    for label in found.spent:
        if _is_news(name, label):
            warn(
                f"{name} changes {_named(label)} and hands it on as data. What it changes is no part of its key, and a "
                "stored sample leaves it unchanged, so calls after it would be taken for one another. Make it an "
                "argument, and change it where the function is called.",
                MemollmWarning,
            )


def _is_news(name: str, what: str) -> bool:
    told = (name, what)
    is_news = told not in _said
    _said.add(told)
    return is_news


def _named(label: str) -> str:
    return label.partition(" ")[2] or label


def _root(label: str) -> str:
    """Return the name by which `ignore` knows it."""
    return _named(label).partition("[")[0].rpartition(".")[2]
