"""How a decorated function goes to another process: by its name, or by value where cloudpickle takes its module so."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

CLOUDPICKLE: Final = "cloudpickle"
"""What the module of every copy of it is called: joblib, Ray and Spark have one of their own."""


def is_taken_apart(frame: FrameType | None) -> bool:
    """Tell whether this frame is of cloudpickle, asking whether an object is a function.

    An object that says yes is taken apart by cloudpickle. One that says no is asked how it wants to be pickled.
    """
    return frame is not None and frame.f_code.co_name == "reducer_override" and _is_cloudpickle(frame)


def goes_by_value(function: object, frame: FrameType | None) -> bool:
    """Tell whether the cloudpickle that runs in this frame would pickle the function by value."""
    if frame is None or not _is_cloudpickle(frame):
        return False
    by_reference: Callable[[object], bool] | None = frame.f_globals.get("_should_pickle_by_reference")
    if by_reference is None or not isinstance(function, FunctionType):
        return by_reference is not None
    return not by_reference(function)


def _is_cloudpickle(frame: FrameType) -> bool:
    return CLOUDPICKLE in str(frame.f_globals.get("__name__"))


def caller() -> FrameType | None:
    """Return the frame that called whoever asks."""
    frame = inspect.currentframe()
    asking = None if frame is None else frame.f_back
    return None if asking is None else asking.f_back


def state_of(function: Any) -> tuple[Any, ...]:
    """Return what makes a decorated function anew, with who it is: elsewhere its code may not be found."""
    its = function._self_function  # noqa: SLF001 - it is ours
    return (its.function, its.options, its.keyer.identity(None))


def restore(function: Any, state: tuple[Any, ...]) -> None:
    """Make a blank decorated function what another was; the function that it wraps may refer to it."""
    wrapped, options, identity = state
    function.__init__(wrapped, options)
    function._self_function.keyer.pin(identity)  # noqa: SLF001 - it is ours
