"""The versions of one function that a process has seen: state that is set while it runs makes another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memollm._keys.code.changes import changed_constants, changes
from memollm._types.warn import warn
from memollm.errors import MemollmWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._keys.identity import Identity
    from memollm._types.calls import Call

STATES: Final = 32
"""How many are remembered with what was seen, so that coming back to one costs a look."""
VERSIONS: Final = 1000
RESTLESS: Final = 5
"""After how many versions of which none came back the user is told."""
TRIES: Final = 3


class State:
    """Who a function is as long as what it reads is as it was seen."""

    __slots__ = ("head", "holds", "identity", "shortcuts")

    def __init__(self, identity: Identity, head: str, shortcuts: dict[bytes, Call]) -> None:
        self.identity = identity
        self.head = head
        """What all forms of its calls begin with."""
        self.holds = identity.watch.holds if identity.watch else None
        """Tells whether it still is who the function is; None where nothing can change that."""
        self.shortcuts = shortcuts
        """Keys of calls whose arguments are plain builtins, by the bytes of these."""


class States:
    """What a function, as a method of one class, was found to be."""

    def __init__(self, make: Callable[[], tuple[Identity, str]]) -> None:
        self._make = make
        self._states: list[State] = []
        self._shortcuts: dict[str, dict[bytes, Call]] = {}
        """By version; a process knows it by several states if objects were replaced by equal ones."""
        self._fresh = 0
        self._has_warned = False
        self.first: Identity | None = None

    def now(self) -> State:
        """Return who the function is now, reading its code only if that is not known yet."""
        states = self._states
        for state in reversed(states):
            if state.holds is None or state.holds():
                if state is not states[-1]:
                    self._fresh = 0
                    self._states = [*(each for each in states if each is not state), state]
                return state
        return self._look()

    def _look(self) -> State:
        identity, head = self._make()
        for _ in range(TRIES):
            # Somebody may have changed it while it was read.
            if identity.watch.holds():
                break
            identity, head = self._make()
        before = self._states[-1].identity if self._states else None
        if len(self._shortcuts) >= VERSIONS:
            self._shortcuts = {}
        is_new = identity.version not in self._shortcuts
        state = State(identity, head, self._shortcuts.setdefault(identity.version, {}))
        self._states = [*self._states[-STATES + 1 :], state]
        if self.first is None:
            self.first = identity
        if before is not None and identity.version != before.version:
            self._fresh = self._fresh + 1 if is_new else 0
            if self._fresh >= RESTLESS and not self._has_warned:
                self._has_warned = True
                warn(_restless(before, identity), MemollmWarning)
        return state

    def clear(self) -> None:
        """Forget the keys of calls that were made before."""
        for shortcuts in self._shortcuts.values():
            shortcuts.clear()


def _restless(before: Identity, now: Identity) -> str:
    names = changed_constants(before.parts, now.parts)
    ignoring = ", ".join(f'"{name}"' for name in names) or '"NAME"'
    return (
        f"What {now.name} reads has changed {RESTLESS} times while this program ran and never back, so it draws new "
        f"samples each time:\n{changes(before.parts, now.parts)}\n"
        f"If that decides what the model is asked, make it an argument. If it does not matter: ignore=({ignoring},)."
    )
