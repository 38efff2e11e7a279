"""Copy: what one cache holds joins what another does, as if it were exported from the one and loaded into the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memollm._upkeep.transfer.exporting import Choice, Export, snapshot_of
from memollm._upkeep.transfer.loading import UNSOUND, Check, Load, batches
from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memollm._upkeep.transfer.lines import Line
    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing


class Copied(NamedTuple):
    """What a copy found in the one cache and brought into the other."""

    calls: int
    samples: int
    added: int
    """Samples that were not there yet."""
    damaged: int
    """Samples that were left out because their bytes are not what was written, or not there; `verify` says which."""
    untrusted: int
    """Samples that a key unknown here has signed: they were copied, and cannot be read until it is trusted."""


def copy(source: Drawing, target: Drawing, codec: Codec, *, shown: str, told: Callable[[int, int], object]) -> Copied:
    """Copy all that a store holds and that goes on elsewhere, a batch at a time; others go on drawing from both.

    `shown` is what the source is called, and `codec` the target's.
    """
    work, choice = Load(target, codec), Choice(source)
    choice.with_runs = True
    with snapshot_of(source) as snapshot:
        export = Export(choice, snapshot, told)
        for batch in batches(_checked(export.lines(), shown)):
            work.put(batch)
    export.reach.warn()
    return Copied(work.calls, work.samples, work.added, export.damaged, work.untrusted)


def _checked(lines: Iterable[Line], shown: str) -> Iterator[Line]:
    """Let nothing pass that a file could not hold: it would make the other cache as unsound as this one."""
    check = Check(Path())
    for line in lines:
        try:
            check.require_whole(line)
        except UNSOUND as error:
            raise StoreRefused(
                f"{shown} holds what memollm has not written: {error}. Repair it with memollm verify --repair, and "
                "copy again: what was copied so far stays, and counts once."
            ) from error
        yield line
