"""The names of classes in records, and the fields that those classes declare.

Names are looked up only for records whose signature was verified.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from memollm._types.secret import said_by
from memollm.errors import StaleRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

MAINS = ("__main__", "__mp_main__")
WAY_OUT = 'Restore the class as it was, take on_stale="miss" to have the function called again, or forget this sample'


def class_name(cls: Any) -> str | None:
    """Name a class as `module:qualname` if importing that name gives this very class.

    A pydantic generic that was given its types is named by itself and them: `module:Answer[builtins:int]`.
    """
    generic: Any = getattr(cls, "__pydantic_generic_metadata__", None)
    if generic and generic["origin"]:
        names = [class_name(part) for part in (generic["origin"], *generic["args"])]
        return None if None in names else f"{names[0]}[{','.join(map(str, names[1:]))}]"
    is_main = cls.__module__ in MAINS
    module = "__main__" if is_main else cls.__module__
    path: str = getattr(cls, "__qualname__", None) or cls.__name__
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    # The program is named as an import would name it, so that both read each other's records.
    return f"{name_of_main() if is_main else module}:{path}" if found is cls else None


def name_of_main() -> str:
    """Name the module of the program that runs."""
    space = vars(sys.modules["__main__"])
    told = space.get("__file__"), getattr(space.get("__spec__"), "name", None)
    name = _programs.get(told)
    if name is None:
        from memollm._keys.code.modules import module_name

        name = module_name(space)
        if told != (None, None):
            _programs[told] = name
    return name


_programs: dict[tuple[Any, Any], str] = {}
"""The names of programs by their file and module: every record that names a class asks, and files are looked for."""


def find_class(name: str) -> Any:
    """Import the class that a signed record names."""
    try:
        found = _find(name)
    except Exception as exc:  # A module may raise anything while it is imported.
        raise StaleRecord(
            f"the class {name} cannot be found ({said_by(exc)}): it was moved or removed. {WAY_OUT}"
        ) from exc
    if not isinstance(found, type):
        raise StaleRecord(f"{name} is no class any more. {WAY_OUT}")
    return found


def _find(name: str) -> Any:
    if name.endswith("]"):
        origin, _, inner = name[:-1].partition("[")
        return _find(origin)[tuple(map(_find, _split(inner)))]
    module, _, path = name.partition(":")
    if module == name_of_main():
        module = "__main__"
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _split(names: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts = [""]
    for piece in names.split(","):
        whole = parts[-1].count("[") == parts[-1].count("]")
        parts[-1:] = [*parts[-1:], piece] if whole else [f"{parts[-1]},{piece}"]
    return parts[1:]


def fields_of(cls: Any) -> tuple[str, ...] | None:
    """Name the fields that make up an object of this class, if the class declares them."""
    named: Any = None
    if _is_any_of(cls, msgspec.Struct, tuple):
        named = getattr(cls, "__struct_fields__", getattr(cls, "_fields", None))
    elif is_model(cls):
        named = cls.model_fields
    elif dataclasses.is_dataclass(cls):
        named = [field.name for field in dataclasses.fields(cls)]
    elif "__attrs_attrs__" in vars(cls):
        named = [field.name for field in cls.__attrs_attrs__]
    return None if named is None else tuple(named)


def check_fields(cls: type, name: str, stored: Iterable[str]) -> None:
    """Raise `StaleRecord` unless the class has exactly the stored fields."""
    now = fields_of(cls) or ()
    lost = [field for field in stored if field not in now]
    new = [field for field in now if field not in stored]
    if lost or new:
        change = f"has no field {lost[0]!r} any more" if lost else f"has a new field {new[0]!r}"
        raise StaleRecord(f"{name} {change}, so this record of it cannot be rebuilt. {WAY_OUT}")


def _is_any_of(cls: Any, *families: type[Any]) -> bool:
    return issubclass(cls, families)


def is_model(cls: type[Any]) -> bool:
    """Tell whether this is a class of pydantic models."""
    # Another thread may just be importing it.
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base is not None and issubclass(cls, base)
