"""A draw that resumes: what the namespace drew comes first, from its start, and then what is drawn as the namespace.

How far a run has read again stands in the store, as the cursor of a reader of its own (`resuming`), which is given what
the namespace had been given when the run first drew the call. So the threads and processes of a run share it, each
sample is read by one of them, and what a killed one had not given is read by another.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from memollm._draws.flow import Draw
from memollm._draws.succession import Succession, given_back, only_stored
from memollm._types.samples import EVER
from memollm.errors import CacheMiss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.effects import Flow
    from memollm._draws.flow import Rekey
    from memollm._draws.plan import Plan
    from memollm._draws.scope import Scope
    from memollm._types.calls import Call, Want
    from memollm._types.requests import Change
    from memollm._types.samples import Taken

REMEMBERED: Final = 10_000
"""Of how many calls it is remembered that the run has begun to read them again."""


class _Remaining(Draw):
    """A draw of what is left to be read again: as many samples as there are, however old, and maybe none."""

    def __init__(
        self, plan: Plan, wants: Sequence[Want], here: Scope | None, *, origin: Sequence[int], rekey: Rekey | None
    ) -> None:
        super().__init__(plan, wants, here, origin, rekey=rekey)
        if not plan.refreshes:
            self._newer_than = EVER

    def numbers(self) -> list[int]:
        """Return how many samples each want was given."""
        # One that was keyed anew has given back all that it had taken itself.
        ended = self if self._again is None or self._booked else self._again
        taken: Sequence[Taken] = ended._slots.taken if hasattr(ended, "_slots") else ended._taken or ()  # noqa: SLF001 - its own kind
        return [len(each.positions) for each in taken]


class Resuming:
    """A draw by several, one after another: those that read again, and one that goes on."""

    def __init__(
        self,
        plan: Plan,
        wants: Sequence[Want],
        here: Scope | None,
        older: Sequence[Sequence[Call]] = (),
        *,
        rekey: Rekey,
    ) -> None:
        """`older` has of each older code whose samples are read, too, the call in the place of each want's."""
        self._plan = plan
        self._wants = wants
        self._here = here
        self._older = older
        self._rekey = rekey
        self._codes_read = 0
        """Of how many codes, the oldest first and the newest last, what was drawn has been read again."""
        self._now: Draw | Succession | None = None
        """What has begun and not ended,"""
        self._serves: Sequence[int] = ()
        """and the places of the wants that it is for."""
        self._ended: list[Draw | Succession] = []
        self._values: list[list[Any]] = [[] for _ in wants]

    def at_once(self, *, wait: bool) -> list[Any] | None:
        """Draw at once what can be; otherwise the flow goes on from here."""
        if self._older or not (wait or all(want.call in self._plan.resumed for want in self._wants)):
            # To begin may be much to do.
            return None
        while (draw := self._next()) is not None:
            values = draw.at_once(wait=wait)
            if values is None:
                return None
            self._end(draw, values)
        return self._joined()

    def flow(self, failure: BaseException | None = None) -> Flow:
        """Draw, and return the values in the order of the wants."""
        try:
            while (draw := self._now or self._next()) is not None:
                values = yield from self._driven(draw, failure)
                failure = None
                if values is None:
                    self._now = None
                else:
                    self._end(draw, values)
            if failure is not None:
                raise failure  # noqa: TRY301 - whatever it is, all of it goes back in one place
            return self._joined()
        except GeneratorExit:
            self.give_back()
            raise
        except BaseException:
            yield from given_back(self._plan.engine, self.undelivered())
            raise

    def _driven(self, draw: Draw | Succession, failure: BaseException | None) -> Flow:
        try:
            return (yield from draw.flow(failure))
        except CacheMiss:
            if failure is not None or self._codes_read > len(self._older):
                raise
            # What older code made and is no longer stored: it is never called to make it anew.
            return None

    def _next(self) -> Draw | Succession | None:
        """Begin the next draw, for the wants that are short of samples."""
        short = {index: want for index, want in enumerate(map(self._short, range(len(self._wants)))) if want.n}
        if not short:
            return None
        wants, self._serves = [*short.values()], [*short]
        if self._codes_read <= len(self._older):
            self._now = self._reading(short)
            self._codes_read += 1
        elif self._older:
            older = [[calls[index] for index in short] for calls in self._older]
            self._now = Succession(self._plan, wants, self._here, older, rekey=self._rekey, origin=self._serves)
        else:
            self._now = Draw(self._plan, wants, self._here, self._serves, rekey=self._rekey)
        return self._now

    def _short(self, index: int) -> Want:
        want = self._wants[index]
        return want._replace(n=want.n - len(self._values[index]))

    def _reading(self, short: dict[int, Want]) -> _Remaining:
        """Return what reads again of a code what was drawn."""
        if self._codes_read == len(self._older):
            wants, plan, rekey = [*map(self._as_run, short.values())], self._plan, self._rekeyed
            return _Remaining(plan, wants, self._here, origin=self._serves, rekey=rekey)
        calls, plan = self._older[self._codes_read], only_stored(self._plan)
        wants = [self._as_run(want._replace(call=calls[index])) for index, want in short.items()]
        return _Remaining(plan, wants, self._here, origin=self._serves, rekey=None)

    def _as_run(self, want: Want) -> Want:
        """Return the want of the reader that reads again."""
        return want._replace(reader=self._plan.resumes)

    def _rekeyed(self) -> Sequence[Want]:
        self._wants = self._rekey()
        return [*map(self._as_run, self._wants)]

    def _end(self, draw: Draw | Succession, values: list[Any]) -> None:
        """Know what was drawn, want by want."""
        self._now = None
        self._ended.append(draw)
        numbers = draw.numbers() if isinstance(draw, _Remaining) else [self._short(index).n for index in self._serves]
        rest = iter(values)
        for index, number in zip(self._serves, numbers, strict=True):
            self._values[index] += islice(rest, number)

    def _joined(self) -> list[Any]:
        begun = self._plan.resumed
        if len(begun) > REMEMBERED:
            begun.clear()
        begun.update(want.call for want in self._wants)
        return [value for some in self._values for value in some]

    def undelivered(self) -> list[Change]:
        """Return the changes by which what was drawn was not delivered after all."""
        return [change for draw in self._ended for change in draw.undelivered()]

    def give_back(self) -> None:
        """Know that what was given did not reach the user; this waits for nothing."""
        if changes := self.undelivered():
            self._plan.engine.owe(changes)
