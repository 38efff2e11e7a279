"""The rule of similar calls: exact first, then the nearest that differs in the text alone and agrees in the rest.

As in drawing, the rule is a generator: it yields what takes its time, and a driver does it in its own colour. Nothing
that goes wrong here keeps a call from being made: that is told as a warning, once, and the function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from memollm._keys.rekeying import as_version
from memollm._similar.gates import ReadText, name_of, passed
from memollm._types.samples import EVER, Lent
from memollm._types.warn import warn
from memollm.errors import MemollmWarning, OptionError, RecordError, StoreError, UntrustedRecord
from memollm.stores.matching import StoredMatch, StoredVector, VectorSpace, matching, parted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm._draws.plan import Plan
    from memollm._similar.options import Similar
    from memollm._types.calls import Call
    from memollm._types.samples import Sample

COMPARED: Final = 50
"""How many of the nearest texts are looked at; those that a gate keeps out may be nearer than what is wanted."""
VERIFIED: Final = 3
"""How many of those that the gates let pass are shown to `verify`, which is paid for."""
REMEMBERED: Final = 1000
"""Of how many calls a process remembers that their embedding failed, and of how many pairs that they passed."""
FLOOR: Final = 0.5
"""The cosine from which on a shadow is noted, where no threshold is said."""


class Memo(Protocol):
    """A user's function whose results are memoized."""

    is_async: bool

    @property
    def identity(self) -> str:
        """Its name and its version, as they are now."""
        ...

    def call(self, *arguments: str) -> Any:
        """Call it, or give what it returned before."""
        ...

    def call_async(self, *arguments: str) -> Any:
        """Do so in a task, to be awaited."""
        ...


class AskUser(NamedTuple):
    """To do: ask a user's function."""

    memo: Memo
    arguments: tuple[str, ...]


class SearchWork(NamedTuple):
    """To do: what may wait for a disk, or compute for some milliseconds."""

    work: Callable[[], Any]


Search = Generator[AskUser | SearchWork, Any, "Lent | None"]


def rule_of(embed: Memo, verify: Memo | None) -> str:
    """Say by what similar calls are found."""
    return embed.identity if verify is None else f"{embed.identity} {verify.identity}"


class Matcher:
    """Finds the similar calls of one function, for one plan."""

    def __init__(self, plan: Plan, similar: Similar, embed: Memo, verify: Memo | None) -> None:
        self._plan = plan
        self._similar = similar
        self._embed = embed
        self._verify = verify
        self._warned: set[str] = set()
        self._failed: dict[Call, str] = {}
        """Calls whose texts could not be embedded, to be tried again."""
        self._passed: set[tuple[bytes, bytes]] = set()
        """The keys of calls whose texts have passed the gates that are ours."""

    @property
    def _rule(self) -> str:
        """By what a match was found: one that was found by something else is none any more."""
        return rule_of(self._embed, self._verify)

    def takes(self, lent: Lent) -> bool:
        """Tell whether this would have lent the same: it was found by what the user has said here, too."""
        by = lent.by
        return isinstance(by, Matcher) and by._similar is self._similar and by._rule == self._rule  # noqa: SLF001 - one of these

    # What was found before.

    def known(self, call: Call, newer_than: float) -> Lent | None:
        """Return what a call was given before, as long as all that was said then holds."""
        if self._similar.shadow:
            return None
        kept = matching(self._plan.engine.store)
        try:
            asked = self._asked(call)
            matches = (kept.match_of(version) for version in asked.versions)
            found = (self._still(asked, match, newer_than) for match in matches if match is not None)
            return next((lent for lent in found if lent is not None), None)
        except StoreError as error:
            self._warn("its vectors cannot be read", error)
            return None

    def _still(self, asked: _Asked, match: StoredMatch, newer_than: float) -> Lent | None:
        """Return what a match has lent, if that would be lent now, too."""
        if match.rule != self._rule or match.parameter != self._similar.text:
            return None
        if match.score < (self._similar.threshold or 0.0):
            return None
        return self._lent(asked, match.of, match.score, newer_than)

    def _asked(self, call: Call) -> _Asked:
        """Part a call, and the same call of older code whose samples are used, too."""
        versions = [call, *self._older(call)]
        parts = [parted(version.form, self._similar.text) for version in versions]
        text = parts[0][0]
        return _Asked(call, None if text is None else ReadText(text), versions, {others for _, others in parts})

    def _older(self, call: Call) -> Iterator[Call]:
        """Give the same call as older code made it, where its samples are used; the oldest first."""
        for version, keyers in self._plan.older.values():
            for keyer in keyers:
                older = None if keyer.answers is None else as_version(call, keyer.answers)
                if older is not None and as_version(older, version) == call:
                    yield older

    def _lent(self, asked: _Asked, of: Call, score: float, newer_than: float) -> Lent | None:
        """Return what a call may be given of another, if they agree in all else and it has a sample that counts."""
        try:
            text, others = parted(of.form, self._similar.text)
        except ValueError:
            # Whoever has written it, it is no call of ours.
            return None
        if asked.text is None or text is None or others not in asked.others:
            return None
        sample = self._sample(of, newer_than)
        agreed = None if sample is None else self._agreed(asked.text, text, (asked.call.key, of.key))
        if sample is None or agreed is None:
            return None
        return Lent(sample, of, asked.call, score, (asked.text.text, text), agreed, self)

    def _agreed(self, asked: ReadText, stored: str, keys: tuple[bytes, bytes]) -> tuple[str, ...] | None:
        """Return the gates that two texts have passed; one that raises is closed.

        What ours have said of the texts of two calls is remembered; the user's are asked each time.
        """
        every = tuple(self._similar.gates)
        asking = (gate for gate in every if not (isinstance(gate, str) and keys in self._passed))
        try:
            if passed(asking, asked, stored) is None:
                return None
        except Exception as error:  # noqa: BLE001 - the user's function; the call is made all the same
            self._warn("a gate of gates= raised", error)
            return None
        if len(self._passed) >= REMEMBERED:
            self._passed.clear()
        self._passed.add(keys)
        return tuple(map(name_of, every))

    def _sample(self, call: Call, newer_than: float) -> Sample | None:
        """Return the sample of a call if it counts and can be read."""
        engine = self._plan.engine
        sample = engine.store.peek(call, [0]).get(0)
        if sample is None or sample.stored <= newer_than:
            return None
        try:
            engine.codec.decode(sample.record, call.key)
        except UntrustedRecord as error:
            self._warn("the sample of a similar call is not trusted", error)
            return None
        except RecordError:
            return None
        return sample

    # SearchWork.

    def search(self, call: Call, text: object) -> Search:
        """Find a similar call for one that has no sample, and note it; else let this one be found by others."""
        if not isinstance(text, str):
            raise OptionError(
                f"similar= of {self._plan.name}: {self._similar.text} is a {type(text).__qualname__} in this call, and "
                "similarity compares texts. Give a text there, or leave similar= out."
            )
        # A store that keeps no vectors is the user's mistake, and not one that a warning would be for.
        matching(self._plan.engine.store)
        try:
            return (yield from self._search(call, text))
        except MemollmWarning:
            # Where warnings are errors, ours is one.
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the call is made all the same
            self._warn("its vectors cannot be used now", error)
        return None

    def _search(self, call: Call, text: str) -> Search:
        who = self._embed.identity
        try:
            vector = yield AskUser(self._embed, (text,))
        except Exception as error:  # noqa: BLE001 - the user's function; the call is made all the same
            self._warn("embed= raised", error)
            if len(self._failed) < REMEMBERED:
                self._failed[call] = text
            return None
        if self._embed.identity != who:
            # What it reads has changed meanwhile, so nobody can say whose vector this is.
            return None
        here = _Sought(call, VectorSpace(f"{who} {len(vector)}", self._similar.text), vector)
        yield from self._try_again(here, who)
        found: list[Lent] = [] if self._plan.refreshes else (yield SearchWork(lambda: self._near(here)))
        for lent in found:
            agreed = yield from self._verified(*lent.texts)
            if agreed:
                yield SearchWork(lambda lent=lent: self._note(lent))  # type: ignore[misc]
                if not self._similar.shadow:
                    return lent
                break
        # Before the call is made: whoever dies in it leaves nothing that a later call would not find.
        yield SearchWork(lambda: self._learn(here))
        return None

    def _try_again(self, here: _Sought, who: str) -> Search:
        """Embed a text whose embedding failed before, of a call that this one may be compared with; once."""
        if not self._failed:
            return None
        others = self._asked(here.call).others
        waiting = (call for call in [*self._failed] if parted(call.form, self._similar.text)[1] in others)
        call = next(waiting, None)
        text = None if call is None else self._failed.pop(call, None)
        if call is None or text is None or call == here.call:
            return None
        try:
            vector = yield AskUser(self._embed, (text,))
        except Exception:  # noqa: BLE001 - it was told of the first time, and index_similar tries it again
            return None
        if self._embed.identity == who:
            space = here.space._replace(embedder=f"{who} {len(vector)}")
            yield SearchWork(partial(self._learn, _Sought(call, space, vector)))
        return None

    def _near(self, here: _Sought) -> list[Lent]:
        """List what may be given, the most similar first."""
        from memollm._similar.vectors import blocks_of

        engine, newer_than = self._plan.engine, self._plan.newer_than() if self._plan.ages else EVER
        asked = self._asked(here.call)
        least = FLOOR if self._similar.threshold is None else self._similar.threshold
        most = VERIFIED if self._verify is not None else 1
        nearest = [
            (near, space)
            for space in (here.space.digest(version.form) for version in asked.versions)
            for near in blocks_of(engine).current(engine, space, len(here.vector)).nearest(here.vector, least, COMPARED)
        ]
        found: list[Lent] = []
        for near, space in sorted(nearest, key=lambda each: -each[0].score)[:COMPARED]:
            of = matching(engine.store).calls_of(space, [near.number]).get(near.number)
            lent = None if of is None or of in asked.versions else self._lent(asked, of, near.score, newer_than)
            if lent is not None:
                found.append(lent)
            if len(found) == most:
                break
        return found

    def _verified(self, asked: str, stored: str) -> Generator[AskUser, Any, bool]:
        if self._verify is None:
            return True
        try:
            return bool((yield AskUser(self._verify, (asked, stored))))
        except Exception as error:  # noqa: BLE001 - the user's function; the call is made all the same
            self._warn("verify= raised", error)
            return False

    def _learn(self, here: _Sought) -> None:
        matching(self._plan.engine.store).learn(StoredVector(here.call, here.space, here.vector.tobytes()))

    def _note(self, lent: Lent) -> None:
        engine, similar = self._plan.engine, self._similar
        match = StoredMatch(
            lent.asked, lent.of, similar.text, lent.score, self._rule, engine.clock(), shadow=similar.shadow
        )
        matching(engine.store).note(match)

    # Telling the user.

    def _warn(self, what: str, error: Exception) -> None:
        """Warn once for each reason that a call is made as if nothing were similar."""
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        told = f"No similar call is looked for: {what} for {self._plan.name} ({reason}). The function is called."
        kind = f"{what} {type(error).__name__}"
        if kind not in self._warned:
            self._warned.add(kind)
            warn(told, MemollmWarning)


class _Asked(NamedTuple):
    """A call that was asked for, as it is compared with others."""

    call: Call
    text: ReadText | None
    versions: list[Call]
    """The same call, first of the code that runs, then of older code."""
    others: set[str]
    """What may stand beside the text in a call that lends."""


class _Sought(NamedTuple):
    """The call that was asked for, and its vector."""

    call: Call
    space: VectorSpace
    vector: Any
