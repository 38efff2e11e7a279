"""The runs that a cache knows: when each began, by which program, and what it drew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._spending.stats import grouped
from memollm._types.calls import RUNS
from memollm._types.counting import Counts
from memollm._types.tables import counted
from memollm.errors import OptionError
from memollm.stores.documents import notes_of
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from memollm._cache import Cache

LAST: Final = "last"
SHORT: Final = 10
"""How much of a run's id is shown where there is little room."""


class KnownRun(NamedTuple):
    """A run of a program."""

    id: str
    first: float | None
    """When it drew first; None where nobody has noted it."""
    program: str
    counts: Counts


def known_runs(cache: Cache) -> list[KnownRun]:
    """List the runs, the latest first."""
    store = cache.store
    notes, sums = notes_of(store, "run"), dict(grouped(looking(store).counted(), "run"))
    readers = (each.name.removeprefix(RUNS) for each in looking(store).readers() if each.name.startswith(RUNS))
    runs = [
        KnownRun(run, notes.get(run, {}).get("first"), notes.get(run, {}).get("program", ""), sums.get(run, Counts()))
        for run in {*notes, *sums, *readers}
        if run
    ]
    return sorted(runs, key=lambda run: (-(run.first or 0.0), run.id))


def find_run(cache: Cache, beginning: str) -> KnownRun:
    """Find a run by the beginning of its id, or the last one."""
    runs = known_runs(cache)
    if not runs:
        raise OptionError("the cache knows no run yet. Draw something first.")
    if beginning == LAST:
        return runs[0]
    found = [run for run in runs if run.id == beginning] or [run for run in runs if run.id.startswith(beginning)]
    if len(found) > 1:
        raise OptionError(f"{beginning!r} begins the ids of {counted(len(found), 'run')}. Give more of it.")
    if not found:
        raise OptionError(f"the cache knows no run {beginning!r}. `memollm runs` lists them.")
    return found[0]
