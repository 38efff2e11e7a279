"""Every error and warning that memollm raises.

::

    MemollmError
    ├── OptionError              an option is misspelt, contradicts another, or has a wrong value
    ├── UnkeyableArgument        an argument has no stable identity, so no call could be told from another
    ├── CodeChanged              a function's code has changed and its `on_change` forbids that
    ├── ReentrantCall            a draw would wait for itself, or for others that wait for it
    ├── NoEventLoop              a coroutine function is drawn where no event loop of asyncio runs
    ├── WrongNumber              a function that makes several samples made more or fewer than it was asked for
    ├── HoldError                a held draw is read or filled where it cannot be
    ├── ReplayedStream           something was sent into a stream that is replayed from the store
    ├── CacheMiss                nothing is stored where nothing may be called
    │   └── ReplayExhausted      a replay has come to the end of what its namespace drew
    ├── BudgetExceeded           a call would take more than a budget leaves
    ├── UnknownCost              nobody knows what a call cost, and a budget limits the cost
    ├── UncacheableResult        a result that cannot be stored
    ├── RecordError              a stored record cannot be turned back into its value
    │   ├── UntrustedRecord      it names code and carries no signature of ours
    │   ├── StaleRecord          its class has moved or changed
    │   ├── DamagedRecord        its bytes are not what was written
    │   └── MissingRecord        it is kept elsewhere, and could not be had from there
    └── StoreError               the store did not do what it was asked
        ├── StoreUnavailable     it cannot be reached, read or written now
        │   ├── StoreReadOnly    it can be read, and this user may not write it
        │   └── ChangeRefused    it cannot take one of several changes; without that, it can take the others
        ├── StoreInUse           this very thread was interrupted in the middle of using it
        ├── StoreRefused         it must not be used as it is: a foreign file, a newer schema, a network filesystem
        └── StoreClosed          it was closed by its user

    MemollmWarning (UserWarning)
    ├── NotStoredWarning         an answer was returned and could not be kept
    ├── CodeChangedWarning       a function's code is not the one that its stored samples came from
    ├── NotCountedWarning        what a call took could not be told
    └── OutsideBlockWarning      a thread draws outside of the blocks that are open in the thread that started it
"""

from __future__ import annotations

SPACES = "\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""The spaces of other scripts, which Python calls unprintable and no terminal minds."""


def printable(text: str) -> str:
    """Write what is not printable as an escape, so that a stored text cannot steer the terminal."""
    return text if text.isprintable() else "".join(map(_printable, text))


def printable_lines(text: str) -> str:
    """Do so with a text of several lines."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def _printable(character: str) -> str:
    if character.isprintable() or character in SPACES:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode()


class MemollmError(Exception):
    """The root of every error of memollm.

    A message may quote what is stored, which may come from anybody: nothing in it steers a terminal.
    """

    def __str__(self) -> str:
        return printable_lines(super().__str__())


class OptionError(MemollmError, ValueError):
    """An option is misspelt, contradicts another, or has a value that it cannot have."""


class UnkeyableArgument(MemollmError, TypeError):
    """An argument has no stable identity; `path` says where in the call it stands."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return printable_lines(str(self.args[0]))


class CodeChanged(MemollmError):
    """A function's code is not the code that its stored samples came from, and `on_change` forbids that."""


class ReentrantCall(MemollmError, RuntimeError):
    """A draw would wait, inside a call, for a sample that cannot come before this call has ended."""


class NoEventLoop(MemollmError, RuntimeError):
    """A coroutine function is drawn where no event loop of asyncio runs, such as under trio."""


class WrongNumber(MemollmError, ValueError):
    """A function that makes several samples a call made more or fewer than it was asked for."""


class HoldError(MemollmError, RuntimeError):
    """A held draw is entered twice, read before it is filled, or filled where nothing is missing."""


class ReplayedStream(MemollmError, RuntimeError):
    """Something was sent into a stream that is replayed from the store and cannot answer."""


class CacheMiss(MemollmError, LookupError):
    """Nothing is stored of a call, and the mode forbids to make it."""


class ReplayExhausted(CacheMiss):
    """A replay has come to the end of what its namespace drew."""


class BudgetExceeded(MemollmError):
    """A call would take more than a budget leaves; nothing was called."""


class UnknownCost(MemollmError):
    """Nobody knows what a call cost, so a budget in dollars cannot hold; nothing more was called."""


class UncacheableResult(MemollmError, TypeError):
    """A result cannot be stored so that it would come back equal and of the same types."""


class RecordError(MemollmError):
    """A stored record cannot be turned back into its value."""


class UntrustedRecord(RecordError):
    """A record that names code carries no valid signature of a trusted key, so it is not loaded."""


class StaleRecord(RecordError):
    """A record's class has moved, lost a field, or no longer takes what was stored."""


class DamagedRecord(RecordError):
    """A record's bytes are not what was written."""


class MissingRecord(RecordError):
    """A record is kept elsewhere, in a bucket, and is not there or could not be had."""


class StoreError(MemollmError):
    """The store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, read or written now."""


class StoreReadOnly(StoreUnavailable):
    """The store can be read, and this user may not write it."""


class ChangeRefused(StoreUnavailable):
    """The store cannot take one of the changes that it was given together, and took none of them."""


class StoreRefused(StoreError):
    """The store must not be used as it is: a foreign file, a newer schema, a network filesystem."""


class StoreInUse(StoreError):
    """The store is being used by this very thread, which a signal handler or a destructor has interrupted."""


class StoreClosed(StoreError):
    """The store was closed by its user."""


class MemollmWarning(UserWarning):
    """The root of every warning of memollm; nothing in its message steers a terminal either."""

    def __str__(self) -> str:
        return printable_lines(super().__str__())


class NotStoredWarning(MemollmWarning):
    """An answer was returned to the caller and could not be kept."""


class CodeChangedWarning(MemollmWarning):
    """A function's code is not the code that its stored samples came from."""


class NotCountedWarning(MemollmWarning):
    """What a call took could not be told, so it is not counted."""


class OutsideBlockWarning(MemollmWarning):
    """A thread draws outside of the blocks that are open in the thread that started it."""


for _error in list(globals().values()):
    if isinstance(_error, type) and _error.__module__ == __name__:
        # They are the package's own; records and pickles carry the name.
        _error.__module__ = "memollm"
