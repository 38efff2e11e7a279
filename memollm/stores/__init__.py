"""Stores: where samples are kept. A new store is a folder here, and writes what `drawing.py` asks for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memollm.stores.keyvalue import KeyValue
else:
    # Few programs bring a back end of their own.
    def __getattr__(name: str) -> object:
        if name != "KeyValue":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from memollm.stores.keyvalue import KeyValue

        return KeyValue


__all__ = ["KeyValue"]
