"""Who has claims and positions in flight in a SQLite store: this process under a name of its own, and the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm.stores.sqlite.owner_locks import Owner, is_alive

if TYPE_CHECKING:
    from memollm.stores.flights import Flights
    from memollm.stores.sqlite.rows import Rows


class Ownership:
    """Knows which draws are alive, and buries the dead, inside a transaction."""

    def __init__(self, rows: Rows, flights: Flights) -> None:
        self._rows = rows
        self._flights = flights
        self._owner: tuple[int, Owner] | None = None

    def me(self) -> int:
        """Return the number under which this process claims; with its first claim it becomes an owner."""
        if self._owner is None:
            owner = Owner(self._rows.link.files.owners)
            number = self._rows.do("add_owner", owner.name).lastrowid or 0
            self._owner = (number, owner)
            self._rows.undo.append(self.leave)
            for other, name in self._rows.do("owners").fetchall():
                if other != number and not self._lives(name):
                    self._bury(other)
        elif not self._owner[1].stands():
            self._stand_again(*self._owner)
        return self._owner[0]

    def _stand_again(self, number: int, owner: Owner) -> None:
        """Live again after somebody removed the lock file: what nobody has taken over meanwhile is still in flight."""
        owner.forget()
        owner.stand()
        self._rows.undo.append(owner.release)
        self._rows.do("add_owner_again", number, owner.name)

    @property
    def number(self) -> int | None:
        """The number under which this process claims, if it has claimed anything."""
        return None if self._owner is None else self._owner[0]

    @property
    def name(self) -> str | None:
        """The name of its lock file."""
        return None if self._owner is None else self._owner[1].name

    def _lives(self, name: str) -> bool:
        return is_alive(self._rows.link.files.owners, name)

    def aloft(self, owner: int, ticket: int) -> bool:
        """Tell whether a claim or a position is in flight, and bury its owner if that is dead."""
        if owner == self.number:
            return self._flights.aloft(ticket)
        row = self._rows.do("owner_name", owner).fetchone()
        if row is not None and self._lives(row[0]):
            return True
        self._bury(owner)
        return False

    def holds(self, owner: int, ticket: int) -> bool:
        """Tell whether positions that are recorded for a draw are not free: in flight, or delivered."""
        return self._flights.holds(ticket) if owner == self.number else self.aloft(owner, ticket)

    def bury_the_dead(self) -> None:
        """Free what dead processes had in flight; asking after any draw of theirs does it."""
        for owner, _ in self._rows.do("owners").fetchall():
            self.aloft(owner, 0)

    def leave_all(self) -> None:
        """Void whatever this process still has in flight; it is about to leave.

        What its draws have in hand that is stored counts as delivered: they may give it yet, and can say so no more.
        """
        if self._owner is not None:
            for (ticket,) in self._rows.do("tickets_of", self._owner[0]).fetchall():
                if self._flights.holds(ticket):
                    self._rows.do("deliver_stored", self._owner[0], ticket)
            self._bury(self._owner[0])

    def _bury(self, owner: int) -> None:
        for statement in ("bury_claims", "bury_loose", "bury_owner"):
            self._rows.do(statement, owner)

    # Leaving.

    def resign(self) -> bool:
        """Leave without writing anything, if nothing that is recorded for this process is still in flight.

        Whoever finds the records takes them for a dead owner's; this process goes on as another owner.
        """
        if self._owner is None:
            return True
        tickets = self._rows.do("tickets_of", self._owner[0]).fetchall()
        if any(self._flights.holds(ticket) for (ticket,) in tickets):
            return False
        self.leave()
        return True

    def leave(self) -> None:
        """Let go of this process's owner lock."""
        if self._owner is not None:
            self._owner[1].release()
        self._owner = None

    def abandon(self) -> None:
        """Forget the owner without leaving: the lock is the parent's, or its folder is gone."""
        if self._owner is not None:
            self._owner[1].forget()
        self._owner = None
