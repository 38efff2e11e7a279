"""Naming what is public: by the package, wherever it is defined, since keys, records and pickles carry the name."""

from __future__ import annotations

from typing import TypeVar

Class = TypeVar("Class", bound=type)


def public(cls: Class) -> Class:
    """Let a class be known as the package's own."""
    cls.__module__ = "memollm"
    return cls
