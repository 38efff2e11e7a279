"""The scripts of a Redis store: files put together, known to servers by their digests."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files as package_files
from typing import Final, NamedTuple

PACKAGE: Final = __name__.rpartition(".")[0]
SCHEMA_VERSION: Final = 1
"""That of the keys and what they hold. A change of them bumps it, and brings what migrates."""


class Script(NamedTuple):
    """A script of several files."""

    text: str
    digest: str


class Command(NamedTuple):
    """A script that is to be run on the keys that begin with `base`."""

    script: Script
    base: str
    arguments: tuple[object, ...]


@cache
def script(*names: str) -> Script:
    """Read a script."""
    return _script("\n".join(map(_text, names)))


def _text(name: str) -> str:
    return package_files(PACKAGE).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def drawing() -> Script:
    """Return what draws."""
    return script("glance", "common", "positions", "drawing")


@cache
def thin_drawing() -> Script:
    """Return what draws for who holds records already."""
    return _script(f"local function drawn()\n{drawing().text}\nend\n{_text('thin')}")


def keeping() -> Script:
    """Return what changes a call besides drawing."""
    return script("common", "keeping")


def moving() -> Script:
    """Return what brings to a call what comes from elsewhere."""
    return script("common", "moving")


def looking() -> Script:
    """Return what looks at a call."""
    return script("common", "looking")


def matching() -> Script:
    """Return what keeps the vectors and matches of a call."""
    return script("matching")


def spaces() -> Script:
    """Return what lists whose vectors are in a space."""
    return script("spaces")


def books() -> Script:
    """Return what keeps what is of the whole cache."""
    return script("books")
