"""What can be changed from the page: calls forgotten, space made, samples adopted; each is foreseen before it is done.

Whoever agrees to a change sends the stamp of what they were shown. If that is not what would be done, nothing is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._types.calls import NAMESPACES
from memollm._types.tables import counted, money, size_text
from memollm._upkeep.adopt import moved, planned, samples_of
from memollm._upkeep.prune import Totals, foreseen, limits_of, remove, require_policy, silent
from memollm._views.finding import described
from memollm._views.report.collect import named
from memollm.errors import OptionError
from memollm.stores.documents import notes_of
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.ui.data import Foreseen
from memollm.ui.reading import whole_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from memollm._cache import Cache
    from memollm._types.calls import Call
    from memollm._types.listings import Item, Surveyed
    from memollm.ui.index import Listing

Wish = dict[str, Any]
MOST_KEYS: Final = 500
LONGEST: Final = 18
"""Digits of a whole number."""
FIRST: Final = 10
"""Of the calls that would go, how many are shown."""


class Intention(NamedTuple):
    """What a change would do, and what does it and says so; None if there is nothing to do."""

    foreseen: Foreseen
    do: Callable[[], str] | None = None
    calls: tuple[Surveyed, ...] = ()
    """Those that would go first."""
    touched: tuple[object, ...] = ()
    """Just what would be changed, which the stamp covers besides what is shown."""


class OtherwiseNow(OptionError):
    """What was agreed to is not what would be done any more."""


def change(cache: Cache, listing: Listing, wish: Wish) -> Intention:
    """Foresee a change; if the wish has the stamp of just that, do it."""
    kind, agreed = _text(wish, "change"), wish.pop("agreed", None)
    foreseeing = KINDS.get(kind or "")
    if foreseeing is None:
        raise OptionError(f"change={kind!r} is none; there are {', '.join(KINDS)}.")
    # Where nothing can be changed, nothing is foreseen either.
    keeping(cache.store)
    intention = foreseeing(cache, listing, wish)
    if wish:
        raise OptionError(f"{kind} does not know {', '.join(sorted(map(repr, wish)))}.")
    if intention.do is None:
        return intention
    stamp = hashlib.blake2b(
        msgspec.json.encode((kind, intention.foreseen, repr(intention.touched))), digest_size=16
    ).hexdigest()
    if agreed is None:
        return intention._replace(foreseen=replace(intention.foreseen, stamp=stamp))
    if agreed != stamp:
        raise OtherwiseNow(
            "What this would do has changed meanwhile, so nothing was done. Look again at what it would do."
        )
    return Intention(Foreseen(intention.do(), "", done=True))


# Forgetting.


def _forget(cache: Cache, listing: Listing, wish: Wish) -> Intention:
    """Remove calls with all their samples and cursors."""
    keys = _keys(wish)
    found = {each.call: each for key in keys for each in listing.by_key.get(key, ())}
    samples = {call: cache.store.peek(call) for call in found}
    there = {call: kept for call, kept in samples.items() if kept}
    if not there:
        raise OptionError("Nothing is stored of this call (any more).")
    costs = [each.cost for kept in there.values() for each in kept.values() if each.cost is not None]
    number = sum(map(len, there.values()))
    what = f"{counted(len(there), 'call')} with {counted(number, 'sample')}"
    rows = (
        ("What it cost", money(sum(costs)) if costs else "unknown"),
        ("Drawn by", _readers(cache, there)),
    )
    sentence = f"Forget {what}, and the cursors of all who have drawn it. Whoever asks again pays again."

    def do() -> str:
        gone = sum(keeping(cache.store).forget(call) for call in there)
        keeping(cache.store).shrink(silent)
        return f"{counted(gone, 'sample')} forgotten."

    touched = sorted((call, slot, each.stored) for call, kept in there.items() for slot, each in kept.items())
    return Intention(Foreseen(sentence, "", rows), do, tuple(found[call] for call in there)[:FIRST], tuple(touched))


def _readers(cache: Cache, calls: Iterable[Call]) -> str:
    draws: Counter[str] = Counter()
    for call in calls:
        for reader in looking(cache.store).readers_of(call):
            is_named = reader.reader.startswith(NAMESPACES)
            draws[named(reader.reader.removeprefix(NAMESPACES)) if is_named else "runs without a namespace"] += (
                reader.draws
            )
    return ", ".join(f"{name}: {number:,}" for name, number in sorted(draws.items())) or "nobody with a cursor"


# Making space.


def _prune(cache: Cache, _: Listing, wish: Wish) -> Intention:
    """Remove whole calls until every limit holds."""
    limits = limits_of(
        max_bytes=_text(wish, "max_bytes"),
        max_samples=_whole(wish, "max_samples"),
        older_than=_text(wish, "older_than"),
    )
    policy: Any = _text(wish, "policy") or "lru"
    require_policy(policy)
    engine = cache.__memollm_engine__()
    # What this process has used counts before anything goes.
    engine.keeper.hand_over()
    items, stay = foreseen(cache.store, limits, policy=policy, now=engine.clock())
    if not items:
        return Intention(Foreseen("Every limit holds already; nothing is to go.", ""))
    go = Totals().plus(items)
    going, samples = counted(go.calls, "call"), counted(go.samples, "sample")
    rows = (
        ("To go", f"{going}, {samples}, {size_text(go.bytes)}"),
        ("To stay", f"{counted(stay.calls, 'call')}, {counted(stay.samples, 'sample')}, {size_text(stay.bytes)}"),
    )
    sentence = (
        f"Remove {going} with {samples}. A call that somebody is drawing stays; of one that "
        "goes the cursors go too, and whoever asks again pays again."
    )

    def do() -> str:
        done = remove(cache.store, items, policy=policy)
        kept = stay.samples + go.samples - done.samples
        return (
            f"{counted(done.calls, 'call')} with {counted(done.samples, 'sample')} removed; "
            f"{counted(kept, 'sample')} kept."
        )

    touched = sorted((repr(each.handle), each.samples, each.bytes, each.made) for each in items)
    return Intention(Foreseen(sentence, "", rows), do, _first(cache, items), tuple(touched))


def _first(cache: Cache, items: Sequence[Item]) -> tuple[Surveyed, ...]:
    """Find which calls go first, by their figures; those that other calls have, too, are not shown."""
    by_figures: dict[object, list[Surveyed]] = {}
    for each in looking(cache.store).survey():
        by_figures.setdefault((each.call.function, each.samples, each.bytes, each.made, each.used), []).append(each)
    found = [by_figures.get(item[1:], []) for item in items[:FIRST]]
    return tuple(each for one in found if len(one) == 1 for each in one)


# Adopting.


def _adopt(cache: Cache, _: Listing, wish: Wish) -> Intention:
    """Give samples of an older version of a function to its latest."""
    name, to, version = _text(wish, "name"), _text(wish, "to"), _text(wish, "version")
    if name is None:
        raise OptionError("adopt: name= says which function's samples are meant.")
    names = {str(entry["name"]) for entry in notes_of(cache.store, "function").values()}
    name, to = whole_name(name, names), None if to is None else whole_name(to, names)
    moves = planned(cache.store, name, to=to, version=version)
    samples = samples_of(cache.store, name, moves)
    of = f" of its {_versions_of(move.old for move in moves)}"
    whose = (
        f"{named(to)}'s latest {_versions_of(move.new for move in moves)}"
        if to
        else (f"its latest {_versions_of(move.new for move in moves)}")
    )
    rows = (("Function", named(name)), ("Samples", f"{samples:,}{of}"), ("Adopted by", whose))
    sentence = (
        f"Give {counted(samples, 'sample')} to {whose}: what was paid for is drawn by the new code. Nothing is lost, "
        "and what a namespace has drawn stays drawn; there is no way back."
    )

    def do() -> str:
        adopted = moved(cache.store, cache.__memollm_engine__().codec, moves)
        return f"{counted(adopted, 'sample')} adopted by {named(to or name)}."

    return Intention(Foreseen(sentence, "", rows), do, touched=tuple(sorted(moves)))


def _versions_of(calls: Iterable[Call]) -> str:
    names = sorted({described(call.form).version or "" for call in calls})
    return f"version{'' if len(names) == 1 else 's'} {named(', '.join(names))}"


KINDS: Final[dict[str, Callable[[Cache, Listing, Wish], Intention]]] = {
    "forget": _forget,
    "prune": _prune,
    "adopt": _adopt,
}


# What a wish says.


def _keys(wish: Wish) -> list[str]:
    try:
        keys = msgspec.convert(wish.pop("keys", None), list[str])
    except msgspec.ValidationError:
        keys = []
    if not 0 < len(keys) <= MOST_KEYS:
        raise OptionError(f"forget: keys= must be a list of 1 to {MOST_KEYS} keys.")
    return keys


def _text(wish: Wish, name: str) -> str | None:
    said = wish.pop(name, None)
    if said is None or (isinstance(said, str) and not said.strip()):
        return None
    if not isinstance(said, str):
        raise OptionError(f"{name}={said!r} must be a text.")
    return said.strip()


def _whole(wish: Wish, name: str) -> int | None:
    said = _text(wish, name)
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) <= LONGEST):
        raise OptionError(f"{name}={said[:40]!r} is no whole number of at most {LONGEST} digits.")
    return int(said)
