"""Taking over another cache: read, mapped and encoded outside any lock, put in a batch at a time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._drive.introduction import introduce
from memollm._takeover.foreign import Pickles
from memollm._takeover.mapping import Target, Unmapped, by_function, by_position, require_decorated
from memollm._takeover.sources import SOURCES, Source
from memollm._types.samples import Sample
from memollm._types.suggest import did_you_mean
from memollm._upkeep.transfer import Joining, by_mark, marked, transfer_of
from memollm.errors import OptionError, UncacheableResult, UnkeyableArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from memollm._draws.engine import Engine
    from memollm._takeover.sources import Old
    from memollm._types.calls import Call
    from memollm.stores.transfer import Shelf

BATCH: Final = 200
"""How many entries are put into the cache before whoever waits to write has a turn."""
REASONS: Final = 5


class Imported(NamedTuple):
    """What was found in another cache, and what became of it."""

    entries: int
    skipped: int
    """Entries for which `map` returned None."""
    refused: int
    """Entries that no call could be made of, or whose answer cannot be stored."""
    reasons: tuple[str, ...]
    """Why, for the first few."""
    added: int
    """Samples that were not here yet."""
    present: int
    """Samples that were."""


class Incoming(NamedTuple):
    """A call and what is to be stored of it."""

    call: Call
    samples: list[Sample]


class TakingOver:
    """One import on its way."""

    def __init__(self, engine: Engine, mapped: Callable[[Old], Target | None], place: str) -> None:
        self._engine = engine
        self._place = place
        self._mapped = mapped
        self._transfer = transfer_of(engine.store)
        self._functions: dict[Any, Any] = {}
        """Each function, by its its, as it memoizes in this cache. A method is made anew each time that it is asked
        for, so its `id` says nothing about whose it is."""
        self._joinings: dict[bytes, tuple[Joining, itertools.count[int]]] = {}
        """By the call's key: of several old entries that become one call, each is another sample."""
        self.entries = self.skipped = self.refused = self.added = self.present = 0
        self.reasons: list[str] = []

    def put(self, batch: Sequence[Old]) -> None:
        """Take over a batch of entries."""
        incoming = [each for old in batch if (each := self._incoming(old)) is not None]
        if incoming:
            self._transfer.merge(lambda shelf: self._join(shelf, incoming))

    def _incoming(self, old: Old) -> Incoming | None:
        self.entries += 1
        try:
            target = self._mapped(old)
            if target is None:
                self.skipped += 1
                return None
            call = self._call(target)
            encode, stored = self._engine.codec.encode, marked(old.stored, self._place)
            return Incoming(call, [Sample(encode(each, context=call.key), stored) for each in target.answers])
        except (Unmapped, UnkeyableArgument, UncacheableResult, TypeError) as error:
            self.refused += 1
            if len(self.reasons) < REASONS:
                self.reasons.append(" ".join(str(error).split()))
            return None

    def _call(self, target: Target) -> Call:
        invocation = self._here(target.function)._self_invocation(target.args, target.kwargs)  # noqa: SLF001 - it is ours
        introduce(invocation)
        call: Call = invocation.keyed()
        return call

    def _here(self, function: Any) -> Any:
        """Return a function as it memoizes in this cache, bound to what it is bound to."""
        its, bound_from = function._self_function, function._self_parent  # noqa: SLF001 - the function is ours
        if its not in self._functions:
            # Without a cursor: an import is no run, and draws nothing.
            whole = function if bound_from is None else bound_from
            self._functions[its] = whole.with_options(cache=self._engine, pool=1, n=1)
        here = self._functions[its]
        return here if bound_from is None else here.__get__(function._self_instance, function._self_owner)  # noqa: SLF001

    def _join(self, shelf: Shelf, incoming: Sequence[Incoming]) -> None:
        for call, samples in incoming:
            made = samples[0].stored if samples else 0.0
            joining, slots = self._joinings.setdefault(call.key, (Joining(call, made, by_mark), itertools.count()))
            joining.begin(shelf)
            for sample in samples:
                missing = joining.put(next(slots), sample)
                self.added += missing
                self.present += not missing

    def result(self) -> Imported:
        """Say what became of everything; if nothing at all could be taken over, say why."""
        if self.refused and not self.added and not self.present:
            raise OptionError(
                f"None of {self.entries:,} entries could be taken over: {self.reasons[0]}. Say with map= (--map) which "
                "call each is."
            )
        return Imported(self.entries, self.skipped, self.refused, tuple(self.reasons), self.added, self.present)


def take(
    engine: Engine,
    kind: str,
    path: str | PathLike[str],
    *,
    map: Callable[[Any, Any], Any] | None,  # noqa: A002 - the user's word
    function: Any,
    name: str | None,
    trust: bool,
    told: Callable[[int, int], object],
) -> Imported:
    """Take over what another cache holds."""
    path = Path(path).expanduser()
    source = _source(kind)
    take = TakingOver(engine, _mapping(kind, source, map, function, name), str(path.resolve()))
    total = sum(1 for _ in source.read(path, Pickles(path, trusted=trust)))
    entries = source.read(path, Pickles(path, trusted=trust))
    while batch := list(itertools.islice(entries, BATCH)):
        take.put(batch)
        told(take.entries, total)
    return take.result()


def _source(kind: str) -> Source:
    if kind not in SOURCES:
        raise OptionError(f"import_from: there is no kind {kind!r}{did_you_mean(kind, SOURCES)}")
    return SOURCES[kind]


def _mapping(
    kind: str, source: Source, mapping: Callable[[Any, Any], Any] | None, function: Any, name: str | None
) -> Callable[[Old], Target | None]:
    if (mapping is None) is (function is None):
        raise OptionError("import_from: say either map= (--map), or function= (--function) to go by position.")
    if name is not None and (function is None or kind != "diskcache"):
        raise OptionError(
            f"name={name!r} (--name): it says which name diskcache.memoize was given for function= (--function)."
        )
    if mapping is not None:
        return lambda old: by_function(mapping, old)
    if source.has_hashes:
        raise OptionError(
            f"The keys of {kind} are hashes, from which no arguments can be told. Give map= (--map) a function that "
            "knows which call each is."
        )
    decorated = require_decorated(function)
    return lambda old: by_position(decorated, old, name)
