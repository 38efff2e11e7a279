"""Pruning: which calls go so that a store stays within limits, and removing them so that nobody waits for it."""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from memollm._types.durations import seconds_of
from memollm._types.public import public
from memollm.errors import OptionError
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memollm._types.listings import Item
    from memollm.stores.drawing import Drawing

Policy = Literal["lru", "fifo"]
CALLS_AT_ONCE: Final = 100
BYTES_AT_ONCE: Final = 16 << 20
"""How much goes in one transaction: whoever draws meanwhile waits for no more than that."""
POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
WRITTEN: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)b?\s*", re.ASCII | re.IGNORECASE)


class Limits(NamedTuple):
    """What a store is to keep within."""

    bytes: float = math.inf
    samples: float = math.inf
    seconds: float = math.inf
    """How long ago a call was used (or made) at most."""


class Totals(NamedTuple):
    """How much there is."""

    calls: int = 0
    samples: int = 0
    bytes: int = 0

    def plus(self, items: Iterable[Item], sign: int = 1) -> Totals:
        """Add calls, or take them away."""
        each = list(items)
        return Totals(
            self.calls + sign * len(each),
            self.samples + sign * sum(item.samples for item in each),
            self.bytes + sign * sum(item.bytes for item in each),
        )

    def __str__(self) -> str:
        return f"{_several(self.samples, 'sample')} of {_several(self.calls, 'call')} ({size_text(self.bytes)})"


@public
@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed (with `dry_run`, would have removed) and what it kept."""

    calls: int
    samples: int
    bytes: int
    kept_calls: int
    kept_samples: int
    kept_bytes: int

    def __str__(self) -> str:
        removed = Totals(self.calls, self.samples, self.bytes)
        return f"{removed} to remove, {Totals(self.kept_calls, self.kept_samples, self.kept_bytes)} to keep"


def limits_of(*, max_bytes: float | str | None, max_samples: int | None, older_than: object) -> Limits:
    """Read the limits that a user gave; at least one."""
    if max_bytes is None and max_samples is None and older_than is None:
        raise OptionError(
            "prune() was given no limit, so there is nothing that it could remove. Give at least one of max_bytes= "
            '("2GB"), max_samples= and older_than= ("30d").'
        )
    if max_samples is not None and (type(max_samples) is not int or max_samples < 0):
        raise OptionError(f"max_samples={max_samples!r} is no number of samples. Give a whole number from 0 on.")
    return Limits(
        math.inf if max_bytes is None else bytes_of("max_bytes", max_bytes),
        math.inf if max_samples is None else max_samples,
        math.inf if older_than is None else seconds_of("older_than", older_than),
    )


def bytes_of(option: str, value: object) -> float:
    """Return how many bytes an option's value means; `kB` are thousands and `KiB` powers of 1024."""
    if isinstance(value, str) and (written := WRITTEN.fullmatch(value)) and not (written[3] and not written[2]):
        step = 1024.0 if written[3] else 1000.0
        return float(written[1]) * math.pow(step, POWERS[written[2].lower()])
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return value
    raise OptionError(
        f'{option}={value!r} is no size. Give a number of bytes from 0 on, or text such as "500 MB", "2GB" or "1GiB".'
    )


def require_policy(policy: object) -> None:
    """Refuse an unknown policy."""
    if policy not in {"lru", "fifo"}:
        raise OptionError(
            f"policy={policy!r} is unknown. Use 'lru' (what was used least recently goes first) or 'fifo' (what was "
            "made first goes first)."
        )


def prune(
    store: Drawing,
    limits: Limits,
    *,
    policy: Policy,
    now: float,
    dry_run: bool,
    told: Callable[[int, int], object],
) -> Pruned:
    """Remove whole calls, the oldest first, until every limit holds; then give their space back."""
    pruning = _Pruning(looking(store).inventory(), limits, policy, now)
    to_go = Totals().plus(pruning.planned()).bytes
    while chunk := pruning.next_chunk():
        # Asked again, since another process may have used a call after the inventory was taken.
        used_by = chunk[-1].used if policy == "lru" else math.inf
        gone = {item.handle for item in chunk}
        if not dry_run:
            gone = set(keeping(store).evict([item.handle for item in chunk], used_by=used_by))
        pruning.remove(item for item in chunk if item.handle in gone)
        told(min(pruning.removed.bytes, to_go), to_go)
    if pruning.removed.calls and not dry_run:
        keeping(store).shrink(told)
    return Pruned(*pruning.removed, *pruning.kept)


def foreseen(store: Drawing, limits: Limits, *, policy: Policy, now: float) -> tuple[list[Item], Totals]:
    """List the calls that would go, the first to go first, and tell what would be kept; nothing is changed."""
    pruning = _Pruning(looking(store).inventory(), limits, policy, now)
    going = pruning.planned()
    return going, pruning.kept.plus(going, -1)


def remove(store: Drawing, items: list[Item], *, policy: Policy) -> Totals:
    """Remove just these calls, but for those that were used or are drawn meanwhile; return what is gone."""
    removed = Totals()
    for start in range(0, len(items), CALLS_AT_ONCE):
        chunk = items[start : start + CALLS_AT_ONCE]
        used_by = chunk[-1].used if policy == "lru" else math.inf
        gone = set(keeping(store).evict([item.handle for item in chunk], used_by=used_by))
        removed = removed.plus(item for item in chunk if item.handle in gone)
    if removed.calls:
        keeping(store).shrink(silent)
    return removed


class _Pruning:
    """The calls of a store in the order in which they go, and how far that has come."""

    def __init__(self, items: list[Item], limits: Limits, policy: Policy, now: float) -> None:
        self._age: Callable[[Item], float] = lambda item: item.used if policy == "lru" else item.made
        self._queue = deque(sorted(items, key=self._age))
        self._limits = limits
        self._oldest = now - limits.seconds
        self.kept = Totals().plus(items)
        self.removed = Totals()

    def planned(self) -> list[Item]:
        """List what there is to remove."""
        return self._due(math.inf, math.inf)

    def next_chunk(self) -> list[Item]:
        """Take the next calls that are to go in one transaction."""
        chunk = self._due(CALLS_AT_ONCE, BYTES_AT_ONCE)
        for _ in chunk:
            self._queue.popleft()
        return chunk

    def _due(self, calls: float, size: float) -> list[Item]:
        due: list[Item] = []
        left, taken = self.kept, 0
        for item in self._queue:
            if len(due) >= calls or taken >= size or self._holds(left, item):
                break
            due.append(item)
            left, taken = left.plus([item], -1), taken + item.bytes
        return due

    def _holds(self, left: Totals, oldest: Item) -> bool:
        """Tell whether every limit holds for what is left, whose oldest call this is."""
        within = left.samples <= self._limits.samples and left.bytes <= self._limits.bytes
        return within and self._age(oldest) >= self._oldest

    def remove(self, items: Iterable[Item]) -> None:
        """Know that calls are gone."""
        gone = list(items)
        self.kept, self.removed = self.kept.plus(gone, -1), self.removed.plus(gone)


def silent(done: int, total: int) -> None:
    """Tell nobody how far it has come."""


def size_text(size: float) -> str:
    """Write a number of bytes as people do."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the units' own step
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _several(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
