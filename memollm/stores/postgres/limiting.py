"""How a PostgreSQL store limits what a program spends, on whichever machines its processes are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psycopg import Rollback

from memollm._types.allowance import Charged
from memollm.stores.limiting import KEPT, Limiting
from memollm.stores.postgres.upkeep import Upkeeping

if TYPE_CHECKING:
    from memollm._types.allowance import Allowance
    from memollm.stores.postgres.session import ServerSession


class PostgresLimiting(Limiting):
    """Counts in a row that one process at a time holds."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session

    def charge(self, program: str, more: Charged, allowed: Allowance | None = None) -> tuple[Charged, bool]:
        """Add up in one transaction, if there is room; what was added and not answered is not added again."""
        id = self._session.flights.new_id()  # noqa: A001 - as in `Write`
        charged = self._session.patiently(lambda: self._charged(id, program, more, allowed))
        self._session.drawn.answered(id)
        return charged

    def _charged(self, id: int, program: str, more: Charged, allowed: Allowance | None) -> tuple[Charged, bool]:  # noqa: A002
        opened, now = self._session.opened(), time.time()
        fits = True
        with opened.connections.lent() as connection, connection.transaction() as transaction:
            upkeep = Upkeeping(connection, self._session.sql, opened.line.owner)
            spent = Charged(*upkeep.do("charged", program, now).fetchone())
            if spent == Charged():
                upkeep.do("forget_programs", now - KEPT)
            if not upkeep.do("remember_asked", upkeep.me, id).rowcount:
                return spent, True
            if allowed is not None and not spent.leaves_room(more, allowed):
                fits = False
                raise Rollback(transaction)
            spent = spent.plus(more)
            upkeep.do("charge", *spent, program)
        return spent, fits
