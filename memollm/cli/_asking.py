"""Asking before something is done that cannot be taken back."""

from __future__ import annotations

import sys

from memollm.cli._output import note
from memollm.errors import OptionError, printable


def agreed(question: str, *, yes: bool) -> bool:
    """Ask the user, unless `--yes` has answered; where nobody can answer, that is an error."""
    if yes:
        return True
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        note("")
        raise OptionError("nobody answered, so nothing was changed. Say --yes to go ahead without being asked.")
    if answer.strip().lower() in {"y", "yes"}:
        return True
    note("Nothing was changed.")
    return False
