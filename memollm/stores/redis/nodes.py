"""Which node of a cluster has which calls, as its nodes tell."""

from __future__ import annotations

import secrets
import threading
from binascii import crc_hqx
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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


def known_nodes(told: bytes) -> int:
    """Return how many nodes one knows of, by what it tells of its cluster."""
    return int(told.partition(b"cluster_known_nodes:")[2].split()[0])


class SlotsTold(NamedTuple):
    """What a node tells."""

    of_slot: list[Node | None]
    nodes: frozenset[Node]


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
            # Who has it now may be known in a moment.
            self.is_old = True
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

    def replace(self, node: Node) -> None:
        """Ask a node that has become a replica who has its slots: it knows, and others may not yet."""
        with self._looking:
            told = _read(node, self._asked(node))
            known = zip(self._of_slot, told.of_slot, strict=True)
            self._know(SlotsTold([now if had == node else had for had, now in known], self.all | told.nodes))

    def _look(self) -> None:
        failed: Exception | None = None
        best: SlotsTold | None = None
        asked: set[Node] = set()
        while (best is None or None in best.of_slot) and (left := self._to_ask(best) - asked):
            # Who misses a slot may have heard only that it left a node, and not yet who has it now; others may have.
            node = min(left, key=lambda node: (node in self.away, secrets.randbits(16)))
            asked.add(node)
            try:
                told = _read(node, self._asked(node))
            except FAILURES as error:
                self.away.add(node)
                failed = of_node(error, node)
                continue
            self.away.discard(node)
            if best is None or told.of_slot.count(None) < best.of_slot.count(None):
                best = told
        if best is None:
            raise failed or ClusterDownError("no node is known")
        self._know(best)
        self.is_old = False

    def _to_ask(self, told: SlotsTold | None) -> frozenset[Node]:
        return self.all.union(self._address.nodes, () if told is None else told.nodes)

    def _asked(self, node: Node) -> Sequence[Any]:
        wire = Channel(self._address.at(node, within=self._within))
        try:
            rows: Any = wire.value("CLUSTER", "SLOTS")
        finally:
            wire.close()
        if not rows:
            raise ClusterDownError("no slot is given to any node")
        return list(rows)

    def _know(self, told: SlotsTold) -> None:
        self._of_slot, self.all = told
        self.primaries = frozenset(node for node in told.of_slot if node is not None)
        self.version += 1


def _read(asked: Node, rows: Sequence[Any]) -> SlotsTold:
    """Read which node has each slot, and which nodes there are, as one of them tells."""
    of_slot: list[Node | None] = [None] * SLOTS
    found: set[Node] = set()
    for first, last, *nodes in rows:
        # A node that does not know its own name is where it was asked.
        named = [Node(host.decode() if host and host != b"?" else asked.host, port) for host, port, *_ in nodes]
        of_slot[first : last + 1] = [named[0]] * (last + 1 - first)
        found.update(named)
    return SlotsTold(of_slot, frozenset(found))
