"""Looking into a SQLite store, by whatever gives rows: the connections of who writes, or of who only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memollm._types.calls import Call, Place, recorder
from memollm._types.counting import Account, Counts, DrawnStretch
from memollm._types.listings import Standing
from memollm._types.samples import MOST, NUMBERS, Sample, cleaned
from memollm.stores.claims import TellsClaims
from memollm.stores.lists import StoredLists
from memollm.stores.sqlite.catalog import documents_of
from memollm.stores.sqlite.files import Files
from memollm.stores.sqlite.owner_locks import is_alive
from memollm.stores.sqlite.sql import statements
from memollm.stores.transcripts import Transcribed, sought, stretches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from memollm.stores.looking import Document

FAR: Final = 4
"""How many slots per wanted one are read along with a run before reading each by itself is the less work."""
LAST_SLOT: Final = 1 << 62


class SqliteLooking(StoredLists, TellsClaims, Transcribed):
    """Makes lists of rows."""

    def __init__(self, rows: Callable[..., list[Any]], database: Path) -> None:
        """`rows` runs a statement by its name, with its values."""
        super().__init__(rows)
        self._database = database

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call."""
        ahead, loose, lanes = 0, set[int](), dict[int, str]()
        for kind, at, lane in self._rows("standing", reader, recorder(reader), call.key, call.form):
            if kind == "next":
                ahead = at
            elif lane is None:
                loose.add(at)
            else:
                lanes[at] = lane
        return Standing(ahead, frozenset(loose), lanes)

    def transcript(self, *, run: str | None, namespace: str | None, lane: str | None) -> list[DrawnStretch]:
        """List what was given, in the order of asking."""
        return stretches_of(self._rows("transcript", *sought(run, namespace), lane), namespace)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return counted(self._rows("counted"))

    def claims(self) -> list[Place]:
        """List the slots that somebody alive is filling."""
        rows = self._rows("claims")
        alive = {owner for owner in {row[-1] for row in rows} if self._lives(owner)}
        return [Place(Call(key, form, name), slot) for key, form, name, slot, owner in rows if owner in alive]

    def _lives(self, owner: object) -> bool:
        try:
            return is_alive(Files(self._database).owners, owner)
        except OSError:
            # Who may not open its lock cannot tell.
            return True

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read documents of the catalog."""
        statement = f"notes_{kind}"
        # A file keeps no documents of other kinds, such as of the bucket of a server.
        return documents_of(self._rows(statement, name)) if statement in statements() else {}


def counted(rows: Iterable[tuple[Any, ...]]) -> dict[Account, Counts]:
    """Make counts of their rows."""
    width = len(Account._fields)
    return {Account._make(row[:width]): Counts._make(row[width:]) for row in rows if _is_counted(row, width)}


def _is_counted(row: tuple[Any, ...], width: int) -> bool:
    """Tell whether a row holds texts and amounts; one that does not was not written by us."""
    amounts = all(type(amount) in NUMBERS and 0 <= amount < MOST for amount in row[width:])
    return amounts and {*map(type, row[:width])} == {str}


def peeked(rows: Callable[..., list[Any]], call: Call, slots: Sequence[int] | None) -> dict[int, Sample]:
    """Read the samples of a call, of all slots or of some."""
    if slots is not None and not slots:
        return {}
    first, last = (0, LAST_SLOT) if slots is None else (min(slots), max(slots))
    if slots is not None and last - first >= FAR * len(slots):
        found = [row for slot in sorted(slots) for row in rows("samples_of", call.key, call.form, slot, slot)]
    else:
        found = rows("samples_of", call.key, call.form, first, last)
    wanted = None if slots is None else {*slots}
    return {row[0]: cleaned(row[0], Sample._make(row[1:])) for row in found if wanted is None or row[0] in wanted}
