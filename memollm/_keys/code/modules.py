"""The names of modules, the same however a file is run, and which modules belong together."""

from __future__ import annotations

import importlib.util
import os
import sys
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memollm._keys.installed import is_of_library
from memollm._types.paths import absolute, root_above

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKS = ("pyproject.toml", ".git")
_MAIN = ("__main__", "__mp_main__")


def module_name(space: Mapping[str, Any]) -> str:
    """Name the module whose globals these are, whether its file is run, imported, or run again by a child process."""
    name = space.get("__name__")
    if not isinstance(name, str):
        return "__main__"
    if name not in _MAIN:
        return name
    return _name_by_spec(space) or _name_by_file(space) or _notebook_name(space) or "__main__"


def space_of(module: str) -> Mapping[str, Any]:
    """Give the globals of a loaded module, empty if it is not loaded."""
    found = sys.modules.get(module)
    return vars(found) if isinstance(found, type(sys)) else {}


def _name_by_spec(space: Mapping[str, Any]) -> str | None:
    """Name a module run by `python -m`; one in folders without `__init__.py` is named as the script that it is, too."""
    name = getattr(space.get("__spec__"), "name", None)
    if not isinstance(name, str) or name in _MAIN:
        return None
    packages = list(accumulate(name.split(".")[:-1], "{}.{}".format))
    in_folders = any(space_of(package).get("__file__") is None for package in packages)
    return None if in_folders and _is_own(name.partition(".")[0], space.get("__file__")) else name


def _name_by_file(space: Mapping[str, Any]) -> str | None:
    """Name a script as an import would: a file in a package carries the package's name."""
    file = space.get("__file__")
    if not isinstance(file, str):
        return None
    path = absolute(file)
    parts = [path.parent.name if path.stem == "__main__" else path.stem]
    folder = path.parent
    while path.stem != "__main__" and (folder / "__init__.py").is_file():
        parts.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(parts))


def _notebook_name(space: Mapping[str, Any]) -> str | None:
    if path := _notebook_path(space):
        return Path(path).stem
    return "notebook" if "get_ipython" in space else None


def _notebook_path(space: Mapping[str, Any]) -> str | None:
    """Find the notebook's file as editors and servers tell it."""
    told: list[object] = [space.get("__vsc_ipynb_file__")]
    if "get_ipython" in space:
        told += [space.get("__session__"), os.environ.get("JPY_SESSION_NAME")]
    return next((path for path in told if isinstance(path, str) and path), None)


def project_of(space: Mapping[str, Any]) -> str | None:
    """Give the folder under which paths are the same in every checkout: the project's, or else the file's own."""
    file = space.get("__file__")
    if not isinstance(file, str):
        return None
    folder = absolute(file).parent
    root = checkout_of(folder) or folder
    return str(root) if len(root.parts) > 1 else None


def checkout_of(folder: Path) -> Path | None:
    """Give the nearest folder, this one or above it, that is the root of a project; a cache may come and go."""
    return next((each for each in (folder, *folder.parents) if any((each / mark).exists() for mark in _MARKS)), None)


def folder_of(space: Mapping[str, Any]) -> str:
    """Say in which folder of its project a module's file lies: two programs of one name are not edits of each other."""
    file = (
        space.get("__file__") if space.get("__name__") not in _MAIN else space.get("__file__") or _notebook_path(space)
    )
    if not isinstance(file, str):
        return ""
    folder = absolute(file).parent
    root = root_above(folder)
    return folder.name if root is None else folder.relative_to(root).as_posix().removeprefix(".")


class Home:
    """The modules whose code counts with a function's: its top-level package, and whatever is not installed."""

    def __init__(self, space: Mapping[str, Any]) -> None:
        self._top = module_name(space).partition(".")[0]
        self._known: dict[str, bool] = {str(space.get("__name__")): True}

    def holds(self, module: object) -> bool:
        """Tell whether the code of this module counts."""
        if not isinstance(module, str):
            return False
        if module not in self._known:
            self._known[module] = self._decide(module)
        return self._known[module]

    def may_hold(self, module: str) -> bool:
        """Tell whether a module that may not be loaded yet would count."""
        top = module.partition(".")[0]
        if module in sys.modules or top == self._top:
            return self.holds(module)
        spec = importlib.util.find_spec(top) if top else None
        return spec is not None and spec.has_location and _is_own(top, spec.origin)

    def _decide(self, module: str) -> bool:
        space = space_of(module)
        name = module_name(space) if space else module
        if name.partition(".")[0] == self._top:
            return True
        return module in _MAIN or _is_own(name.partition(".")[0], space.get("__file__"))


def _is_own(top: str, file: object) -> bool:
    """Tell whether a module's file is the user's: wherever it lies, nobody has installed it."""
    if not isinstance(file, str) or top == "memollm":
        return False
    return not (is_of_library(file) or is_of_library(os.path.realpath(file)))


def class_name(kind: type) -> str:
    """Name a class by its module, the same however that is run."""
    return f"{module_name(space_of(kind.__module__) or {'__name__': kind.__module__})}.{kind.__qualname__}"
