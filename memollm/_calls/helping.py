"""What `help`, `dir` and tab completion show of a decorated function besides the function's own."""

from __future__ import annotations

from typing import Any, Final, cast

from memollm._calls.pickling import caller

ADDED: Final = (
    "draw", "explain", "forget", "forget_all", "index_similar", "key", "map", "one", "peek", "stats", "tally",
    "with_options",
)  # fmt: skip
"""What a decorated function has besides the function's own."""
HELPERS: Final = frozenset({"pydoc"})
"""Who asks for a docstring to show what a thing can do."""


def doc_of(function: Any) -> str | None:
    """Return the function's own docstring, and for `help` what memoizing adds."""
    own, asking = function.__wrapped__.__doc__, caller()
    kind = cast("type[object]", type(function))
    if asking is None or asking.f_globals.get("__name__") not in HELPERS:
        return cast("str | None", own)
    told = ((name, str(getattr(kind, name).__doc__).partition("\n")[0]) for name in ADDED)
    listed = "\n".join(f"    .{name}(...)  {what}" for name, what in told)
    return f"{own or ''}\n\nIt is memoized by memollm, which adds:\n\n{listed}".lstrip()


def set_doc(function: Any, doc: str | None) -> None:
    """Give the function its docstring."""
    getattr(function.__wrapped__, "__func__", function.__wrapped__).__doc__ = doc
