"""The nodes of a cluster as one server: each is asked for the calls that it has, all of them side by side."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError

from memollm.stores.redis.address import Node
from memollm.stores.redis.connections import Channel, LentChannels, synced
from memollm.stores.redis.failures import FAILURES, name_of, of_node
from memollm.stores.redis.nodes import SlotMap, known_nodes, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.scripts import Command

    Require = Callable[[Channel, RedisAddress], bool]

C = TypeVar("C")
HOPS: Final = 3
"""How often one request follows what has moved."""
HEARING: Final = 0.25
"""Seconds for a node to say who listens at it; one that hands over to another may say nothing for longer."""


class NodeWork(Generic[C]):
    """How something is asked of a node."""

    def key(self, command: C) -> str | bytes:
        """Return by what the node is found that is to be asked."""
        raise NotImplementedError

    def send(self, wire: Channel, commands: Sequence[C], *, waits: bool) -> None:
        """Send it."""
        raise NotImplementedError

    def read(self, wire: Channel, commands: Sequence[C], *, waits: bool) -> Sequence[Any]:
        """Read what it is answered."""
        raise NotImplementedError


class ScriptWork(NodeWork["Command"]):
    """Scripts are run."""

    def key(self, command: Command) -> str:
        """Return how the keys begin."""
        return command.base

    def send(self, wire: Channel, commands: Sequence[Command], *, waits: bool) -> None:
        """Send them."""
        wire.begin(commands, waits=waits)

    def read(self, wire: Channel, commands: Sequence[Command], *, waits: bool) -> Sequence[Any]:
        """Read what they return."""
        return wire.end(commands, waits=waits)


class CommandWork(NodeWork["Sequence[Any]"]):
    """Commands are done."""

    def key(self, command: Sequence[Any]) -> str | bytes:
        """Return the key, which stands behind the name."""
        key: str | bytes = command[1]
        return key

    def send(self, wire: Channel, commands: Sequence[Sequence[Any]], *, waits: bool) -> None:  # noqa: ARG002 - as of scripts
        """Send them."""
        wire.send(commands)

    def read(self, wire: Channel, commands: Sequence[Sequence[Any]], *, waits: bool) -> Sequence[Any]:  # noqa: ARG002
        """Read what they are answered."""
        return [wire.read() for _ in commands]


class ClusterWay:
    """Connections to all nodes, which are lent. What cannot be asked of a node stands in the place of its answer."""

    def __init__(self, address: RedisAddress, require: Require) -> None:
        """`require` refuses a node that cannot be used, and tells whether its disk is to be waited for."""
        self._address = address
        self._require = require
        self.nodes = SlotMap(address)
        self._channels: dict[Node, LentChannels] = {}
        self._making = threading.RLock()
        self._swift: list[ClusterWay] = []
        self._within: float | None = None
        self._rests: dict[Node, tuple[float, Exception]] = {}

    @property
    def described(self) -> str:
        """Say what there is besides one server."""
        return f" (a cluster of {len(self.nodes.primaries)} nodes)"

    @property
    def away(self) -> list[str]:
        """Name the nodes that did not answer when they were asked last."""
        return [name_of(node) for node in list(self.nodes.away)]

    def open(self) -> None:
        """Find the nodes, and refuse what cannot be used."""
        self.nodes.look()
        replaced: list[ReadOnlyError] = []
        for _ in range(HOPS):
            replaced = [error for node in sorted(self.nodes.primaries) for error in self._greeted(node)]
            if not replaced:
                return
        raise replaced[0]

    def _greeted(self, node: Node) -> list[ReadOnlyError]:
        """Look at a node; return an error if another has taken its place, which is known by now."""
        try:
            self._channels_to(node)
        except ReadOnlyError as error:
            of_node(error, node)
            self._lose(node, error)
            return [error]
        except FAILURES as error:
            raise of_node(error, node) from error
        return []

    def _channels_to(self, node: Node) -> LentChannels:
        """Return the connections to a node; one that is new is looked at first."""
        known = self._channels.get(node)
        if known is not None:
            return known
        with self._making:
            if node not in self._channels:
                address = self._address.at(node, within=self._within)
                channels = LentChannels(address)
                channels.greet()
                with channels.lent() as wire:
                    channels.waits = self._require(wire, address)
                self._channels[node] = channels
            return self._channels[node]

    # Asking.

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run scripts."""
        return self._asked(commands, ScriptWork())

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands, each to the node that has its key, which stands behind its name."""
        return self._asked(commands, CommandWork())

    def value(self, *command: Any) -> Any:
        """Send one command; return its answer, or raise."""
        (answer,) = self.ask([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _asked(self, commands: Sequence[C], work: NodeWork[C]) -> list[Any]:
        if self.nodes.is_old:
            self.nodes.look()
        slots = [slot_of(work.key(command)) for command in commands]
        answers: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        for _ in range(HOPS):
            by_node: dict[Node, list[int]] = {}
            for nth in left:
                by_node.setdefault(self.nodes.of(slots[nth]), []).append(nth)
            self._side_by_side(sorted(by_node.items()), commands, work, answers)
            left = [
                nth for node, some in by_node.items() for nth in some if self._has_moved(node, answers[nth], slots[nth])
            ]
            if not left:
                break
        return answers

    def _side_by_side(
        self,
        asked: Sequence[tuple[Node, Sequence[int]]],
        commands: Sequence[C],
        work: NodeWork[C],
        answers: list[Any],
    ) -> None:
        """Ask nodes: all is sent before anything is read. They come in one order, so that nobody waits in a circle."""
        if not asked:
            return
        node, numbers = asked[0]
        some, is_sent = [commands[nth] for nth in numbers], False
        try:
            found: Sequence[Any]
            self._require_rested(node)
            channels = self._channels_to(node)
            with channels.lent() as wire:
                work.send(wire, some, waits=channels.waits)
                is_sent = True
                self._side_by_side(asked[1:], commands, work, answers)
                found = work.read(wire, some, waits=channels.waits)
            self.nodes.away.discard(node)
        except FAILURES as error:
            self._lose(node, error)
            found = [of_node(error, node)] * len(some)
            if not is_sent:
                self._side_by_side(asked[1:], commands, work, answers)
        for nth, answer in zip(numbers, found, strict=True):
            answers[nth] = answer

    def _has_moved(self, asked: Node, answer: Any, slot: int) -> bool:
        """Tell whether another node has what was asked for, and which."""
        if isinstance(answer, ClusterDownError):
            self.nodes.is_old = True
        if isinstance(answer, ReadOnlyError):
            return self.nodes.of(slot) != asked
        if not isinstance(answer, MovedError):
            return False
        said: Any = answer
        self.nodes.moved(slot, Node(said.host or self.nodes.of(slot).host, int(said.port)))
        return True

    def _lose(self, node: Node, error: Exception) -> None:
        """Know that a node does not answer, or is a replica: maybe another has its calls by now."""
        if isinstance(error, ReadOnlyError):
            with suppress(*FAILURES):
                self.nodes.replace(node)
            return
        self.nodes.is_old = True
        self.nodes.away.add(node)
        if self._within is not None and node not in self._rests:
            self._rests[node] = time.monotonic() + 2 * self._within, error
        if node in self._channels:
            self._channels[node].close()

    def _require_rested(self, node: Node) -> None:
        """Leave a node alone for a while that kept this thread waiting."""
        until, error = self._rests.get(node, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        self._rests.pop(node, None)

    # Listening.

    def listening(self) -> RedisAddress:
        """Return a node to listen at: what is told at one is told at all of them."""
        if self.nodes.is_old:
            self.nodes.look()
        nodes = self.nodes.primaries - self.nodes.away or self.nodes.primaries
        return self._address.at(secrets.choice(sorted(nodes)))

    def are_heard(self, names: Sequence[str], notice: str = "") -> bool:
        """Ask every node, since each knows of those who listen at it; one that does not answer may have some.

        What is told at a node comes to those who listen there, and maybe not to others.
        """
        nodes = self.nodes.all
        heard = [self._may_be_heard_at(node, names, notice, len(nodes)) for node in sorted(nodes)]
        return any(heard)

    def _may_be_heard_at(self, node: Node, names: Sequence[str], notice: str, asked: int) -> bool:
        try:
            wire = Channel(self._address.at(node, within=HEARING))
            try:
                counts: Any = wire.value("PUBSUB", "NUMSUB", *names)
                heard = [name for name, count in zip(names, counts[1::2], strict=True) if count]
                if notice:
                    wire.ask([("PUBLISH", name, notice) for name in heard])
                # There may be a node that is not listed for a moment, as one of which another takes the place.
                return bool(heard) or known_nodes(wire.value("CLUSTER", "INFO")) > asked
            finally:
                wire.close()
        except FAILURES:
            return True

    # The others of a `ServerWay`.

    def swift(self, within: float) -> ClusterWay:
        """Return connections of their own to the same nodes, which wait for none of them for long."""
        way = ClusterWay(self._address, _accept)
        way.nodes, way._within = self.nodes, within
        self._swift.append(way)
        return way

    def sync(self, prefix: str) -> None:
        """Wait until all that was written is on the disks."""
        if self.nodes.is_old:
            self.nodes.look()
        for node, slot in self.nodes.of_all():
            try:
                channels = self._channels_to(node)
                if channels.waits:
                    synced(channels, f"{prefix}:{{{_tag_in(slot)}}}")
            except FAILURES as error:
                self.nodes.is_old = True
                raise of_node(error, node) from error

    def renew(self) -> None:
        """Do nothing: connections to a node are ended when it fails."""

    def close(self) -> None:
        """End all connections that nobody uses."""
        for way in self._swift:
            way.close()
        for channels in list(self._channels.values()):
            channels.close()

    def leave_to_parent(self) -> None:
        """Let go of all in a forked child."""
        for way in self._swift:
            way.leave_to_parent()
        for channels in list(self._channels.values()):
            channels.leave_to_parent()


def _accept(wire: Channel, address: RedisAddress) -> bool:  # noqa: ARG001 - as `Require` is called
    """Take a node that was looked at before, whose disk is waited for by others."""
    return False


def _tag_in(slot: int) -> int:
    """Return a tag whose keys are in a slot."""
    return next(tag for tag in range(1 << 30) if slot_of(f"{{{tag}}}") == slot)
