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
from memollm._upkeep.prune import silent
from memollm._views.report.collect import named
from memollm.errors import OptionError
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.ui.data import Foreseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memollm._cache import Cache
    from memollm._types.calls import Call
    from memollm._types.listings import Surveyed
    from memollm.ui.index import Listing

Wish = dict[str, Any]
MOST_KEYS: Final = 500
FIRST: Final = 10
"""Of the calls that would go, how many are shown."""


class Intention(NamedTuple):
    """What a change would do, and what does it and says so; None if there is nothing to do."""

    foreseen: Foreseen
    do: Callable[[], str] | None = None
    calls: tuple[Surveyed, ...] = ()
    """Those that would go first."""


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
    stamp = hashlib.blake2b(msgspec.json.encode((kind, intention.foreseen)), digest_size=16).hexdigest()
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
        raise OptionError("Nothing is stored of this call any more. Somebody else has forgotten it.")
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

    return Intention(Foreseen(sentence, "", rows), do, tuple(found[call] for call in there)[:FIRST])


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


def _prune(cache: Cache, listing: Listing, wish: Wish) -> Intention:
    """Remove whole calls until every limit holds."""
    size, older_than = _text(wish, "max_bytes"), _text(wish, "older_than")
    policy = _text(wish, "policy") or "lru"
    limits: Any = {
        "max_bytes": int(size) if size is not None and size.isdecimal() else size,
        "max_samples": _whole(wish, "max_samples"),
        "older_than": older_than,
        "policy": policy,
    }
    pruned = cache.prune(dry_run=True, **limits)
    going, samples = counted(pruned.calls, "call"), counted(pruned.samples, "sample")
    staying = f"{counted(pruned.kept_calls, 'call')}, {counted(pruned.kept_samples, 'sample')}"
    if not pruned.calls:
        return Intention(Foreseen("Every limit holds already; nothing is to go.", ""))
    rows = (
        ("To go", f"{going}, {samples}, {size_text(pruned.bytes)}"),
        ("To stay", f"{staying}, {size_text(pruned.kept_bytes)}"),
    )
    sentence = (
        f"Remove {going} with {samples}. A call that somebody is drawing stays; of one that "
        "goes the cursors go too, and whoever asks again pays again."
    )
    oldest = sorted(listing.surveyed, key=lambda each: each.used if policy == "lru" else each.made)

    def do() -> str:
        done = cache.prune(**limits)
        return (
            f"{counted(done.calls, 'call')} with {counted(done.samples, 'sample')} removed; "
            f"{counted(done.kept_samples, 'sample')} kept."
        )

    return Intention(Foreseen(sentence, "", rows), do, tuple(oldest[: min(FIRST, pruned.calls)]))


# Adopting.


def _adopt(cache: Cache, _: Listing, wish: Wish) -> Intention:
    """Give samples of an older version of a function to its latest."""
    name, to, version = _text(wish, "name"), _text(wish, "to"), _text(wish, "version")
    if name is None:
        raise OptionError("adopt: name= says which function's samples are meant.")
    samples = cache.adopt(name, to=to, version=version, dry_run=True)
    of = f" of its version {named(version)}" if version else " of the version before" if to is None else ""
    whose = f"{named(to)}'s latest version" if to else "its latest version"
    rows = (("Function", named(name)), ("Samples", f"{samples:,}{of}"), ("Adopted by", whose))
    sentence = (
        f"Give {counted(samples, 'sample')} to {whose}: what was paid for is drawn by the new code. Nothing is lost, "
        "and what a namespace has drawn stays drawn; there is no way back."
    )

    def do() -> str:
        return f"{counted(cache.adopt(name, to=to, version=version), 'sample')} adopted by {named(to or name)}."

    return Intention(Foreseen(sentence, "", rows), do)


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
    if not (said.isascii() and said.isdecimal()):
        raise OptionError(f"{name}={said!r} is no whole number.")
    return int(said)
