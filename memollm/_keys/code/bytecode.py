"""What compiled code reads from outside itself, for code that has no text."""

from __future__ import annotations

import dis
from types import CodeType
from typing import TYPE_CHECKING, Final

from memollm._keys.code.reads import MUTATORS, Reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm._keys.code.reads import Path

_ROOTS: Final = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_STEPS: Final = ("LOAD_ATTR", "LOAD_METHOD")
_STORES: Final = ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF")
_NEUTRAL: Final = ("CACHE", "PUSH_NULL", "COPY", "EXTENDED_ARG", "NOP", "RESUME")


def reads_of_code(code: CodeType) -> Reads:
    """Find the dotted paths that code reads, and what of them it changes."""
    reads = Reads()
    for each in _codes(code):
        _read(each, reads)
    return reads


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _read(code: CodeType, reads: Reads) -> None:
    path: Path = tuple[str, ...]()
    free = frozenset(code.co_freevars)
    for step in dis.get_instructions(code):
        name = str(step.argval)
        if step.opname in _ROOTS and (step.opname != "LOAD_DEREF" or name in free):
            _end(path, reads)
            path = (name,)
        elif step.opname in _STEPS and path:
            path = (*path, name)
        elif step.opname in _STORES and (step.opname != "STORE_DEREF" or name in free):
            _end(path, reads)
            path = tuple[str, ...]()
            reads.changing.add((name,))
        elif step.opname in ("STORE_ATTR", "STORE_SUBSCR") and path:
            if step.opname == "STORE_ATTR":
                reads.changing.add((*path, name))
            else:
                reads.filling.add((path, ""))
            _end(path, reads)
            path = tuple[str, ...]()
        elif step.opname == "IMPORT_NAME":
            reads.imports.setdefault(name.partition(".")[0], (name.partition(".")[0], None))
        elif step.opname not in _NEUTRAL:
            _end(path, reads)
            path = tuple[str, ...]()
    _end(path, reads)


def _end(path: Path, reads: Reads) -> None:
    if len(path) > 1 and path[-1] in MUTATORS:
        reads.filling.add((path[:-1], path[-1]))
    if path:
        reads.paths[path] = False
        reads.calls.add(path[-1])
