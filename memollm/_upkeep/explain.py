"""Why a call hits or misses: its canonical form, and how the nearest stored calls differ from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm._types.calls import Call
    from memollm.stores.drawing import Drawing

Object = dict[str, Any]
NEAREST: Final = 3
COMPARED: Final = 2000
"""How many stored calls of a function are compared, the latest first."""
WIDTH: Final = 70
ABSENT: Final = "(absent)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where a stored call differs."""

    path: str
    here: str
    stored: str

    def __str__(self) -> str:
        return f"{self.path}: {self.here} here, {self.stored} stored"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored call of the same function, and how it differs."""

    key: str
    samples: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `.explain` says of a call."""

    function: str
    key: str
    form: str
    samples: int
    nearest: tuple[Neighbour, ...]
    note: str = ""

    @property
    def hit(self) -> bool:
        """Whether anything is stored of the call."""
        return self.samples > 0

    def __str__(self) -> str:
        lines = [f"{self.function}  {self.key}", f"  {self.form}"]
        lines.append(f"hit: {self.samples} stored" if self.hit else "miss: nothing is stored of this call")
        return "\n".join([*lines, *self.lines()])

    def lines(self) -> list[str]:
        """Say how the nearest stored calls differ."""
        lines = [self.note] if self.note else []
        for near in self.nearest:
            lines.append(f"near: {near.key} ({near.samples} stored) differs in")
            lines += [f"  {difference}" for difference in near.differences]
        return lines


def explain(store: Drawing, call: Call, form: str, changed: str = "") -> Explanation:
    """Explain a call; `form` is its canonical form also where only a digest of it is kept.

    `changed` says what of the function has changed while the program runs.
    """
    stored = looking(store).calls(call.function)
    samples = next((each.samples for each in stored if each.call == call), 0)
    others = [each for each in stored[-COMPARED:] if each.call != call and each.samples]
    readable = [each for each in others if each.call.form.startswith("{")]
    if not form.startswith("{"):
        readable = []
    note = ""
    if not samples and len(readable) < len(others):
        note = f"{len(others) - len(readable)} stored calls cannot be compared: keep_arguments=False kept a digest only"
    if changed:
        since = f"what the function reads has changed since this program called it first:\n{changed}"
        note = f"{note}\n{since}" if note else since
    nearest: list[Neighbour] = []
    if not samples and readable:
        here = json.loads(form)
        nearest = [
            Neighbour(each.call.key.hex(), each.samples, tuple(differences(here, json.loads(each.call.form))))
            for each in readable
        ]
        nearest.sort(key=lambda near: len(near.differences))
    return Explanation(call.function, call.key.hex(), form, samples, tuple(nearest[:NEAREST]), note)


def missing(store: Drawing, call: Call, slot: int) -> str:
    """Say of a call whose next sample is not stored what is, and how the nearest stored calls differ."""
    explanation = explain(store, call, call.form)
    if store.peek(call, [slot]):
        return (
            f"Slot {slot} of this call of {call.function} ({explanation.key}) is stored and does not count: it is "
            "older than ttl= allows, or its class has changed. Mode offline calls nothing: make it anew with "
            'mode="auto".\n'
            f"  {explanation.form}"
        )
    if explanation.hit:
        return (
            f"Nothing is left to draw of this call of {call.function} ({explanation.key}): {explanation.samples} "
            f"{'is' if explanation.samples == 1 else 'are'} stored and slot {slot} is not. Mode offline calls nothing: "
            'record more with mode="auto", or rewind the namespace.\n'
            f"  {explanation.form}"
        )
    lines = [f"Nothing is stored of this call of {call.function} ({explanation.key}), and mode offline calls nothing."]
    lines += [f"  {explanation.form}", *explanation.lines()]
    if not explanation.nearest and not explanation.note:
        lines.append(f"Nothing is stored of any call of {call.function} as it is now.")
    return "\n".join([*lines, 'To record it, draw with mode="auto".'])


def differences(here: Any, stored: Any, path: str = "") -> Iterator[Difference]:
    """Walk two canonical forms side by side."""
    kinds = (_kind(here), _kind(stored))
    if kinds == (dict, dict):
        yield from _of_objects(here, stored, path)
    elif kinds == (list, list):
        for index in range(max(len(here), len(stored))):
            yield from differences(_at(here, index), _at(stored, index), f"{path}[{index}]")
    elif here != stored or kinds[0] is not kinds[1]:
        yield Difference(path or "the call", _shown(here), _shown(stored))


def _of_objects(here: Object, stored: Object, path: str) -> Iterator[Difference]:
    for name in sorted(here.keys() | stored.keys()):
        inner = name if path in {"", "arguments"} else f"{path}.{name}"
        yield from differences(here.get(name, _Absent), stored.get(name, _Absent), inner)


class _Absent:
    """Stands where one side has nothing."""


def _kind(value: Any) -> type[Any]:
    return type(value)  # pyright: ignore[reportUnknownVariableType]  # It cannot name the type of anything.


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _Absent


def _shown(value: Any) -> str:
    if value is _Absent:
        return ABSENT
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else f"{text[: WIDTH // 2]}…{text[-WIDTH // 2 :]}"
