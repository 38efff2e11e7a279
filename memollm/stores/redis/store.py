"""The Redis and Valkey store: draws of many machines, each burst in one round trip."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import ResponseError

from memollm._types.calls import recorder, resumed
from memollm._types.requests import Take
from memollm._types.samples import EVER, Taken
from memollm.errors import ChangeRefused
from memollm.stores.redis.asking import (
    MANY,
    AskingCalls,
    Group,
    has_replaced,
    new_number,
    one_draw,
    one_taken,
    state_of,
)
from memollm.stores.redis.failures import EMPTIED, FAILURES, HALFWAY, code_of
from memollm.stores.redis.line import OTHERS
from memollm.stores.redis.scripts import Command, drawing, thin_drawing
from memollm.stores.redis.session import RedisSession
from memollm.stores.served import ServedDrawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._types.calls import Call, Place, Want
    from memollm._types.requests import Answer, Request
    from memollm.errors import StoreError
    from memollm.stores.redis.connections import ServerWay
    from memollm.stores.redis.keeping import RedisKeeping
    from memollm.stores.redis.limiting import RedisLimiting
    from memollm.stores.redis.line import ListeningLine
    from memollm.stores.redis.looking import RedisLooking
    from memollm.stores.redis.matching import RedisMatching
    from memollm.stores.redis.reader import RedisReader
    from memollm.stores.redis.session import OpenRedis

Answered = list[tuple[Group, Any]]
Asked = tuple[Command, str, "Sequence[Group]"]
"""A script, the call that it is run for, and what it is asked."""


class RedisStore(RedisSession, ServedDrawing):
    """Keeps samples in a database of a Redis or Valkey server."""

    def __repr__(self) -> str:
        return f"RedisStore({self.described!r})"

    @property
    def looking(self) -> RedisLooking:
        """Looks into the store."""
        from memollm.stores.redis.looking import RedisLooking

        return RedisLooking(self)

    def reader(self) -> RedisReader:
        """Read the same samples and write nowhere."""
        from memollm.stores.redis.reader import RedisReader

        return RedisReader(self.address.url)

    @property
    def keeping(self) -> RedisKeeping:
        """Keeps the store."""
        from memollm.stores.redis.keeping import RedisKeeping

        return RedisKeeping(self)

    @property
    def limiting(self) -> RedisLimiting:
        """Limits what programs spend."""
        from memollm.stores.redis.limiting import RedisLimiting

        return RedisLimiting(self)

    @property
    def matching(self) -> RedisMatching:
        """Keeps vectors and matches."""
        from memollm.stores.redis.matching import RedisMatching

        return RedisMatching(self)

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for; most ask for one draw, which is brought as it is."""
        if len(requests) == 1 and type(take := requests[0]) is Take and take.ticket not in self.flights.answers:
            return self._done(requests)
        return super().perform(requests)

    def _brought(self, requests: Sequence[Request]) -> list[Answer]:
        """Bring requests to the server, and bring them again if an answer is lost."""

        def bring() -> list[Answer]:
            asking = AskingCalls(self.drawn, self.base, self.seen)
            over, lost = asking.settle_left()
            one = None if asking.of or len(requests) != 1 else self._one_draw(requests[0])
            if one is not None:
                return self._draw(*one)
            asking.add(requests)
            answered: Answered = []
            if asking.of:
                opened = self.opened()
                self.drawn.begin(requests)
                answered = self._sent(opened, asking, requests)
            self.drawn.end(over, lost)
            if has_replaced(answered):
                self.begin_epoch()
            answers = asking.answers(requests, answered)
            self.drawn.done(requests, answers)
            return answers

        try:
            return self.patiently(bring)
        except ChangeRefused:
            self.drawn.refused(requests)
            raise

    def _sent(self, opened: OpenRedis, asking: AskingCalls, requests: Sequence[Request]) -> Answered:
        """Send what is asked of each call, and with it what puts new ones on the list of all; return the answers."""
        new = [call for call in asking.of if self.base(call) not in self.known]
        listing = self.listing(opened, new)
        if asking.brings:
            # The list takes its call first, and refuses it where the cache is another one by now.
            self._run(opened, listing)
            listing = []
        told = {self.base(call): asking.about(call, is_listed=not listing) for call in new}
        commands = self._commands(opened, asking, told)
        try:
            answers = self._run(opened, [*listing, *(command for command, _, _ in commands)])[len(listing) :]
        except ResponseError as error:
            if code_of(error) == EMPTIED:
                self._undo(opened, requests)
            raise
        answered: Answered = []
        for (command, base, asked), answer in zip(commands, answers, strict=True):
            if base in told and answer.pop():
                self.know([base])
            answered += zip(asked, answer if command.arguments[1] == "many" else [[one_taken(*answer)]], strict=True)
            opened.line.answered.extend((base, group.id) for group in asked if not (group.id is None or group.again))
        return answered

    def _commands(self, opened: OpenRedis, asking: AskingCalls, told: Mapping[str, Sequence[Any]]) -> list[Asked]:
        """Return what asks, call by call; of those that are new the server is told what they are."""
        commands: list[Asked] = []
        lease = int(1000 * self.address.lease)
        for call, of in asking.of.items():
            base = self.base(call)
            about = told.get(base)
            for first in range(0, len(of.groups), MANY):
                groups = of.groups[first : first + MANY]
                arguments: tuple[object, ...]
                if about is None and (one := one_draw(groups)) is not None:
                    arguments = (opened.owner, "one", *one, lease, new_number(), self.known_as)
                else:
                    payload, records = asking.sent(of, groups, about, self.known_as)
                    arguments = (opened.owner, "many", lease, new_number(), payload, *records)
                commands.append((self._command(call, base, arguments), base, groups))
        return commands

    def _undo(self, opened: OpenRedis, requests: Sequence[Request]) -> None:
        """Give back what came of another cache, which stands where the one that this process has opened was emptied."""
        asking = AskingCalls(self.drawn, self.base, self.seen)
        asking.undo(requests)
        with suppress(*FAILURES):
            self._run(opened, [command for command, _, _ in self._commands(opened, asking, {})])
        self.drawn.refused(requests)

    def _settle_lost(self, way: ServerWay) -> None:
        opened = self._open_as
        if opened is None or not self.drawn.lost():
            return
        asking = AskingCalls(self.drawn, self.base, self.seen)
        over, lost = asking.settle_left()
        answers = way.run([command for command, _, _ in self._commands(opened, asking, {})])
        # Else the next request sees to it, or the next beat.
        if not any(isinstance(answer, Exception) for answer in answers):
            self.drawn.end(over, lost)

    def get_ready(self, error: Exception, pause: float) -> None:
        """Get ready for another attempt; what somebody has left half done, who has died, is ended."""
        super().get_ready(error, pause)
        if code_of(error) == HALFWAY:
            from memollm.stores.redis.adopting import finish_move_of

            finish_move_of(self, str(error))

    def _command(self, call: Call, base: str, arguments: tuple[object, ...]) -> Command:
        """Return what draws of a call, and does not send what is held here."""
        held = self.holding.stretches(call) if self.holding is not None else ()
        if not held:
            return Command(drawing(), base, arguments)
        return Command(thin_drawing(), base, (*arguments, msgspec.msgpack.encode(held)))

    # What most draws are: one sample of a call and a reader.

    def _one_draw(self, request: Request) -> tuple[Take, Want, str, str] | None:
        if type(request) is not Take or len(request.wants) != 1 or self.drawn.is_unsure(request.ticket):
            return None
        (want,) = request.wants
        reader = want.reader
        if want.n != 1 or reader is None or want.lane is not None or resumed(reader) is not None:
            return None
        base = self.base(want.call)
        return (request, want, reader, base) if base in self.known else None

    def _draw(self, take: Take, want: Want, reader: str, base: str) -> list[Answer]:
        opened = self.opened()
        generation, next_ = self.seen.of(base, reader)
        newer = "" if take.newer_than == EVER else repr(take.newer_than)
        arguments = (
            *(opened.owner, "one", take.ticket, reader, want.pool or "", newer, generation, next_),
            *(recorder(reader), int(1000 * self.address.lease), new_number(), self.known_as),
        )
        self.drawn.begin((take,))
        (answer,) = self._run(opened, [self._command(want.call, base, arguments)])
        opened.line.answered.append((base, take.ticket))
        of, at, state = answer
        self.seen.note(base, reader, of.decode(), at)
        answers: list[Answer] = [[Taken([at], [state_of(state)], int(of))]]
        self.drawn.done((take,), answers)
        return answers

    # Watching.

    def _line(self) -> ListeningLine:
        return self.opened().line

    def _busy(self, places: Sequence[Place]) -> set[int]:
        try:
            holders = self.holders(places)
        except FAILURES:
            return set()
        # What this process has there, and is no draw's of it any more, nobody fills.
        return {nth for nth, holder in enumerate(holders) if holder == OTHERS}
