"""What shadows have looked at, read back to be replayed: the calls that were made, their vectors and their answers."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._keys.rekeying import as_version, function_in
from memollm._types.warn import warn
from memollm._upkeep.answers import answer_text
from memollm.errors import MemollmWarning, OptionError, RecordError
from memollm.stores.looking import looking
from memollm.stores.matching import VectorSpace, every_vector, matching, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memollm._similar.gates import Gate
    from memollm._similar.replay import Replayed, ShadowedCalls
    from memollm._types.calls import Call
    from memollm.stores.drawing import Drawing
    from memollm.stores.matching import Matching, StoredMatch

    Same = Callable[[Any, Any], object]
    Read = Callable[[bytes, bytes], Any]
    Versions = Mapping[tuple[str, str], frozenset[str]]

LATEST: Final = 10_000
"""How many calls are replayed if nobody says."""
STEPS: Final = 100
"""Thresholds are told in hundredths,"""
FINE: Final = 29
"""of which so many of the highest are told each, and below every other one, where they are more than are replayed."""
ROUNDING: Final = 1e-6
SHORT: Final = 12
"""How much of a version is told."""


class Looked(NamedTuple):
    """A call that was made while a shadow looked."""

    number: int
    """In the order of making."""
    text: str
    vector: bytes
    answer: Any


class Partition(NamedTuple):
    """Calls that differ in one text alone, in the order of making; what verified them was of this name and version."""

    calls: tuple[Looked, ...]
    verify: tuple[str, str] | None


class ShadowReplay(NamedTuple):
    """What was replayed of the calls of one embedder, and what each threshold would have done, the highest first."""

    lines: tuple[Replayed, ...] = ()
    calls: int = 0
    left_out: int = 0
    """Calls before those."""
    unanswered: int = 0
    """Calls whose answers are not stored, or cannot be read."""
    by: str = ""
    """The embedder, and `verify`."""


class Compare(NamedTuple):
    """How calls are compared in a replay."""

    read: Read
    """Makes of a record and its key the answer that is compared."""
    says_yes: Callable[[bytes, bytes], bool]
    """Tells of a record of `verify` and its key what it means."""
    gates: Sequence[str | Gate]
    same: Same | None = None


def replayed(
    store: Drawing, matches: Sequence[StoredMatch], compare: Compare, *, latest: int, rule: str | None = None
) -> list[ShadowReplay]:
    """Replay the latest calls of the partitions in which a shadow has noted anything.

    Vectors of two embedders never meet, so the calls of each are replayed by themselves; the one that was used last
    comes first. With a rule it is that one alone.
    """
    shadows = [match for match in matches if match.shadow and rule in {None, match.rule}]
    if not shadows:
        return []
    compare = compare._replace(gates=_closed_where_they_raise(compare.gates))
    reader = _ShadowReader(store, compare.read, _given_versions(matches))
    return [_replayed(store, found, compare, latest) for found in reader.found(shadows)]


def _replayed(store: Drawing, found: _Found, compare: Compare, latest: int) -> ShadowReplay:
    try:
        from memollm._similar.replay import replay
    except ImportError as error:
        raise OptionError(
            "A report replays the calls by NumPy, which is not installed: pip install 'memollm[similar]'."
        ) from error
    partitions = [*found.partitions.values()]
    begin = _begin(partitions, latest)
    levels = [hundredth / STEPS for hundredth in _hundredths(found.lowest)]
    lines: list[Replayed] | None = None
    calls = 0
    for partition in partitions:
        kept = tuple(call for call in partition.calls if call.number >= begin)
        calls += len(kept)
        verdicts = None if partition.verify is None else _verdicts(store, partition.verify, compare.says_yes)
        more = replay(_course(kept, compare.same, verdicts), compare.gates, levels) if kept else None
        lines = more if lines is None or more is None else [*map(_sum, lines, more)]
    whole = sum(len(partition.calls) for partition in partitions)
    return ShadowReplay(tuple(reversed(lines or ())), calls, whole - calls, found.unanswered, found.by)


def _closed_where_they_raise(gates: Sequence[str | Gate]) -> list[str | Gate]:
    """Return gates of which the user's are closed where they raise, as where they keep from lending; told once."""
    told = set[str]()

    def guarded(gate: Gate) -> Gate:
        def is_open(asked: str, stored: str) -> object:
            try:
                return bool(gate(asked, stored))
            except Exception as error:  # noqa: BLE001 - the user's function
                kind = type(error).__name__
                if kind not in told:
                    told.add(kind)
                    warn(f"A gate of gates= raised ({kind}: {error}). It is closed wherever it does.", MemollmWarning)
                return False

        return is_open

    return [gate if isinstance(gate, str) else guarded(gate) for gate in gates]


def _sum(one: Replayed, other: Replayed) -> Replayed:
    lent, agreed, squares, unknown = map(sum, zip(one[1:], other[1:], strict=True))
    return one._replace(lent=lent, agreed=agreed, squares=squares, unknown=unknown)


def _begin(partitions: Sequence[Partition], latest: int) -> int:
    """Return the number of the first call that counts."""
    numbers = sorted(call.number for partition in partitions for call in partition.calls)
    return numbers[-latest] if len(numbers) > latest else 0


def _hundredths(lowest: float) -> list[int]:
    every = range(max(1, int(lowest * STEPS + ROUNDING)), STEPS + 1)
    return [each for each in every if len(every) <= 2 * FINE or each > STEPS - FINE or each % 2 == 0]


class _Found(NamedTuple):
    """What was found of one embedder and `verify`."""

    by: str
    lowest: float
    """The lowest score of a match."""
    partitions: dict[tuple[bytes, ...], Partition]
    unanswered: int = 0


def _lowest(shadows: Sequence[StoredMatch], rule: str) -> float:
    return min(match.score for match in shadows if match.rule == rule)


def _named(embedder: str, verify: tuple[str, str] | None) -> str:
    """Name an embedder, and what verified its findings, as people read it."""
    whole, _, length = embedder.rpartition(" ")
    try:
        name, version = json.loads(whole)
    except (ValueError, TypeError):
        name, version = whole, ""
    told = f"{name} (version {version[:SHORT]}, {length} numbers)" if version else f"{name} ({length} numbers)"
    return told if verify is None else f"{told} with verify={verify[0]} (version {verify[1][:SHORT]})"


def _given_versions(matches: Sequence[StoredMatch]) -> Versions:
    """Tell of each version of a function's code which other versions' samples are given to its calls (`on_change`)."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for match in matches:
        versions = {_version(call) for call in (match.call, match.of)} - {None}
        if len(versions) > 1:
            name = match.call.function
            whole = frozenset[str]().union(*(found.get((name, str(each)), {str(each)}) for each in versions))
            found.update({(name, each): whole for each in whole})
    return found


def _version(call: Call) -> str | None:
    found = function_in(call.form)
    return None if found is None else str(found[0]["version"])


class _ShadowReader:
    """Reads what is stored of the calls that shadows have looked at."""

    def __init__(self, store: Drawing, read: Read, given: Versions) -> None:
        self._store = store
        self._kept: Matching = matching(store)
        self._read = read
        self._given = given

    def found(self, shadows: Sequence[StoredMatch]) -> list[_Found]:
        """Read the partitions to which matches belong, each once; by embedders, the latest first."""
        seen: set[tuple[str, str, str]] = set()
        found: dict[tuple[str, tuple[str, str] | None], _Found] = {}
        for match in reversed(shadows):
            try:
                kind = match.rule, match.parameter, parted(match.call.form, match.parameter)[1]
            except ValueError:
                continue
            if kind in seen:
                continue
            seen.add(kind)
            embedder, verify = _identities(match.rule)
            for space in self._spaces(match, embedder):
                by = space.embedder, verify
                one = found.setdefault(by, _Found(_named(*by), _lowest(shadows, match.rule), {}))
                digests = self._digests(match.call, space)
                if digests not in one.partitions:
                    calls, without = self._calls_of(digests, match.parameter)
                    one.partitions[digests] = Partition(calls, verify)
                    found[by] = one._replace(unanswered=one.unanswered + without)
        return [*found.values()]

    def _digests(self, call: Call, space: VectorSpace) -> tuple[bytes, ...]:
        """Name the spaces in which a call is looked for: its own, and those of versions whose samples it is given."""
        versions = self._given.get((call.function, _version(call) or ""), frozenset())
        others = (as_version(call, version) for version in versions)
        forms = {call.form, *(other.form for other in others if other is not None)}
        return tuple(sorted({space.digest(form) for form in forms}))

    def _spaces(self, match: StoredMatch, embedder: str) -> Iterator[VectorSpace]:
        """Give the spaces of a call that are of the embedder which found it: they say how long its vectors are."""
        for kept in self._kept.vectors_of(match.call):
            if kept.space.parameter == match.parameter and kept.space.embedder.rpartition(" ")[0] == embedder:
                yield kept.space

    def _calls_of(self, digests: Sequence[bytes], parameter: str) -> tuple[tuple[Looked, ...], int]:
        """Read the calls of several spaces as one, in the order of making: each text once."""
        read = [self._calls(digest, parameter) for digest in digests]
        texts: dict[str, Looked] = {}
        for call in sorted((call for calls, _ in read for call in calls), key=lambda call: call.number):
            texts.setdefault(call.text, call)
        return (*texts.values(),), sum(without for _, without in read)

    def _calls(self, digest: bytes, parameter: str) -> tuple[tuple[Looked, ...], int]:
        calls: list[Looked] = []
        rows = [*every_vector(self._kept, digest)]
        whose = self._kept.calls_of(digest, [number for number, _ in rows])
        width = max((len(vector) for _, vector in rows), default=0)
        for number, vector in rows:
            call = whose.get(number)
            answer = None if call is None or len(vector) != width else self._answer(call)
            if call is not None and answer is not None:
                calls.append(Looked(number, _text(call, parameter), vector, answer[0]))
        return tuple(calls), len(rows) - len(calls)

    def _answer(self, call: Call) -> tuple[Any] | None:
        return answer_of(self._store, call, self._read)


def answer_of(store: Drawing, call: Call, read: Read) -> tuple[Any] | None:
    """Read the answer of a call, where it is stored and can be read."""
    sample = store.peek(call, [0]).get(0)
    if sample is None:
        return None
    try:
        return (read(sample.record, call.key),)
    except RecordError:
        return None


def _text(call: Call, parameter: str) -> str:
    try:
        return parted(call.form, parameter)[0] or ""
    except ValueError:
        return ""


def _identities(rule: str) -> tuple[str, tuple[str, str] | None]:
    """Part a rule into the embedder, as spaces name it, and the name and version of `verify`."""
    decoder = json.JSONDecoder()
    try:
        _, end = decoder.raw_decode(rule)
        rest = rule[end:].strip()
        verify = cast("list[str]", json.loads(rest)) if rest else None
        return rule[:end], None if verify is None else (verify[0], verify[1])
    except (ValueError, TypeError, IndexError):
        return rule, None


# Whether answers agree, and what `verify` said.


def _course(
    calls: Sequence[Looked], same: Same | None, verdicts: Mapping[frozenset[str], bool | None] | None
) -> ShadowedCalls:
    import numpy as np

    from memollm._similar.replay import ShadowedCalls

    vectors = np.frombuffer(b"".join(call.vector for call in calls), np.float32).reshape(len(calls), -1)
    texts = [call.text for call in calls]

    def verified(one: int, other: int) -> bool | None:
        return None if verdicts is None else verdicts.get(frozenset((texts[one], texts[other])))

    return ShadowedCalls(texts, vectors, _agreement(calls, same), None if verdicts is None else verified)


def _agreement(calls: Sequence[Looked], same: Same | None) -> Callable[[int, int], bool]:
    if same is None:
        answers = [answer_text(call.answer) for call in calls]
        return lambda one, other: answers[one] == answers[other]
    known: dict[tuple[int, int], bool] = {}

    def agree(one: int, other: int) -> bool:
        if (one, other) not in known:
            known[one, other] = bool(same(calls[one].answer, calls[other].answer))
        return known[one, other]

    return agree


def _verdicts(
    store: Drawing, verify: tuple[str, str], says_yes: Callable[[bytes, bytes], bool]
) -> dict[frozenset[str], bool | None]:
    """Read what `verify` has said of two texts. Its order is not known, so that two that contradict are unknown."""
    name, version = verify
    found: dict[frozenset[str], set[bool]] = defaultdict(set)
    for stored in looking(store).calls(name):
        texts = _texts_of(stored.call.form, {version, f"version:{version}"})
        answer = None if texts is None else answer_of(store, stored.call, says_yes)
        if texts is not None and answer is not None:
            found[texts].add(answer[0])
    return {texts: said.pop() if len(said) == 1 else None for texts, said in found.items()}


def _texts_of(form: str, versions: set[str]) -> frozenset[str] | None:
    """Return the two texts that a call of `verify` was asked about."""
    try:
        call: Any = json.loads(form)
        if call["function"]["version"] not in versions:
            return None
        arguments: Any = call["arguments"]
        given = arguments["material"]["!tuple"] if "material" in arguments else [*arguments.values()]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = [each for each in given if isinstance(each, str)]
    return frozenset(texts) if len(texts) == len(given) == 2 else None  # noqa: PLR2004 - of two texts
