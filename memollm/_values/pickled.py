"""The last rung: cloudpickle, for whatever has no form of its own. Only ever read from signed records.

Before the pickle stands one line of JSON: the fields of the classes in it, so that a changed class is seen before
anything is built, and the Python that wrote it, where functions or classes are stored by value.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import threading
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from cloudpickle import cloudpickle as _inside

from memollm._types.secret import said_by
from memollm._values.live import refuse_live
from memollm._values.names import check_fields, class_name, fields_of, find_class
from memollm._values.same import kind_of
from memollm._values.tree import from_json, to_json, too_deep
from memollm.errors import RecordError, StaleRecord, UncacheableResult

_PROTOCOL = 5
_LOCK = "_DYNAMIC_CLASS_TRACKER_LOCK"
"""What cloudpickle calls the lock around the classes that it has seen."""
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


_Pickling: Any = cloudpickle.Pickler


class _Pickler(_Pickling):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO) -> None:
        _Pickling.__init__(self, file, protocol=_PROTOCOL)
        self.fields: dict[str, list[str]] = {}

    def reducer_override(self, obj: Any) -> Any:
        refuse_live(obj, "something inside the result")
        cls = kind_of(obj)
        if (name := class_name(cls)) and (fields := fields_of(cls)) is not None:
            self.fields[name] = list(fields)
        return _Pickling.reducer_override(self, obj)


def dumps(value: object) -> bytes:
    """Pickle a value, refusing live things at every level."""
    refuse_live(value, "the result")
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(value)
    except (UncacheableResult, RecursionError):
        raise
    except Exception as exc:
        if isinstance(exc.__context__, RecursionError):
            raise too_deep("the result") from exc
        raise UncacheableResult(
            f"the result, a {type(value).__qualname__}, cannot be stored: {said_by(exc)}. Return plain data, a "
            "dataclass or a pydantic model, or register the type with an encoder of your own",
        ) from exc
    pickled = file.getvalue()
    by_value = b"cloudpickle" in pickled
    return to_json({"python": _PYTHON if by_value else None, "fields": pickler.fields}) + b"\n" + pickled


def loads(body: bytes) -> object:
    """Rebuild a value from a record whose signature was verified."""
    line, _, pickled = body.partition(b"\n")
    head: dict[str, Any] = from_json(line)
    if head["python"] not in {None, _PYTHON}:
        raise StaleRecord(f"the record holds code of Python {head['python']}, and this is {_PYTHON}: draw it again")
    for name, fields in head["fields"].items():
        check_fields(find_class(name), name, fields)
    try:
        return pickle.loads(pickled)  # noqa: S301 (signed by a trusted key)
    except RecordError:
        raise
    except Exception as exc:
        raise StaleRecord(
            f"the stored object cannot be rebuilt ({type(exc).__name__}: {said_by(exc)}): its class was moved or has "
            "changed. Restore it, or forget this sample and draw it again",
        ) from exc


def _after_fork_in_child() -> None:
    # Another thread of the parent may have been inside, and will never let go of it here.
    setattr(_inside, _LOCK, threading.Lock())


if hasattr(os, "register_at_fork") and hasattr(_inside, _LOCK):
    os.register_at_fork(after_in_child=_after_fork_in_child)
