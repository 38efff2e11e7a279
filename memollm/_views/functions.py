"""The functions that a cache knows, and their versions: how much is stored of each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._views.finding import described
from memollm.stores.documents import notes_of
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._cache import Cache
    from memollm._types.listings import Surveyed
    from memollm.stores.looking import Document

LATEST: Final = "latest"
PREVIOUS: Final = "previous"


class ListedFunction(NamedTuple):
    """A function, and what is stored of it."""

    name: str
    calls: int
    samples: int
    versions: int
    latest: str | None


def listed_functions(cache: Cache) -> list[ListedFunction]:
    """List the functions, by name."""
    calls: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for item in looking(cache.store).inventory():
        calls[item.function] += 1
        samples[item.function] += item.samples
    noted: dict[str, list[Document]] = {}
    for entry in notes_of(cache.store, "function").values():
        noted.setdefault(str(entry["name"]), []).append(entry)
    return [
        ListedFunction(
            name,
            calls[name],
            samples[name],
            sum(len(entry["versions"]) for entry in noted.get(name, ())),
            str(noted[name][-1]["latest"]) if name in noted else None,
        )
        for name in sorted({*calls, *noted})
    ]


class ListedVersion(NamedTuple):
    """A version of a function, and what is stored of it."""

    version: str
    calls: int
    samples: int
    first: float | None
    role: str
    """`latest`, `previous` or empty."""
    parts: Mapping[str, str]


def listed_versions(cache: Cache, name: str) -> list[ListedVersion]:
    """List the versions of all that bear the name: closures, partials and lambdas of one place share it."""
    entries = [each for each in notes_of(cache.store, "function").values() if each["name"] == name]
    return _listed(entries, looking(cache.store).survey(function=name))


def all_versions(cache: Cache) -> dict[str, list[ListedVersion]]:
    """List the versions of every function that the cache knows, by name."""
    entries: dict[str, list[Document]] = {}
    for each in notes_of(cache.store, "function").values():
        entries.setdefault(str(each["name"]), []).append(each)
    stored: dict[str, list[Surveyed]] = {}
    for call in looking(cache.store).survey():
        stored.setdefault(call.call.function, []).append(call)
    return {name: _listed(entries[name], stored.get(name, [])) for name in sorted(entries)}


def _listed(entries: Sequence[Document], surveyed: Sequence[Surveyed]) -> list[ListedVersion]:
    calls: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for each in surveyed:
        version = described(each.call.form).version or "(not kept)"
        calls[version] += 1
        samples[version] += each.samples
    listed: dict[str, ListedVersion] = {}
    for entry in entries:
        roles = {entry.get("previous"): PREVIOUS, entry["latest"]: LATEST}
        for version, noted in entry["versions"].items():
            numbers = calls[version], samples[version]
            listed[version] = ListedVersion(version, *numbers, noted["first"], roles.get(version, ""), noted["parts"])
    unknown = [
        ListedVersion(version, calls[version], samples[version], None, "", {})
        for version in calls.keys() - listed.keys()
    ]
    return [*sorted(listed.values(), key=lambda each: each.first or 0.0), *unknown]
