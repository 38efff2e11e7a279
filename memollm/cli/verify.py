"""The command that checks what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from memollm.cli._opening import existing_cache
from memollm.cli._options import command, json_option
from memollm.cli._output import progress, say, show_json

if TYPE_CHECKING:
    from memollm._upkeep.verify import Verified


@command("verify")
@click.option("--repair", is_flag=True, help="Copy everything, then keep all that can be read and mend the rest.")
@json_option
def verify(*, repair: bool, as_json: bool) -> int:
    """Check everything that is stored, and repair it.

    Structure, keys against canonical forms, records, signatures, and rows that belong to nothing. The exit code is 1
    where something is wrong. A repair moves what cannot stay into a file beside the cache, and says what was lost.
    """
    with existing_cache() as cache, progress("Checking") as told:
        found = cache.verify(repair=repair, progress=told)
    if as_json:
        show_json(_document(found))
    else:
        say(str(found))
    return 0 if found.ok else 1


def _document(found: Verified) -> dict[str, object]:
    repaired = found.repaired
    return {
        "ok": found.ok,
        "calls": found.calls,
        "samples": found.samples,
        "untrusted": found.untrusted,
        "newer": found.newer,
        **found.kept._asdict(),
        "faults": [fault._asdict() for fault in found.faults],
        "repaired": repaired
        and {
            "backup": str(repaired.backup),
            "aside": repaired.aside and str(repaired.aside),
            "moved": repaired.moved,
            "lost": repaired.lost,
            "remaining": [fault._asdict() for fault in repaired.remaining],
        },
    }
