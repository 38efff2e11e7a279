"""What draws leave behind, as a PostgreSQL server is told of it: columns of values, in one statement."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from memollm._types.counting import Account, Counts
from memollm.stores.transcripts import once_each, reader_of, runner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import DrawnStretch, Use

NAMES = (*Account._fields, *Counts._fields)


def counted(counts: Mapping[Account, Counts]) -> str:
    """Write counts as rows of the table; numbers are texts, so that none is changed on its way."""
    rows = [dict(zip(NAMES, map(str, (*account, *of)), strict=True)) for account, of in counts.items()]
    return msgspec.json.encode(rows).decode()


def used(uses: Sequence[Use]) -> list[list[Any]]:
    """Write which calls were used: by which run, which slots, and when."""
    rows = [(use.run, *_known_by(use.call), use.first, use.last, float(use.at)) for use in uses]
    return _columns(rows, 6)


def given(drawn: Iterable[DrawnStretch]) -> list[list[Any]]:
    """Write what runs were given: as whom, of which calls, which slots, in which lane, and when."""
    rows = [
        (runner_of(each), reader_of(each), *_known_by(each.call), each.first, each.last, each.lane, float(each.at))
        for each in once_each(drawn)
    ]
    return _columns(rows, 8)


def _known_by(call: Call) -> tuple[bytes, bytes]:
    """Return what finds a call; its form may be long, and need not be sent."""
    return call.key, sha256(call.form.encode("utf-8", "surrogatepass")).digest()


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[nth] for row in rows] for nth in range(width)]
