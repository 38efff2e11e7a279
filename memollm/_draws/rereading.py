"""A draw out of a replay: what is left to be read comes first, and new draws after it where the replay goes on."""

from __future__ import annotations

from itertools import groupby, islice
from operator import itemgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any

from memollm._draws.effects import Do, Flow, Outdated
from memollm._draws.flow import Draw
from memollm._draws.replay import IN_LINE, Read, Replay
from memollm._spending.accounts import HIT
from memollm._types.hiding import hides
from memollm._types.locks import WouldBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.flow import Rekey
    from memollm._draws.plan import Plan
    from memollm._draws.scope import Scope
    from memollm._types.calls import Call, Want
    from memollm._types.requests import Change

__tracebackhide__ = hides


class Rereading:
    """A draw out of a replay: what is left to be read comes first, and new draws after it where the replay goes on."""

    def __init__(
        self,
        plan: Plan,
        wants: Sequence[Want],
        here: Scope,
        replay: Replay,
        older: Sequence[Sequence[Call]] = (),
        *,
        rekey: Rekey | None = None,
    ) -> None:
        """`older` has of each older code whose samples are read, too, the call in the place of each want's."""
        self._rekey = rekey
        self._plan = plan
        self._older = older
        self._wants = wants
        self._here = here
        self._replay = replay
        self._begin = perf_counter()
        self._read: list[list[tuple[Want, Read]]] = []
        self._more: Draw | Rereading | None = None
        """What is drawn after it."""

    def at_once(self, *, wait: bool) -> list[Any] | None:
        """Read, and return the values if that is all; otherwise the flow goes on from here."""
        if not wait and (self._plan.engine.desk.is_busy or len(self._wants) > IN_LINE):
            return None
        try:
            values = self._reread(wait=wait)
        except WouldBlock:
            return None
        return None if self._missing() else self._given(values, [])

    def flow(self, failure: BaseException | None = None) -> Flow:
        """Read, draw the rest, and return the values in the order of the wants."""
        try:
            if failure is not None:
                raise failure  # noqa: TRY301 - whatever it is, all of it goes back in one place
            values = self._decoded() if self._read else (yield from self._read_aside())
            others: list[Any] = []
            if missing := self._missing():
                self._more = Draw(self._plan, [*missing.values()], self._here, [*missing])
                others = yield from self._more.flow()
            return self._given(values, others)
        except BaseException as error:
            self.unread()
            if type(error) is not Outdated or self._rekey is None:
                raise
        # What the function reads has changed meanwhile, which makes other calls.
        self._more = Rereading(self._plan, self._rekey(), self._here, self._replay, rekey=self._rekey)
        return (yield from self._more.flow())

    def _read_aside(self) -> Flow:
        yield Do(lambda: self._read_all(wait=True))
        return (yield Do(self._decoded, computes=True))

    def _reread(self, *, wait: bool) -> list[list[Any]]:
        self._read_all(wait=wait)
        try:
            return self._decoded()
        except BaseException:
            self.unread()
            raise

    def _read_all(self, *, wait: bool) -> None:
        try:
            self._read, engine = [], self._plan.engine
            for index, want in enumerate(self._wants):
                read: list[tuple[Want, Read]] = []
                self._read.append(read)
                for each in (*(want._replace(call=older[index]) for older in self._older), want):
                    missing = each._replace(n=want.n - len(read))
                    is_last = each.call is want.call
                    if missing.n:
                        found = self._replay.read(engine.store, engine.codec, missing, wait=wait, all_of_it=is_last)
                        read += [(missing, one) for one in found]
        except BaseException:
            self.unread()
            raise

    def _decoded(self) -> list[list[Any]]:
        codec = self._plan.engine.codec
        return [[codec.decode(each.sample.record, want.call.key) for want, each in read] for read in self._read]

    def _missing(self) -> dict[int, Want]:
        """Return what is to be drawn after it, by the place of each want."""
        left = [want._replace(n=want.n - len(read)) for want, read in zip(self._wants, self._read, strict=True)]
        return {index: want for index, want in enumerate(left) if want.n}

    def _given(self, values: list[list[Any]], others: list[Any]) -> list[Any]:
        """Join what was read and then what was drawn, want by want; what was read goes into the books."""
        plan, here, rest = self._plan, self._here, iter(others)
        given = [
            (want.call, each.slot, each.sample[2:], 0.0, HIT, self._begin, want.lane)
            for read in self._read
            for want, each in read
        ]
        plan.books.note(given)
        plan.tell(given, here)
        return [
            value
            for want, some in zip(self._wants, values, strict=True)
            for value in (*some, *islice(rest, want.n - len(some)))
        ]

    def undelivered(self) -> list[Change]:
        """Return the changes by which what was drawn was not delivered after all."""
        return [] if self._more is None else self._more.undelivered()

    def give_back(self) -> None:
        """Know that what was given did not reach the user; this waits for nothing."""
        self.unread()
        if self._more is not None:
            self._more.give_back()

    def unread(self) -> None:
        """Let all that was read be read again, which nobody got after all."""
        store, read, self._read = self._plan.engine.store, self._read, []
        for some in read:
            for want, group in groupby(some, key=itemgetter(0)):
                self._replay.give_back(store, want, [one.at for _, one in group])
