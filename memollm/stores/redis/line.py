"""The listening connection of a process: it is told of fills and epochs, and what the process has is kept alive."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ReadOnlyError

from memollm.stores.listening import LOOK_EVERY, UNKNOWN, ListeningThread
from memollm.stores.redis.connections import Channel
from memollm.stores.redis.failures import FAILURES
from memollm.stores.redis.scripts import Command, books, keeping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Place
    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.connections import ServerWay

BEATS: Final = 5
"""How often a process says in each lease that it lives."""
TIDY_EVERY: Final = 0.5
"""Seconds between the times that the server is told which answers have arrived."""
MANY: Final = 500


class ListeningLine(ListeningThread):
    """A subscription, and the thread that reads it and beats."""

    failures = FAILURES
    thread_name = "memollm-redis"

    def __init__(
        self,
        address: RedisAddress,
        owner: str,
        way: ServerWay,
        *,
        held: Callable[[], set[str]] | None,
        base_of: Callable[[Place], str],
        when_found: Callable[[], None],
        settle: Callable[[ServerWay], None] | None = None,
    ) -> None:
        """`held` tells in which calls this process has something; who only reads has none.

        `when_found` is called when the server was away: what it had last may be lost. `settle` frees what this process
        has without knowing it, as far as those answer who have it.
        """
        self._address = address
        self._owner = owner
        self._way = way
        # A node of a cluster that does not answer is not to keep those waiting that do.
        self._asking = way.swift(address.lease / 4)
        self._held = held
        self._base_of = base_of
        self._when_found = when_found
        self._settle = settle
        self._books = f"{address.prefix}:{{books}}"
        self.answered: deque[tuple[str, int]] = deque()
        """What has arrived, and the server need not remember: by which keys it does."""
        self.heard = 0
        self._hearing = threading.Condition()
        self._count = 0
        self._beat_at = self._tidy_at = 0.0
        self._is_heard = True
        self._is_behind_others = False
        """Whether what is asked comes to a server that follows another."""
        super().__init__()

    # Connecting.

    def _connect(self) -> None:
        self._wire = Channel(self._way.listening())

    def _disconnect(self) -> None:
        self._wire.close()

    def _descriptor(self) -> int:
        return self._wire.descriptor

    def begin(self) -> None:
        """Listen, and go by the latest epoch."""
        prefix = self._address.prefix
        for channel in (f"{prefix}:told", f"{prefix}:line:{self._owner}"):
            self._wire.value("SUBSCRIBE", channel)
        self._is_heard, self._is_behind_others = True, False
        self._go_by(int(self._way.value("GET", f"{self._books}:epoch") or 0))
        self._when_found()
        self._beat_at = time.monotonic() + self._beat_every
        self.is_up.set()
        self._poke()

    @property
    def _beat_every(self) -> float:
        return self._address.lease / BEATS

    # Listening.

    def _pause(self) -> float | None:
        due = [self._beat_at, *([self._tidy_at] if self.answered else [])]
        pause = max(0.0, min(due) - time.monotonic())
        return min(pause, LOOK_EVERY) if self._watched else pause

    def _attend(self) -> None:
        while self._wire.has_more():
            self._on_notice(self._wire.read())
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat()
            self._beat_at = now + self._beat_every
        if self.answered and now >= self._tidy_at:
            self._tidy()
            self._tidy_at = now + TIDY_EVERY
        self._look()

    def _on_notice(self, notice: Any) -> None:
        if isinstance(notice, Exception):
            raise notice
        self._is_heard = True
        kind, told = bytes(notice[0]), bytes(notice[-1] or b"")
        if kind != b"message":
            return
        what, _, rest = told.decode().partition(" ")
        if what == "s":
            base, _, slot = rest.rpartition(" ")
            known = [place for place in list(self._watched) if place.slot == int(slot)]
            self._wake([place for place in known if self._base_of(place) == base])
        elif what == "r":
            self._renew()
        elif int(rest) != self.heard:
            self._go_by(int(rest))

    # Epochs.

    def _renew(self) -> None:
        """Let what is remembered be no more."""
        self._count += 1
        self.epoch = self._count

    def _go_by(self, epoch: int) -> None:
        """Go by an epoch, and say so to those who wait until everybody does."""
        self._renew()
        with self._hearing:
            self.heard = epoch
            self._hearing.notify_all()
        self._say_heard()

    def _say_heard(self) -> int | None:
        """Say which epoch this process goes by; return the latest one, if that is known."""
        lease = int(1000 * max(3 * self._beat_every, 1.0))
        said = Command(books(), self._books, (self._owner, "hear", lease, self.heard))
        with suppress(*FAILURES):
            (latest,) = self._asking.run([said])
            if isinstance(latest, ReadOnlyError) and self._held is not None:
                # Another has taken its place, and is found by new connections.
                self._is_behind_others = True
                self._asking.renew()
                (latest,) = self._asking.run([said])
            if isinstance(latest, Exception):
                # Who may not write is not waited for.
                latest = self._asking.value("GET", f"{self._books}:epoch")
            return int(latest or 0)
        return None

    def _hear(self) -> None:
        """Go by the latest epoch, though its notice was lost between the nodes of a cluster."""
        latest = self._say_heard()
        if latest is None:
            self.epoch = UNKNOWN
        elif self.epoch == UNKNOWN:
            self._go_by(latest)
            self._when_found()
        elif latest != self.heard:
            self._go_by(latest)

    def wait_for(self, epoch: int, seconds: float) -> None:
        """Wait until this process goes by an epoch, as long as it is told at all."""
        with self._hearing:
            self._hearing.wait_for(lambda: self.goes_by(epoch), seconds)

    def goes_by(self, epoch: int) -> bool:
        """Tell whether this process goes by an epoch, or by none."""
        return self.heard >= epoch or not self.is_up.is_set()

    def _lose(self) -> None:
        super()._lose()
        with self._hearing:
            self._hearing.notify_all()

    # What is due.

    def _beat(self) -> None:
        """Keep what this process has alive, and see whether the subscription is."""
        if self._is_behind_others:
            raise ConnectionError("the server has become a replica")
        if not self._is_heard:
            raise TimeoutError("the server said nothing on the listening connection")
        self._is_heard = False
        self._wire.tell("PING")
        if self._settle is not None:
            self._settle(self._asking)
        held = sorted(self._held()) if self._held is not None else []
        arguments = (self._owner, "beat", int(1000 * self._address.lease))
        self._ask([Command(keeping(), base, arguments) for base in held])
        self._hear()

    def _tidy(self) -> None:
        """Tell the server what it need not remember any more."""
        keys: dict[str, list[str]] = {}
        while self.answered:
            base, id = self.answered.popleft()  # noqa: A001 - as in `Write`
            keys.setdefault(base, []).append(f"{base}:a:{self._owner}:{id}")
        some = [each[first : first + MANY] for each in keys.values() for first in range(0, len(each), MANY)]
        with suppress(*FAILURES):
            for first in range(0, len(some), MANY):
                self._asking.ask([("UNLINK", *each) for each in some[first : first + MANY]])

    def _look(self) -> None:
        with self._changed:
            places = list(self._watched)
        if places:
            # Where that cannot be known, those who wait ask for themselves.
            holders = self._holders(places)
            self._wake([place for place, holder in zip(places, holders, strict=True) if holder != OTHERS])

    def holders(self, places: Sequence[Place]) -> list[int]:
        """Tell who is filling each place: nobody, this process, or others."""
        known: list[int] = []
        for holder in self._holders(places):
            if isinstance(holder, Exception):
                raise holder
            known.append(holder)
        return known

    def _holders(self, places: Sequence[Place]) -> list[int | Exception]:
        by_base: dict[str, list[int]] = {}
        for nth, place in enumerate(places):
            by_base.setdefault(self._base_of(place), []).append(nth)
        holders: list[Any] = [0] * len(places)
        commands = [
            Command(keeping(), base, (self._owner, "wait", *(places[nth].slot for nth in some)))
            for base, some in by_base.items()
        ]
        for some, answer in zip(by_base.values(), self._ask(commands), strict=True):
            told = [answer] * len(some) if isinstance(answer, Exception) else answer
            for nth, holder in zip(some, told, strict=True):
                holders[nth] = holder
        return holders

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        answers: list[Any] = []
        for first in range(0, len(commands), MANY):
            answers += self._asking.run(commands[first : first + MANY])
        return answers

    # Leaving.

    def close(self) -> None:
        """End the thread."""
        self._end_thread()
        with suppress(Exception):
            self._tidy()
        self._disconnect()
        self._wake(list(self._watched))

    def leave_to_parent(self) -> None:
        """Let go of it in a forked child."""
        self._wire.leave_to_parent()
        self._close_pipe()


OTHERS: Final = 2
"""Who is filling a place: another process."""
