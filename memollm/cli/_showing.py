"""How pages name the cache that they are about, and the command that shows a call of it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from memollm.cli._place import chosen


def show_command() -> list[str]:
    """Return the command that shows a call of this cache; what a URL says of its user stays out of the page."""
    place, by = chosen()
    return ["memollm", "show"] if by != "--cache" or "://" in place else ["memollm", "--cache", place, "show"]


def shown_place() -> str:
    """Return the cache's place without the user's name, password or home."""
    place = chosen().place
    if "://" in place:
        url = urlsplit(place)
        return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()
    path = Path(place).expanduser().absolute()
    return str(Path("~") / path.relative_to(Path.home())) if path.is_relative_to(Path.home()) else str(path)
