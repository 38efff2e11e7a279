"""Drawing from a server: what is known here already, what is asked again one by one, and who is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

from memollm._types.requests import Look, Settle, Take, Write, Written
from memollm.errors import ChangeRefused, StoreError
from memollm.stores.drawing import Drawing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Place
    from memollm._types.requests import Answer, Request
    from memollm.stores.drawn import Drawn
    from memollm.stores.flights import Flights
    from memollm.stores.thin import HoldsRecords


class Watching(Protocol):
    """What is told by a server of places that others fill."""

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Wake once for each place; return what stops that."""
        ...


class ServedDrawing(Drawing):
    """Draws from a server that other processes use, too."""

    drawn: Drawn
    holding: HoldsRecords | None = None
    """Who holds records that need not be sent again."""
    tells_landed = True
    """Whether who waits for what is filled is told here; who asks on behalf of others may do that itself."""

    def _brought(self, requests: Sequence[Request]) -> list[Answer]:
        """Bring requests to the server, and bring them again if an answer is lost."""
        raise NotImplementedError

    def _line(self) -> Watching:
        """Return what is told of places; a `StoreError` where nothing is."""
        raise NotImplementedError

    def _busy(self, places: Sequence[Place]) -> set[int]:
        """Tell which of some places somebody alive is filling, by their numbers in the order given; it may wait."""
        raise NotImplementedError

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for."""
        answers: list[Answer | StoreError] = []
        for some in _apart(requests):
            answers += self._performed(some)
        if self.tells_landed:
            landed(self.flights, requests, answers)
        return answers

    def _performed(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        known = [self._known(request) for request in requests]
        # Who was interrupted may ask again beside what was asked first: that is answered once, for both.
        new = {_name(request): request for request, answer in zip(requests, known, strict=True) if answer is None}
        done = dict(zip(new, self._done([*new.values()]), strict=True))
        return [
            done[_name(request)] if answer is None else answer for request, answer in zip(requests, known, strict=True)
        ]

    def _known(self, request: Request) -> Answer | None:
        """Return what was answered before."""
        if isinstance(request, Take):
            answer: Any = self.flights.answers.get(request.ticket)
            return None if answer is None else cast("Answer", answer[1])
        return self.drawn.written.get(request.id) if isinstance(request, Write) else None

    def _done(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        try:
            return [*self._brought(requests)]
        except ChangeRefused as error:
            if len(requests) == 1:
                return [error]
        except StoreError as error:
            return [error] * len(requests)
        # Without whatever it was that is at fault, the others can be done.
        return [answer for request in requests for answer in self._done([request])]

    # Watching.

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Have a draw of this process tell when it lands, and the server what others fill."""
        try:
            line = self._line()
        except StoreError:
            for place in places:
                wake(place)
            return _nothing
        own, left = self._own(places)
        stops = [self.flights.watch(own, wake)]
        if left and not _is_in_loop():
            left = self._still_busy(left, wake)
        stops.append(line.watch(left, wake))

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def _own(self, places: Sequence[Place]) -> tuple[dict[Place, int], list[Place]]:
        """Tell which places draws of this process are filling."""
        mine = self.drawn.filling()
        own = {place: mine[place] for place in places if place in mine and self.flights.aloft(mine[place])}
        return own, [place for place in places if place not in own]

    def _still_busy(self, places: Sequence[Place], wake: Callable[[Place], None]) -> list[Place]:
        """Look once, in a thread that may wait; wake for those places that nobody fills."""
        busy = self._busy(places)
        for nth, place in enumerate(places):
            if nth not in busy:
                wake(place)
        return [place for nth, place in enumerate(places) if nth in busy]


def landed(flights: Flights, requests: Sequence[Request], answers: Sequence[Answer | StoreError]) -> None:
    """Wake those who wait for what was filled or let go."""
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(request, Write) and isinstance(answer, Written):
            flights.landed(request.changes, answer)


def _name(request: Request) -> tuple[type, object]:
    """Return what two requests have in common that are one, asked twice."""
    if isinstance(request, Write):
        return Write, request.id
    return type(request), request.ticket if isinstance(request, Take) else id(request)


def _apart(requests: Sequence[Request]) -> list[list[Request]]:
    """Divide requests where one settles what another takes: what it was given has to be known first."""
    some: list[list[Request]] = [[]]
    taken: set[int] = set()
    for request in requests:
        if isinstance(request, Write) and any(
            change.ticket in taken for change in request.changes if isinstance(change, Settle)
        ):
            some.append([])
            taken.clear()
        some[-1].append(request)
        if isinstance(request, Take | Look):
            taken.add(request.ticket)
    return [each for each in some if each]


def _nothing() -> None:
    """Stop what has not begun."""


def _is_in_loop() -> bool:
    """Tell whether this thread runs an event loop, which is not to wait for a network."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
