"""Why a call hits or misses: its canonical form, and how the nearest stored calls differ from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final

from memollm._keys.code.changes import changes
from memollm._types.tables import html_table
from memollm.errors import printable, printable_lines
from memollm.stores.documents import notes_of
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memollm._types.calls import Call
    from memollm._types.listings import Stored
    from memollm.stores.drawing import Drawing

Object = dict[str, Any]
NEAREST: Final = 3
OF_CALL: Final = frozenset({"memollm", "function", "arguments"})
"""What every canonical form has."""
COMPARED: Final = 2000
"""How many stored calls of a function are compared, the latest first."""
WIDTH: Final = 70
DIGEST: Final = "blake2b:"
VERSION: Final = "function.version"
ABSENT: Final = "(absent)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where a stored call differs."""

    path: str
    here: str
    stored: str
    code: str = ""
    """Of two versions, what has changed from the stored one to this."""

    def __str__(self) -> str:
        if self.code:
            return f"{self.path}: the code has changed since\n" + indent(self.code, "    ")
        return printable(f"{self.path}: {self.here} here, {self.stored} stored")


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
        return printable_lines("\n".join([*lines, *self.lines()]))

    def _repr_html_(self) -> str:
        rows = [
            (near.key[:12], f"{near.samples:,}", each.path, each.code or f"{each.here} here, {each.stored} stored")
            for near in self.nearest
            for each in near.differences
        ]
        head, *_ = str(self).partition("\nnear: ")
        return html_table(("nearest", "samples", "differs in", ""), rows, title=head)

    def lines(self) -> list[str]:
        """Say how the nearest stored calls differ."""
        lines = [self.note] if self.note else []
        for near in self.nearest:
            lines.append(f"near: {near.key} ({near.samples} stored) differs in")
            lines += [f"  {difference}" for difference in near.differences]
        return lines


def explain(
    store: Drawing, call: Call, form: str, older: Sequence[Call] = (), changed: str = "", *, lent: str = ""
) -> Explanation:
    """Explain a call; `form` is its canonical form also where only a digest of it is kept.

    `older` are the same call as older code made it, where the samples of that are read, too. `changed` says what of
    the function has changed while the program runs, and `lent` what a similar call lends this one.
    """
    stored = looking(store).calls(call.function)
    samples = sum(each.samples for each in stored if each.call == call)
    earlier = sum(each.samples for each in stored if each.call in older)
    samples += earlier
    nearest: Sequence[Neighbour] = ()
    notes = [f"similar: {lent}"] if lent and not samples else []
    notes += [f"{earlier} of them older code has made (on_change)"] if earlier else []
    if changed:
        notes.append(f"what the function reads has changed since this program called it first:\n{changed}")
    if not samples:
        others = [each for each in stored[-COMPARED:] if each.call not in (call, *older) and each.samples]
        nearest, more = nearest_of(store, call.function, form, others)
        notes += more
    return Explanation(call.function, call.key.hex(), form, samples, tuple(nearest), "\n".join(notes))


def nearest_of(
    store: Drawing, function: str, form: str, others: Sequence[Stored]
) -> tuple[Sequence[Neighbour], list[str]]:
    """Find those of the stored calls of a function that differ least from a form, and say what cannot be compared."""
    notes: list[str] = []
    digests = [each for each in others if is_digest(each.call.form) or is_digest(form)]
    if digests:
        notes.append(f"{len(digests)} stored calls cannot be compared: keep_arguments=False kept a digest only")
    found = [_neighbour(form, each) for each in others if each not in digests]
    nearest = sorted(filter(None, found), key=lambda near: len(near.differences))[:NEAREST]
    if nearest:
        codes = _codes_of(store, function)
        nearest = [_with_code(near, codes) for near in nearest]
    if None in found:
        notes.append(f"{found.count(None)} stored calls cannot be read: look at them with memollm verify")
    return nearest, notes


def is_digest(form: object) -> bool:
    """Tell whether only a digest of a form was kept."""
    return isinstance(form, str) and form.startswith(DIGEST)


def _neighbour(form: str, stored: Stored) -> Neighbour | None:
    """Compare a call with a stored one, of which somebody may have written anything; None where it is no call."""
    try:
        theirs = json.loads(stored.call.form)
        if not isinstance(theirs, dict) or not theirs.keys() >= OF_CALL:
            return None
        different = tuple(differences(json.loads(form), theirs))
        return Neighbour(stored.call.key.hex(), stored.samples, different)
    except (TypeError, ValueError, AttributeError, RecursionError):
        return None


Codes = Mapping[str, Mapping[str, str]]


def _codes_of(store: Drawing, function: str) -> Codes:
    """Read what the versions of a function are made of."""
    entries = [each for each in notes_of(store, "function").values() if each["name"] == function]
    return {version: noted["parts"] for each in entries for version, noted in each["versions"].items()}


def _with_code(near: Neighbour, codes: Codes) -> Neighbour:
    """Say of two versions what differs in the code, where both are known."""
    told = [_of_code(each, codes) if each.path == VERSION else each for each in near.differences]
    return replace(near, differences=tuple(told))


def _of_code(version: Difference, codes: Codes) -> Difference:
    here, stored = (_parts_of(each, codes) for each in (version.here, version.stored))
    return replace(version, code=changes(stored, here)) if here and stored else version


def _parts_of(shown: str, codes: Codes) -> Mapping[str, str] | None:
    """Find the parts of a version; what is shown of one that somebody made up may be no JSON."""
    try:
        return codes.get(json.loads(shown))
    except (ValueError, TypeError):
        return None


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
