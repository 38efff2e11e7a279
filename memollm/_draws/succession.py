"""A draw that reads the samples of older code too: what they left comes first, and what is new is the newer code's own.

The samples of a function are one sequence: those of the oldest code, and so on up to those of the code that runs. Older
ones are read and never made. A reader's cursor in each says how far it has come, so that nothing is given twice; and
undoing the edit finds what the old code made and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memollm._draws.effects import Do, Flow, Outdated
from memollm._draws.flow import Draw
from memollm._types.hiding import hides
from memollm._types.requests import Write
from memollm.errors import CacheMiss, StoreError
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.engine import Engine
    from memollm._draws.flow import Rekey
    from memollm._draws.plan import Plan
    from memollm._draws.scope import Scope
    from memollm._types.calls import Call, Want
    from memollm._types.requests import Change

__tracebackhide__ = hides

REMEMBERED: Final = 10_000
"""Of how many calls it is remembered that nothing is left of the samples of older code."""


class Succession:
    """A draw of calls of which older code may have left samples."""

    def __init__(
        self,
        plan: Plan,
        wants: Sequence[Want],
        here: Scope | None,
        older: Sequence[Sequence[Call]],
        *,
        rekey: Rekey | None = None,
        origin: Sequence[int] | None = None,
    ) -> None:
        """`older` has of each older code, from the oldest on, the call in the place of each want's.

        `rekey` makes the wants anew where what the function reads has changed meanwhile. For `origin` see `Run.origin`.
        """
        self._rekey = rekey
        self._origin = range(len(wants)) if origin is None else origin
        self._plan = plan
        self._wants = wants
        self._here = here
        self._older = older
        self._stored_only = only_stored(plan)
        self._draws: list[Draw] = []
        """Those that have delivered."""

    def at_once(self, *, wait: bool) -> list[Any] | None:
        """Draw at once where this process knows that older code has left nothing; else leave it to the flow."""
        if not all(map(self._is_spent, self._wants)):
            return None
        draw = Draw(self._plan, self._wants, self._here, self._origin, rekey=self._rekey)
        self._draws = [draw]
        return draw.at_once(wait=wait)

    def flow(self, failure: BaseException | None = None) -> Flow:
        """Draw what older code has left, then the rest, and return the values in the order of the wants."""
        if self._draws:
            # It was begun at once.
            return (yield from self._draws[0].flow(failure))
        try:
            if failure is not None:
                raise failure  # noqa: TRY301 - whatever it is, all of it goes back in one place
            return (yield from self._drawn())
        except GeneratorExit:
            self.give_back()
            raise
        except BaseException as error:
            yield from given_back(self._plan.engine, self.undelivered())
            if type(error) is not Outdated or self._rekey is None:
                raise
        # What the function reads has changed while this waited. That makes another version, which has nothing older.
        self._draws, every = [], self._rekey()
        wants = [every[index]._replace(n=want.n) for index, want in zip(self._origin, self._wants, strict=True)]
        draw = Draw(self._plan, wants, self._here, self._origin, rekey=self._rekey)
        return (yield from self._deliver(draw))

    def _drawn(self) -> Flow:
        if (whole := (yield from self._all_of_the_oldest())) is not None:
            return whole
        values: list[list[Any]] = []
        rest: dict[int, Want] = {}
        for index, want in enumerate(self._wants):
            left, missing = yield from self._left(index, want)
            values.append(left)
            if missing.n:
                rest[index] = missing
        if rest:
            origin = [self._origin[index] for index in rest]
            draw = Draw(self._plan, [*rest.values()], self._here, origin)
            others = iter((yield from self._deliver(draw)))
            for index, want in rest.items():
                values[index] += [next(others) for _ in range(want.n)]
        return [value for some in values for value in some]

    def _all_of_the_oldest(self) -> Flow:
        """Draw everything from the oldest code at once, as it mostly is; None if it has less."""
        if any(want.pool for want in self._wants):
            return None
        wants = [want._replace(call=call) for want, call in zip(self._wants, self._older[0], strict=True)]
        return (yield from self._stored(wants))

    def _left(self, index: int, want: Want) -> Flow:
        """Draw what older code has left of a want; return it, and the want of what is missing."""
        calls = [each[index] for each in self._older]
        if want.reader is None:
            # One sample serves for ever, so the one that is the newer code's own goes on serving.
            tries = [want, *(want._replace(call=call) for call in calls)]
        elif want.pool is not None:
            return (yield from self._left_of_pool(want, calls))
        else:
            tries = [want._replace(call=call, n=1) for call in calls for _ in range(want.n)]
        values: list[Any] = []
        gone: Call | None = None
        for each in tries:
            if len(values) == want.n or each.call is gone:
                continue
            if (got := (yield from self._stored([each]))) is None:
                gone = each.call
            else:
                values += got
        if len(values) < want.n:
            self._note_spent(want)
        return values, want._replace(n=want.n - len(values))

    def _left_of_pool(self, want: Want, calls: Sequence[Call]) -> Flow:
        """Draw from a pool that begins with what older code has left and goes on with the newer code's own."""
        shares: list[Want] = yield Do(lambda: self._shares(want, calls))
        values: list[Any] = []
        for share in shares[:-1]:
            if share.n and (got := (yield from self._stored([share]))) is not None:
                values += got
        missing = shares[-1]._replace(n=want.n - len(values))
        return values, missing if missing.pool else missing._replace(pool=want.pool)

    def _shares(self, want: Want, calls: Sequence[Call]) -> list[Want]:
        """Part a pool's next draws among the codes, each with as much of the pool as it has filled."""
        store, pool = self._plan.engine.store, want.pool or 1
        sizes: list[int] = []
        for call in calls:
            sizes.append(len(store.peek(call, range(pool - sum(sizes)))))
        if not sum(sizes):
            self._note_spent(want)
        sizes.append(pool - sum(sizes))
        stands = [looking(store).standing(want.reader or "", call) for call in (*calls, want.call)]
        begin = sum(stand.next - len(stand.loose) for stand in stands)
        owners = [index for index, size in enumerate(sizes) for _ in range(size)]
        drawn = [owners[(begin + at) % pool] for at in range(want.n)]
        return [
            want._replace(call=call, n=drawn.count(index), pool=size)
            for index, (call, size) in enumerate(zip((*calls, want.call), sizes, strict=True))
        ]

    def _stored(self, wants: Sequence[Want]) -> Flow:
        """Draw what is stored already; None, and nothing is taken, where that is not everything."""
        try:
            return (yield from self._deliver(Draw(self._stored_only, wants, self._here)))
        except CacheMiss:
            return None

    def _deliver(self, draw: Draw) -> Flow:
        values = yield from draw.flow()
        self._draws.append(draw)
        return values

    # What nothing is left of.

    def _is_spent(self, want: Want) -> bool:
        epoch = self._plan.engine.store.epoch()
        return epoch >= 0 and self._plan.spent.get((want.call, want.lane)) == epoch

    def _note_spent(self, want: Want) -> None:
        if len(self._plan.spent) >= REMEMBERED:
            self._plan.spent.clear()
        self._plan.spent[want.call, want.lane] = self._plan.engine.store.epoch()

    # What is given back.

    def undelivered(self) -> list[Change]:
        """Return the changes by which what was drawn was not delivered after all."""
        for want in self._wants:
            self._plan.spent.pop((want.call, want.lane), None)
        return [change for draw in self._draws for change in draw.undelivered()]

    def give_back(self) -> None:
        """Know that what was given did not reach the user; this waits for nothing."""
        if changes := self.undelivered():
            self._plan.engine.owe(changes)


def only_stored(plan: Plan) -> Plan:
    """Return the plan of draws for which the function is never called."""
    return replace(plan, explain_miss=_nothing_is_left, redraws_stale=False, lender=None)


def given_back(engine: Engine, changes: list[Change]) -> Flow:
    """Give back what was drawn and not delivered."""
    if not changes:
        return
    try:
        yield Write(engine.flights.new_id(), changes)
    except StoreError:
        engine.owe(changes)


def _nothing_is_left(*_: object) -> str:
    return "Older code has left no more samples."
