"""What a memory store lists of itself."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from memollm._types.calls import Call, Place, recorder
from memollm._types.listings import Item, ListedReader, ReaderOfCall, Standing, Stored, Surveyed
from memollm.stores.claims import TellsClaims
from memollm.stores.looking import Looking, mentions
from memollm.stores.memory.content import MemoryContent, MemoryCursor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._types.counting import Account, Counts
    from memollm._types.samples import Sample
    from memollm.stores.looking import Document


class MemoryLooking(Looking, TellsClaims):
    """Lists, under the store's lock."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call."""
        content = self._content
        with content.lock:
            cursor = content.cursors.get(reader, {}).get(call, MemoryCursor())
            recorded = content.recorded.get((recorder(reader), call), {})
            return Standing(cursor.next, frozenset(cursor.loose), dict(recorded))

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function."""
        with self._content.lock:
            samples = self._content.samples
            # What was only lent to is stored as well: its match goes where it goes.
            known = dict.fromkeys([*samples, *self._content.vectors.calls()])
            return [Stored(call, len(samples.get(call) or ())) for call in known if call.function == function]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List the calls that have samples."""
        content = self._content
        with content.lock:
            listed = [
                _surveyed(call, [*samples.values()], content.used.get(call, 0.0))
                for call, samples in content.samples.items()
                if samples and function in {None, call.function} and (text is None or mentions(call.form, text))
            ]
        return sorted(listed, key=lambda each: each.made)

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call."""
        with self._content.lock:
            return [
                ReaderOfCall(reader, cursor.next - len(cursor.loose), self._lanes(reader, call, cursor))
                for reader, cursors in sorted(self._content.cursors.items())
                if (cursor := cursors.get(call)) is not None
            ]

    def _lanes(self, reader: str, call: Call, cursor: MemoryCursor) -> tuple[str, ...]:
        recorded = self._content.recorded.get((recorder(reader), call), {})
        given = {lane for at, lane in recorded.items() if at < cursor.next and at not in cursor.loose}
        return tuple(sorted(given))

    def readers(self) -> list[ListedReader]:
        """List the readers."""
        with self._content.lock:
            return [
                ListedReader(name, len(cursors), sum(cursor.next - len(cursor.loose) for cursor in cursors.values()))
                for name, cursors in sorted(self._content.cursors.items())
            ]

    def inventory(self) -> list[Item]:
        """List every call that has samples."""
        with self._content.lock:
            # Not in the order of answering, which would decide what goes first of calls that are equally old.
            stored = sorted(self._content.samples.items(), key=lambda entry: entry[0].key)
            return [self._item(call, samples) for call, samples in stored if samples]

    def _item(self, call: Call, samples: dict[int, Sample]) -> Item:
        size = len(call.form.encode()) + sum(len(sample.record) for sample in samples.values())
        made = min(sample.stored for sample in samples.values())
        return Item(call, call.function, len(samples), size, made, last_used(self._content, call))

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        with self._content.lock:
            return dict(sorted(self._content.counts.items()))

    def claims(self) -> list[Place]:
        """List the slots that somebody is filling."""
        with self._content.lock:
            return [place for place in self._content.claims if self._content.is_claimed(place)]

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Copy documents of the catalog."""
        with self._content.lock:
            documents = sorted(self._content.catalog.get(kind, {}).items())
            return copy.deepcopy({each: document for each, document in documents if name in {None, each}})


def last_used(content: MemoryContent, call: Call) -> float:
    """Tell when a call was last used, or a sample of it stored."""
    return max([content.used.get(call, 0.0), *(sample.stored for sample in content.samples[call].values())])


def _surveyed(call: Call, samples: Sequence[Sample], used: float) -> Surveyed:
    """Sum up the samples of a call, of which there is one at least."""
    costs = [sample.cost for sample in samples if sample.cost is not None]
    return Surveyed(
        call,
        len(samples),
        bytes=len(call.form.encode()) + sum(len(sample.record) for sample in samples),
        made=min(sample.stored for sample in samples),
        used=max(used, *(sample.stored for sample in samples)),
        seconds=sum(sample.seconds for sample in samples),
        input_tokens=sum(sample.input_tokens for sample in samples),
        output_tokens=sum(sample.output_tokens for sample in samples),
        cost=sum(costs) if costs else None,
    )
