"""Libraries that take a cache of their own kind, with `get` and `set`: Kura's strategies, and whatever else asks so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from memollm import Cache, DoorOptions, door

if TYPE_CHECKING:
    from os import PathLike

    from memollm import Door

    Place = Cache | str | PathLike[str]


class GetSet:
    """A cache with `get` and `set`, whose values are samples.

    ::

        cached = GetSet(name="summaries", pool=1)
        if (summary := cached.get(key)) is None:
            cached.set(key, summary := summarize(text))

    The key is all that is known of what is asked, so it must say everything that an answer depends on; the `name` says
    what else does, such as the model. Other options are those of `Cache.door`. A `get` that finds nothing holds its
    slot for the `set`, as `Door.lookup` does.
    """

    def __init__(
        self, *, name: str, version: str | int = "1", cache: Place | None = None, **options: Unpack[DoorOptions]
    ) -> None:
        self.door: Door = door(name, version=version, cache=cache, **options)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a sample that is there, else the default."""
        return self.door.lookup(key, default)

    def set(self, key: Any, value: Any) -> None:
        """Store an answer."""
        self.door.update(key, value)

    def __repr__(self) -> str:
        return f"GetSet({self.door!r})"
