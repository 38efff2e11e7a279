"""Cache: a store with its codec, and what a user does with it besides drawing."""

from __future__ import annotations

import time
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

from memollm._calls.configuration import configuration, require_name
from memollm._calls.context import reader_name
from memollm._calls.decorator import CachedLlm
from memollm._calls.engines import Place, engine_of, make_engine, shown_place, shown_tier, tier_before
from memollm._drive.settling import closed
from memollm._types.public import public
from memollm._types.secret import veiled
from memollm._upkeep.holdings import Holdings, Namespace, Namespaces, functions_table
from memollm.errors import OptionError, StoreReadOnly
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from datetime import timedelta

    from memollm._calls.door import Door, DoorOptions
    from memollm._calls.typing import Cached, Decorate
    from memollm._draws.engine import Engine
    from memollm._drive.progress import Told
    from memollm._spending.stats import Stats
    from memollm._takeover import Imported
    from memollm._upkeep.doctor import CheckResult
    from memollm._upkeep.exchange import Synced
    from memollm._upkeep.prune import Policy, Pruned
    from memollm._upkeep.similarity import SimilarReport
    from memollm._upkeep.sweep import Swept
    from memollm._upkeep.transfer import Copied, Exported, Loaded
    from memollm._upkeep.verify import Verified
    from memollm.stores.drawing import Drawing

T = TypeVar("T")


def default_cache() -> Cache:
    """Return the cache of functions that name none: the configured one, or the project's."""
    configured = configuration.get("cache")
    return configured if isinstance(configured, Cache) else Cache.of_process(configured)


@public
class Cache:
    """Samples and cursors in one place: a path (SQLite), `"memory:"`, the URL of a server, or a store of your own.

    Before a server there may be a `tier`, which keeps copies of samples near: a folder of this machine, or `"memory:"`;
    `"s3://bucket/prefix"` has the large ones, and the server what refers to them. Nothing is opened before its use.
    """

    def __init__(
        self,
        place: Place | Drawing | None = None,
        *,
        tier: Place | None = None,
        allow_network: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place: str | Drawing | None = fspath(place) if isinstance(place, PathLike) else place
        self._allow_network = allow_network
        # As it is now: what is configured may change, and a path is one of this folder.
        self._tier = tier_before(self._place, tier)
        self._engine = make_engine(self._place, tier=self._tier, allow_network=allow_network, clock=clock)

    @classmethod
    def _reopened(cls, place: str | None, allow_network: bool, tier: str | None = None) -> Self:  # noqa: FBT001 - pickle hands over positions
        """Open the cache of another process in this one, which shares its engine with all that come so."""
        return cls(place, allow_network=True) if allow_network else cls.of_process(place, tier=tier)

    @classmethod
    def of_process(cls, place: Any, *, tier: str | None = None) -> Self:
        """Return the one cache of this process at a place, which functions share that name the place."""
        cache = cls.__new__(cls)
        tier = tier_before(place, tier)
        vars(cache).update(_place=place, _allow_network=False, _tier=tier, _engine=engine_of(place, tier=tier))
        return cache

    def __memollm_engine__(self) -> Engine:
        return self._engine

    def __repr__(self) -> str:
        place = self._place
        if place is None or (isinstance(place, str) and self._engine.path is not None):
            # Where it is, also where that was not said in full.
            place = self._engine.path
        return veiled(f"Cache({shown_place(place)!r}{shown_tier(self._tier)})")

    def __reduce__(self) -> tuple[Any, ...]:
        if self._place == "memory:" or not isinstance(self._place, str | None):
            raise TypeError(f"{self!r} lives in this process alone and cannot be pickled; use a cache on disk.")
        return (Cache._reopened, (self._place, self._allow_network, self._tier))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    def __aexit__(self, kind: type[BaseException] | None, *_: object) -> Coroutine[Any, Any, None]:
        # Whoever is cancelled or interrupted is not to wait for calls.
        return self.aclose() if kind is None or issubclass(kind, Exception) else self.aclose(timeout=0)

    @property
    def store(self) -> Drawing:
        """The store underneath."""
        return self._engine.store

    @property
    def cached_llm(self) -> Decorate:
        """The decorator `cached_llm`, for functions that keep their samples here."""
        return cast("Decorate", CachedLlm(self))

    def door(
        self,
        name: str,
        *,
        version: str | int = "1",
        lease: float | timedelta | str = 600.0,
        **options: Unpack[DoorOptions],
    ) -> Door:
        """Draw without decorating: a door for samples of this name and version, of whatever material they are.

        It takes the options of `cached_llm` that have a meaning there. `lease` is how long a lookup holds its slot for
        an update that may never come.
        """
        from memollm._calls.door import Door

        return Door(self, name, version, lease, options)

    def stats(self, by: str = "function") -> Stats:
        """Tell what was drawn, paid and saved, by "function", "namespace", "run" or "day", over all processes."""
        from memollm._spending.stats import stats_of

        return stats_of(self._engine.counted(), by)

    def _repr_html_(self) -> str:
        return functions_table(looking(self._engine.existing).inventory(), title=f"{self!r}: {self.holds()}")

    def holds(self) -> Holdings:
        """Tell how much is stored, and how much of it this process remembers besides."""
        return Holdings.of(looking(self._engine.existing).inventory(), self._engine.shelf.size())

    def namespaces(self) -> list[Namespace]:
        """List the namespaces that have drawn, by name; printed, they are a table."""
        return Namespaces.of(looking(self._engine.existing).readers(), reader_name(namespace="", run=None))

    def rewind(self, namespace: str) -> None:
        """Set a namespace back to its start: it draws the same samples again."""
        self._require(namespace, done=keeping(self._engine.existing).rewind(reader_name(namespace=namespace, run=None)))

    def drop(self, namespace: str) -> None:
        """Remove a namespace; the samples that it drew stay."""
        self._require(namespace, done=keeping(self._engine.existing).drop(reader_name(namespace=namespace, run=None)))

    def trust(self, key: str) -> None:
        """Read what the owner of another signing key signed: the content of their key file, or their shared secret."""
        self._engine.codec.trust(key)

    def pseudonym(self, secret: str) -> str:
        """Return what may stand for a secret in what is stored: the same for the same, by the user's signing key."""
        return self._engine.codec.pseudonym(secret)

    def register(self, type_: type[T], *, name: str, encode: Callable[[T], object], decode: Callable[[Any], T]) -> None:
        """Store objects of exactly this type as what `encode` makes of them, under a name that stays when it moves."""
        self._engine.codec.register(type_, name=name, encode=encode, decode=decode)

    def adopt(self, name: str, *, to: str | None = None, version: str | None = None, dry_run: bool = False) -> int:
        """Give samples of an older version of a function to its latest, all or nothing; return how many.

        On Redis each call is adopted whole or not at all, one after another; if that is cut short, adopt again.

        `version` says which older one, if not the one before; `to` gives them to a function of another name, after a
        rename. Where both have samples the adopted ones come after, and what a namespace has drawn stays drawn. With
        `dry_run` nothing is changed: it tells how many samples would be adopted.
        """
        from memollm._upkeep.adopt import adopt

        return adopt(self._engine.existing, self._engine.codec, name, to=to, version=version, dry_run=dry_run)

    def prune(
        self,
        *,
        max_bytes: float | str | None = None,
        max_samples: int | None = None,
        older_than: float | str | timedelta | None = None,
        policy: Policy = "lru",
        dry_run: bool = False,
        progress: Told | None = None,
    ) -> Pruned:
        """Remove whole calls until every limit holds, and give their space back to the disk; nothing else ever does.

        With the policy `"lru"` what was used least recently goes first, with `"fifo"` what was made first; the age that
        `older_than` speaks of is counted from that time. `max_bytes` is about samples and arguments as they are stored
        (the file takes somewhat more). A call that somebody is drawing stays, and with `"lru"` one that is used while
        this goes on. Of a call that goes its cursors go too, as with `.forget`: it is drawn anew. `progress` is told
        bytes done and bytes in all, first of what is removed and then of what goes back to the disk.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.prune import limits_of, prune, require_policy

        limits = limits_of(max_bytes=max_bytes, max_samples=max_samples, older_than=older_than)
        require_policy(policy)
        # What this process has used counts before anything goes.
        self._engine.keeper.hand_over()
        store, now = self._engine.existing, self._engine.clock()
        return prune(store, limits, policy=policy, now=now, dry_run=dry_run, told=now_and_then(progress))

    def sweep(
        self,
        *,
        older_than: float | str | timedelta = "7d",
        others: Iterable[Cache] = (),
        dry_run: bool = False,
        progress: Told | None = None,
    ) -> Swept:
        """Clear the bucket of a tier of objects that no sample refers to, from an age of `older_than` on.

        They are set aside first, and go for good with the first sweep that comes `older_than` later. `others` are
        further caches with this bucket. `progress` is told how many samples of how many were looked at.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.sweep import age_of, sweep

        stores, seconds = [self.store, *(each.store for each in others)], age_of(older_than)
        return sweep(stores, seconds=seconds, dry_run=dry_run, told=now_and_then(progress))

    def export(
        self,
        path: Place,
        *,
        function: str | None = None,
        namespace: str | None = None,
        run: str | None = None,
        recording: bool = False,
        progress: Told | None = None,
    ) -> Exported:
        """Write everything, or what is stored of a function, or what a namespace or a run has used, into a file.

        The file's name ends in .jsonl, .jsonl.gz or .jsonl.zst. `run="last"` is the run that began last. `progress` is
        told now and then how many samples of how many were looked at.

        With `recording=True` the file has the samples alone, of all functions, in a form that can be reviewed, edited
        and merged like code: without times, counts, readers and signatures, and so without pickles, which are left out.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.transfer import export, record

        if recording:
            if not function is namespace is run is None:
                raise OptionError("export(recording=True) writes the samples of all functions: leave the parts out.")
            return record(self.store, self._engine.codec, path)
        self._engine.keeper.hand_over()
        told, which = now_and_then(progress), {"function": function, "namespace": namespace, "run": run}
        return self._read_from(lambda store: export(store, path, told=told, **which))

    def _read_from(self, work: Callable[[Drawing], T]) -> T:
        """Work with the store, or with what only reads it where it cannot be written."""
        try:
            return work(self._engine.existing)
        except StoreReadOnly:
            return work(self._engine.reading.store)

    def load(self, path: Place, *, trust: Iterable[str] = (), progress: Told | None = None) -> Loaded:
        """Bring in what a file holds that `export` wrote; what is here already is neither doubled nor reordered.

        Of a recording, samples that name a class are read only if its name fits one of `trust`: "openai.types.*".
        `progress` is told now and then how many samples of how many were brought in.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.transfer import load

        engine = self._engine
        return load(self.store, engine.codec, path, told=now_and_then(progress), trust=trust, now=engine.clock())

    def copy(self, to: Place | Cache, *, progress: Told | None = None) -> Copied:
        """Bring everything into another cache, with all cursors, as if it were exported and loaded there.

        What is there already is neither doubled nor reordered, so whatever ended a copy, the next one completes it.
        Others may draw from both meanwhile. `progress` is told how many samples of how many were looked at.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.transfer import copy

        target = to if isinstance(to, Cache) else Cache(to)
        engine, other = self._engine, target.__memollm_engine__()
        if other.store is self.store or (engine.path is not None and engine.path == other.path):
            raise OptionError(f"{self!r} cannot be copied to itself. Name another cache.")
        try:
            engine.keeper.hand_over()
            told = now_and_then(progress)
            return self._read_from(lambda store: copy(store, other.store, other.codec, shown=repr(self), told=told))
        finally:
            if target is not to:
                target.close()

    def sync(self, *, up: bool = True, down: bool = True, progress: Told | None = None) -> Synced:
        """Exchange samples with the bucket of the cache: receive what others have put there, send what it lacks.

        A program does so by itself when it first draws, now and then, and at its end. Whatever ended it, the next one
        completes it. `progress` is told how many files of how many were read, and then how many were put.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.exchange import exchange_of

        return exchange_of(self.store).sync(up=up, down=down, told=now_and_then(progress))

    def import_from(
        self,
        kind: str,
        path: Place,
        *,
        map: Callable[[Any, Any], Any] | None = None,  # noqa: A002 - the user's word
        function: Callable[..., Any] | None = None,
        name: str | None = None,
        trust: bool = False,
        progress: Told | None = None,
    ) -> Imported:
        """Take over what another cache holds: "diskcache", "langchain", "lm-eval" or "cachesaver".

        `map` is given each old key and value and returns the call, as (function, args, kwargs), or None to leave it
        out; a fourth element takes the value's place. With `function` instead, the key itself holds the arguments;
        `name` is what diskcache's `memoize(name=...)` was given for it.
        Old pickles can run code: they are loaded only with `trust=True`. Samples that are here are not doubled.
        """
        from memollm._drive.progress import now_and_then
        from memollm._takeover import take

        told = now_and_then(progress)
        return take(self._engine, kind, path, map=map, function=function, name=name, trust=trust, told=told)

    def similar_report(
        self,
        function: str | Cached[..., Any, Any, Any] | None = None,
        *,
        same: Callable[[Any, Any], object] | None = None,
        gates: Sequence[str | Callable[[str, str], Any]] | None = None,
        last: int = 10_000,
    ) -> SimilarReport:
        """Replay the calls that shadows looked at, for each threshold; printed, it is a table.

        With the name of a function it is about that one; with the decorated function itself, about the embedder and
        `verify` that it has now. Else there is a table for each embedder: the report is of the one that was used last,
        and `others` has the rest. Two answers agree if `same` says so, or if the texts that people compare are equal.
        `gates` are those by which you mean to lend: all named ones if you say nothing. The `last` so many calls are
        replayed.
        """
        from memollm._calls.similarity import name_and_rule
        from memollm._similar.gates import require_gates
        from memollm._upkeep.similarity import similar_report

        (name, rule), asked, codec = name_and_rule(function), require_gates(gates), self._engine.codec
        return similar_report(self._engine.existing, codec, function=name, rule=rule, same=same, gates=asked, last=last)

    def verify(self, *, repair: bool = False, progress: Told | None = None) -> Verified:
        """Check what is stored: structure, keys, records, signatures, and rows that belong to nothing.

        With `repair`, everything is copied first; then what can be read stays, what cannot be used is moved into a file
        beside the cache, and what belongs to nothing goes. `progress` is told how many samples of how many are checked.
        """
        from memollm._drive.progress import now_and_then
        from memollm._upkeep.verify import verify

        return verify(self.store, self._engine.codec, repair=repair, told=now_and_then(progress))

    def doctor(self) -> list[CheckResult]:
        """Look for what could be wrong with the cache and its place: files, permissions, space, schema, who uses it.

        It changes nothing, reads files, and needs no cache to be there; a finding whose `state` is "wrong" says what to
        do. The samples themselves are checked by `verify`.
        """
        from memollm._upkeep.doctor import doctor

        return doctor(self.store)

    def _require(self, namespace: str, *, done: bool) -> None:
        require_name("namespace", namespace)
        if not done:
            known = ", ".join(repr(known.name) for known in self.namespaces()) or "none"
            raise OptionError(f"{self!r} has no namespace {namespace!r} (it has: {known}).")

    def close(self) -> None:
        """Close the files; functions that use this cache cannot draw any more.

        Calls that nobody waits for any more are stopped; `aclose` waits for them.
        """
        self._engine.close()

    def aclose(self, *, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Wait until calls that nobody waits for any more have ended, so long at most, and close: to be awaited."""
        return closed(self._engine, timeout)
