"""NumPy arrays and scalars as raw bytes with their dtype and shape; imported only where a value needs NumPy."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from memollm._values.same import kind_of

# Numbers, texts and times of fixed size; no objects, no records, nothing that names a class.
_DTYPE = re.compile(r"[<>|=][biufcSU][1-9]\d*|[<>][mM]8(\[\d*[A-Za-z]+\])?")


def take_apart(array: Any) -> tuple[str, list[int], bytes] | None:
    """Give dtype, shape and bytes of an array or scalar, or None if it has no such form."""
    if not _is_numpy(kind_of(array)):
        return None
    dtype: str = array.dtype.str
    if not _DTYPE.fullmatch(dtype):
        return None
    return dtype, list(array.shape), array.tobytes()


def _is_numpy(kind: type) -> bool:
    return kind is np.ndarray or issubclass(kind, np.generic)


def put_together(dtype: str, shape: list[int], raw: bytes, *, scalar: bool) -> Any:
    """Build a new, writable array (or scalar). Its size is checked against `raw` before anything is allocated."""
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"{dtype!r} is no dtype of plain data")
    kind = np.dtype(dtype)
    if any(type(size) is not int or size < 0 for size in shape) or math.prod(shape) * kind.itemsize != len(raw):
        raise ValueError(f"{len(raw)} bytes do not make an array of {dtype} with shape {shape}")
    array = np.frombuffer(bytearray(raw), dtype=kind) if raw else np.empty(shape, kind)
    array = array.reshape(shape)
    return array[()] if scalar else array
