"""Which node of a cluster has which calls, as its nodes tell."""

from __future__ import annotations

import secrets
import threading
from binascii import crc_hqx
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ClusterDownError

from memollm.stores.redis.address import Node
from memollm.stores.redis.connections import Channel
from memollm.stores.redis.failures import FAILURES, of_node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.stores.redis.address import RedisAddress

SLOTS: Final = 16_384
WITHIN: Final = 3.0
"""Seconds within which a node tells who has what, if leases are not shorter; then another is asked."""


def slot_of(key: str | bytes) -> int:
    """Return the slot of a cluster in which a key is: that of what stands in its braces."""
    name = key.encode() if isinstance(key, str) else key
    return crc_hqx(name[name.index(b"{") + 1 : name.index(b"}")], 0) % SLOTS


class SlotMap:
    """The nodes of a cluster. A node that is asked for what it has not says who has it."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._within = min(WITHIN, address.lease / 4)
        self._looking = threading.RLock()
        self._of_slot: list[Node | None] = []
        self.primaries: frozenset[Node] = frozenset()
        self.all: frozenset[Node] = frozenset(address.nodes)
        self.away: set[Node] = set()
        """Those that did not answer when they were asked last."""
        self.version = 0
        self.is_old = True

    def of(self, slot: int) -> Node:
        """Return the node that has a slot."""
        node = self._of_slot[slot]
        if node is None:
            raise ClusterDownError(f"no node has slot {slot}")
        return node

    def of_all(self) -> list[tuple[Node, int]]:
        """Return each node that has slots, with one of them."""
        return [*{node: slot for slot, node in enumerate(self._of_slot) if node is not None}.items()]

    def moved(self, slot: int, node: Node) -> None:
        """Go by what a node has said; the others are asked soon, since slots often move together."""
        self._of_slot[slot] = node
        self.is_old = True

    def look(self) -> None:
        """Ask the nodes who has what, unless another thread has done so meanwhile."""
        version = self.version
        with self._looking:
            if version == self.version:
                self._look()

    def _look(self) -> None:
        failed: Exception | None = None
        known = sorted(self.all | {*self._address.nodes}, key=lambda node: (node in self.away, secrets.randbits(16)))
        for node in known:
            try:
                self._go_by(node, self._asked(node))
            except FAILURES as error:
                self.away.add(node)
                failed = of_node(error, node)
            else:
                self.away.discard(node)
                return
        raise failed or ClusterDownError("no node is known")

    def _asked(self, node: Node) -> Sequence[Any]:
        wire = Channel(self._address.at(node, within=self._within))
        try:
            rows: Any = wire.value("CLUSTER", "SLOTS")
        finally:
            wire.close()
        if not rows:
            raise ClusterDownError("no slot is given to any node")
        return list(rows)

    def _go_by(self, asked: Node, rows: Sequence[Any]) -> None:
        of_slot: list[Node | None] = [None] * SLOTS
        found: set[Node] = set()
        for first, last, *nodes in rows:
            # A node that does not know its own name is where it was asked.
            named = [Node(host.decode() if host and host != b"?" else asked.host, port) for host, port, *_ in nodes]
            of_slot[first : last + 1] = [named[0]] * (last + 1 - first)
            found.update(named)
        self._of_slot, self.all = of_slot, frozenset(found)
        self.primaries = frozenset(node for node in of_slot if node is not None)
        self.version += 1
        self.is_old = False
