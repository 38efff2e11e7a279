"""One process's use of a Redis server: opening and leaving it, and asking until it answers."""

from __future__ import annotations

import secrets
import time
import weakref
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import TimeoutError as ClientTimeoutError

from memollm.stores.drawn import Drawn
from memollm.stores.listening import UNKNOWN
from memollm.stores.redis.address import address_of
from memollm.stores.redis.asking import Seen, pairs, sample_of
from memollm.stores.redis.failures import (
    FAILURES,
    HALFWAY,
    MOVING,
    UNKNOWN_CALL,
    code_of,
    is_changing,
    is_coming,
    may_pass,
    node_of,
    of_cluster,
    translated,
)
from memollm.stores.redis.greeting import FirstGreeting
from memollm.stores.redis.line import ListeningLine
from memollm.stores.redis.opening import is_of_cluster, require_known_schema, require_known_server
from memollm.stores.redis.scripts import Command, books, keeping, looking, moving
from memollm.stores.serving import ServedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memollm._types.calls import Call, Place
    from memollm._types.samples import Sample
    from memollm.errors import StoreError
    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.connections import Channel, ServerWay

T = TypeVar("T")
MOST_BEHIND: Final = 1.0
"""Seconds that whoever replaced a sample waits for those who still go by the epoch before."""
MOST_SILENT: Final = 0.01
"""Seconds after which they are told once more, since a notice may be lost between the nodes of a cluster."""
REMEMBERED: Final = 100_000
"""Of how many calls a process remembers that the server knows them."""
MANY: Final = 500
"""How many scripts are run in one round trip, where they are many."""


class OpenRedis:
    """What is open at a time, in this process."""

    def __init__(self, owner: str, line: ListeningLine, way: ServerWay) -> None:
        self.owner = owner
        self.line = line
        self.way = way

    def close(self) -> None:
        """End all connections."""
        self.line.close()
        self.way.close()

    def leave_to_parent(self) -> None:
        """Let go of all in a forked child."""
        self.line.leave_to_parent()
        self.way.leave_to_parent()


class RedisSession(ServedSession[OpenRedis]):
    """One process's use of a server. It opens on first use, and again after a fork."""

    failures = FAILURES
    owns = True
    """Whether this process is known to the server as one that may have something in flight."""

    def __init__(self, url: str) -> None:
        self.address = address_of(url)
        self.books = f"{self.address.prefix}:{{books}}"
        self._bases: dict[Call, str] = {}
        self._greeting = FirstGreeting(self.address, self.tell_silence)
        super().__init__(self.address.shown, self.address.patience)

    def _begin_process(self) -> None:
        super()._begin_process()
        self.drawn = Drawn(self.flights, tells_arrived=False)
        self.known: set[str] = set()
        """The calls that the server knows, as such of the cache that this process has opened."""
        self.moving: dict[str, None] = {}
        """The calls that this process moves something to or from."""
        self.seen = Seen()
        self.known_as = ""
        """By what the cache is known again; another, or none, is there if it was emptied."""

    @property
    def described(self) -> str:
        """Say what it is, with no password."""
        opened = self._open_as
        return self.shown if opened is None else self.shown + opened.way.described

    # Names.

    def base(self, call: Call) -> str:
        """Return how all keys of a call begin; what stands in braces decides where in a cluster they are."""
        base = self._bases.get(call)
        if base is None:
            if len(self._bases) >= REMEMBERED:
                self._bases.clear()
            digest = blake2b(call.key + call.form.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            base = self._bases[call] = self.base_of(digest)
        return base

    def _base_at(self, place: Place) -> str:
        return self.base(place.call)

    def base_of(self, tag: str) -> str:
        """Return how all keys begin of a call that is known by its tag."""
        return f"{self.address.prefix}:{{{tag}}}"

    @staticmethod
    def tag_of(base: str) -> str:
        """Return the tag of a call."""
        return base[base.index("{") + 1 : -1]

    # Opening and leaving.

    def _open(self) -> OpenRedis:
        try:
            way = self._way()
        except FAILURES as error:
            raise translated(error, self.shown) from error
        owner, line = secrets.token_hex(8), None
        try:
            line = ListeningLine(
                self.address,
                owner,
                way,
                held=_weak(self._held_bases, set[str]()) if self.owns else None,
                base_of=_weak(self._base_at, ""),
                # They are put on the list of all once more.
                when_found=self.known.clear,
                settle=_weak(self._settle_lost, None),
            )
            line.begin()
        except BaseException as error:
            if line is not None:
                line.close()
            way.close()
            if isinstance(error, FAILURES):
                raise translated(error, self.shown) from error
            raise
        return OpenRedis(owner, line, way)

    def _way(self) -> ServerWay:
        """Reach a server, or all nodes of a cluster, and refuse what cannot be used."""
        channels = self._greeting.channels(self.within)
        try:
            with channels.lent() as wire:
                if not is_of_cluster(wire):
                    channels.waits = self._require_server(wire, self.address)
                    self.known_as = require_known_schema(wire, self.books, self.shown, writes=self.owns)
                    return channels
        except BaseException:
            channels.close()
            raise
        channels.close()
        return self._way_to_cluster()

    def _way_to_cluster(self) -> ServerWay:
        from memollm.stores.redis.cluster import ClusterWay

        way = ClusterWay(self.address, self._require_server)
        try:
            way.open()
            self.known_as = require_known_schema(way, self.books, self.shown, writes=self.owns)
        except BaseException as error:
            way.close()
            if isinstance(error, FAILURES):
                of_cluster(error)
            raise
        return way

    @staticmethod
    def _require_server(wire: Channel, address: RedisAddress) -> bool:
        """Refuse what cannot be used; tell whether each write is to be waited for until it is on the disk."""
        return require_known_server(wire, address)

    def _held_bases(self) -> set[str]:
        """Return in which calls this process has something."""
        calls: set[Call] = set()
        for held in list(self.drawn.held.values()):
            calls.update(position.call for position in list(held.positions))
            calls.update(place.call for place in list(held.claims))
        return {*map(self.base, calls), *list(self.moving)}

    def _settle_lost(self, way: ServerWay) -> None:
        """Free what draws were given that are over and never learned of it; who only reads is given nothing."""

    def _leave(self, opened: OpenRedis) -> None:
        aloft = [ticket for ticket in list(self.drawn.held) if self.flights.holds(ticket)]
        bases = self._held_bases()
        self._run(opened, [Command(keeping(), base, (opened.owner, "leave", *aloft)) for base in bases])

    # AskingCalls.

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run scripts, until the server answers; what one is answered is no error."""
        return self.patiently(lambda: self._run(self.opened(), commands))

    def _run(self, opened: OpenRedis, commands: Sequence[Command]) -> list[Any]:
        answers: list[Any] = []
        for first in range(0, len(commands), MANY):
            answers += opened.way.run(commands[first : first + MANY])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def ask(self, *command: Any) -> Any:
        """Send one command that may be sent again; behind its name stands its key."""
        return self.patiently(lambda: self.opened().way.value(*command))

    def ask_many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands that may be sent again, and read something each."""

        def send() -> list[Any]:
            answers: list[Any] = []
            for first in range(0, len(commands), MANY):
                answers += self.opened().way.ask(commands[first : first + MANY])
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

        return self.patiently(send)

    def wait_for_disk(self) -> None:
        """Wait until all that was written is on the disk, where the server does not see to that by itself."""
        self.patiently(lambda: self.opened().way.sync(self.address.prefix))

    def keep(self, bases: Iterable[str], what: str, *arguments: object) -> list[Any]:
        """Do something to each of some calls."""
        owner = self.opened().owner
        return self.run([Command(keeping(), base, (owner, what, *arguments)) for base in bases])

    def look(self, bases: Iterable[str], what: str, *arguments: object) -> list[Any]:
        """Look at each of some calls."""
        owner = self.opened().owner
        return self.run([Command(looking(), base, (owner, what, *arguments)) for base in bases])

    def move(self, bases: Iterable[str], what: str, *arguments: object) -> list[Any]:
        """Move something to or from each of some calls."""
        owner = self.opened().owner
        return self.run([Command(moving(), base, (owner, what, *arguments)) for base in bases])

    def book(self, what: str, *arguments: object) -> Any:
        """Do something to what is kept of the whole cache."""
        (answer,) = self.run([Command(books(), self.books, (self.opened().owner, what, *arguments))])
        return answer

    # Calls.

    def register(self, calls: Sequence[Call], *, at: float | None = None) -> None:
        """Put calls on the list of all, in order of their making."""
        self.run(self.listing(self.opened(), calls, at=at))

    def listing(self, opened: OpenRedis, calls: Sequence[Call], *, at: float | None = None) -> list[Command]:
        """Return what puts calls on the list; it is refused where the cache was emptied meanwhile."""
        now = repr(time.time() if at is None else at)
        listed = [(call.function, now, self.tag_of(self.base(call))) for call in calls]
        first = (opened.owner, "list", self.known_as)
        return [
            Command(books(), self.books, (*first, *chain(*listed[nth : nth + MANY])))
            for nth in range(0, len(listed), MANY)
        ]

    def unlist(self, function: str, tag: str) -> None:
        """Take a call off the list of all."""
        self.ask("ZREM", f"{self.books}:calls:{function}", tag)

    def know(self, bases: Iterable[str]) -> None:
        """Remember that the server knows calls."""
        if len(self.known) >= REMEMBERED:
            self.known.clear()
        self.known.update(bases)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        if slots is not None and not slots:
            return {}
        key = f"{self.base(call)}:s"
        if slots is None:
            found = self.ask("HGETALL", key)
            return dict(sorted((int(slot), sample_of(sample)) for slot, sample in pairs(found)))
        wanted = sorted({*slots})
        rows = zip(wanted, self.ask("HMGET", key, *wanted), strict=True)
        return {slot: sample_of(sample) for slot, sample in rows if sample is not None}

    def samples(self, call: Call, slots: Iterable[bytes] | None = None) -> Iterator[tuple[int, Sample]]:
        """Give the samples of a call, by slot, so that a server is not held up by many."""
        known = self.ask("HKEYS", f"{self.base(call)}:s") if slots is None else slots
        wanted = sorted(map(int, known))
        for first in range(0, len(wanted), MANY):
            yield from self.peek(call, wanted[first : first + MANY]).items()

    # Failing.

    def may_pass(self, error: Exception) -> bool:
        """Tell whether the same may come about a moment later."""
        return may_pass(error)

    def is_away(self, error: Exception) -> bool:
        """Tell whether it is the server that does not answer."""
        return not code_of(error) and not is_changing(error)

    def is_coming(self, error: StoreError) -> bool:
        """Tell whether what was not opened is a server that is away."""
        return is_coming(error.__cause__)

    def is_silent(self, error: StoreError) -> bool:
        """Tell whether what was not opened said nothing."""
        return isinstance(error.__cause__, ClientTimeoutError)

    def part_of(self, error: Exception) -> str:
        """Name the node of a cluster that does not answer."""
        return node_of(error)

    def parts_away(self) -> Sequence[str]:
        """Name the nodes that did not answer when they were asked last."""
        return [] if self._open_as is None else self._open_as.way.away

    def translated(self, error: Exception) -> StoreError:
        """Say in one sentence what failed, why, and what can be done."""
        return translated(error, self.shown)

    def get_ready(self, error: Exception, pause: float) -> None:  # noqa: ARG002 - for those who wait for something
        """Get ready for another attempt."""
        if code_of(error) == UNKNOWN_CALL:
            self.known.clear()
        elif code_of(error) not in {MOVING, HALFWAY} and self._open_as is not None:
            self._open_as.way.renew()

    # Epochs.

    def begin_epoch(self) -> None:
        """Let everybody forget what is remembered, and wait until they have, but for those who do not answer."""
        epoch: int = self.book("epoch")
        until = time.monotonic() + MOST_BEHIND
        line, pause = self.opened().line, 0.0005
        line.wait_for(epoch, MOST_SILENT)
        while self._is_anybody_behind(epoch, tells=pause > MOST_SILENT) and time.monotonic() < until:
            time.sleep(pause)
            pause = min(2 * pause, 2 * MOST_SILENT)

    def _is_anybody_behind(self, epoch: int, *, tells: bool) -> bool:
        """Tell whether somebody goes by an epoch before; they may be told of it once more."""
        opened, behind = self.opened(), self.book("behind", epoch)
        owners = [owner.decode() for owner in behind] + [opened.owner] * (not opened.line.goes_by(epoch))
        lines = [f"{self.address.prefix}:line:{owner}" for owner in owners]
        notice = f"e {epoch}" if tells else ""
        if not lines or self.patiently(lambda: self.opened().way.are_heard(lines, notice)):
            return bool(lines)
        # They have ended without a word.
        if behind:
            self.ask("HDEL", f"{self.books}:heard", *behind)
        return False

    def epoch(self) -> int:
        """Return the epoch that this process was told of; below zero where it is not told."""
        opened = self._open_as
        return UNKNOWN if opened is None else opened.line.epoch

    def holders(self, places: Sequence[Place]) -> list[int]:
        """Tell who is filling each place: nobody, this process, or others."""
        return self.opened().line.holders(places)


def _weak(method: Callable[..., T], otherwise: T) -> Callable[..., T]:
    """Return what calls a method of who may be gone by then: a thread that listens keeps no store alive."""
    found = weakref.WeakMethod(method)

    def call(*arguments: object) -> T:
        is_there = found()
        return otherwise if is_there is None else is_there(*arguments)

    return call
