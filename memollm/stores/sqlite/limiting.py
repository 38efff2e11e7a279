"""How a SQLite store limits what a program spends, in whichever processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from memollm._types.allowance import Charged
from memollm.stores.limiting import KEPT, Limiting

if TYPE_CHECKING:
    from memollm._types.allowance import Allowance
    from memollm.stores.sqlite.ledger import Ledger
    from memollm.stores.sqlite.session import Session


class SqliteLimiting(Limiting):
    """Counts by the session of this process."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def charge(self, program: str, more: Charged, allowed: Allowance | None = None) -> tuple[Charged, bool]:
        """Add up in one transaction, if there is room."""

        def work(ledger: Ledger) -> tuple[Charged, bool]:
            do, now = ledger.rows.do, time.time()
            row = do("charged", program).fetchone()
            spent = Charged() if row is None else Charged(*row)
            if row is None:
                do("forget_programs", now - KEPT)
            if allowed is not None and not spent.leaves_room(more, allowed):
                return spent, False
            spent = spent.plus(more)
            do("charge", program, now, *spent)
            return spent, True

        return self._session.transact(work)
