"""The exchange: samples of this machine's cache go into a log, and what others have put there comes into the cache."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import filelock

from memollm._types.locks import ForkedLock
from memollm._types.tables import counted
from memollm._types.warn import warn
from memollm._upkeep.exchange.log import Log
from memollm._upkeep.exchange.parcels import pack
from memollm._upkeep.exchange.state import CallTold, calls_told, id_of_sample, opened_state
from memollm._upkeep.transfer.exporting import transfer_of
from memollm._upkeep.transfer.files import UnreadableFile
from memollm._upkeep.transfer.lines import CountLine, CursorLine, DocumentLine, LaneLine, UseLine
from memollm._upkeep.transfer.loading import Load, batches, lines
from memollm.errors import MemollmWarning, OptionError, StoreError, StoreReadOnly, StoreRefused, StoreUnavailable
from memollm.stores.s3.store import BucketStore, Exchanges
from memollm.stores.sqlite.own_files import open_own

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from memollm._upkeep.exchange.log import Objects
    from memollm._upkeep.exchange.state import LogState
    from memollm._upkeep.transfer.lines import Line
    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing
    from memollm.stores.transfer import Leading, Shelf

    Told = Callable[[int, int], object]

LOCK: Final = "exchange.lock"
FOLDER: Final = "exchange"
RECEIVED: Final = "received.jsonl.gz"
LEAST_SHARE: Final = 20
"""So many times as long as the latest exchange took nothing is exchanged after it."""
LEAVING: Final = 5.0
"""Seconds for which the end of a program waits for an exchange that is under way."""


class Synced(NamedTuple):
    """What an exchange with a bucket has moved."""

    sent: int
    """Samples that the bucket lacked."""
    received: int
    """Samples that this machine lacked."""
    files: int
    """Files that were read."""
    untrusted: int
    """Samples in them that a key unknown here has signed: they are kept, and cannot be read until it is trusted."""


def silent(_done: int, _total: int) -> None:
    """Tell nobody."""


class BucketExchange(Exchanges):
    """Exchanges the samples of one store with one bucket; at any time one process of a machine does."""

    def __init__(self, store: BucketStore, codec: Codec, bucket: Objects, *, every: float = 0.0) -> None:
        self._store = store
        self._codec = codec
        self._log = Log(bucket, store.address.shown)
        self._every = every
        self._threads = ForkedLock()
        self._is_fit = False
        """Whether this process has seen that the bucket overwrites nothing."""
        self._sent_stamp: tuple[int, int] | None = None
        """The store's stamp when all of it had been sent."""
        self._told: set[str] = set()
        self._ended = threading.Event()
        self._pid = 0
        """The process whose exchange has begun."""

    # By itself.

    def begin(self) -> None:
        """Receive what others have put, and go on exchanging in a thread; the parent of a forked child does it."""
        if self._pid:
            return
        self._receive_first()
        self._pid = os.getpid()
        self._ended = threading.Event()
        _living.add(self)
        if self._every:
            threading.Thread(target=self._run, args=(self._ended,), name="memollm-exchange", daemon=True).start()

    def _receive_first(self) -> None:
        try:
            try:
                self._make()
            except StoreReadOnly as error:
                # What others have put can be read all the same.
                self._tell(error)
            self.sync(up=False)
        except StoreUnavailable as error:
            self._tell(error)

    def _run(self, ended: threading.Event) -> None:
        pause = self._every
        while not ended.wait(pause):
            began = time.monotonic()
            try:
                self.sync(wait=False)
            except (StoreError, OptionError) as error:
                with suppress(MemollmWarning):
                    self._tell(error)
                if not isinstance(error, StoreUnavailable):
                    return
            pause = max(self._every, LEAST_SHARE * (time.monotonic() - began))

    def end(self) -> None:
        """Send what is left."""
        if self._pid != os.getpid() or self._ended.is_set():
            return
        self._ended.set()
        try:
            self._log.patience = min(LEAVING, self._store.address.patience)
            self.sync(down=False, wait=LEAVING)
        except (StoreError, OptionError) as error:
            with suppress(MemollmWarning):
                self._tell(error)

    def _tell(self, error: Exception) -> None:
        if str(error) not in self._told:
            self._told.add(str(error))
            warn(str(error), MemollmWarning)

    # By hand.

    def look(self) -> str:
        """Tell what is in the bucket."""
        if self._log.identity() is None:
            return "it answers, and holds nothing yet"
        return f"it answers, and holds {counted(len(self._log.after(0)), 'file')}"

    def sync(self, *, up: bool = True, down: bool = True, told: Told = silent, wait: float | bool = True) -> Synced:
        """Receive what the bucket has and this machine lacks, then send what the bucket lacks.

        `wait` says whether, or for how many seconds, to wait for another process of this machine that does it.
        """
        with self._translating(), self._alone(wait) as is_alone:
            if not is_alone:
                return Synced(0, 0, 0, 0)
            identity = self._identity(up=up)
            if identity is None:
                return Synced(0, 0, 0, 0)
            with opened_state(self._store.files.folder, identity, self._store.age()) as state:
                done = Receiving(self._store, self._codec, self._log, state).receive(told) if down else None
                sent = self._send(state, told) if up else 0
        received, files, untrusted = done or (0, 0, 0)
        return Synced(sent, received, files, untrusted)

    @contextmanager
    def _translating(self) -> Generator[None]:
        """Say in the user's words what fails on this machine."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(
                f"{self._store.address.shown}: nothing can be exchanged by way of {self._store.files.folder}: {error}. "
                "Make that folder writable for this user, and some room on its disk. Draws go on."
            ) from error

    def _identity(self, *, up: bool) -> str | None:
        return self._log.identity() if not up or self._is_fit else self._make()

    def _make(self) -> str:
        identity = self._log.make()
        self._is_fit = True
        return identity

    def _send(self, state: LogState, told: Told) -> int:
        stamp = self._store.stamp()
        if stamp == self._sent_stamp:
            return 0
        sent, folder = 0, self._store.files.folder / FOLDER
        # What a killed process has left was not sent, and is made again.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            paths = pack(self._store, state, folder)
            for done, path in enumerate(paths, 1):
                sent += self._put(state, path)
                told(done, len(paths))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._sent_stamp = stamp
        return sent

    def _put(self, state: LogState, path: Path) -> int:
        """Put a file at the end of the log, and know that it is there."""
        read = state.read
        there = self._log.after(read)
        number = self._log.add(path.read_bytes(), read + len(there) + 1)
        content = [*lines(path)]
        # If others have put files before it, it is read once more, after theirs.
        state.note(content, number if number == read + 1 else None)
        calls = [*calls_told(content)]
        lead(self._store, state, calls)
        return sum(sum(call.samples.values()) for call in calls)

    @contextmanager
    def _alone(self, wait: float | bool) -> Generator[bool]:  # noqa: FBT001 - seconds, or for how ever long
        """Be the only thread of the only process of this machine that exchanges; tell whether that came about."""
        self._store.link()
        seconds = -1.0 if wait is True else float(wait)
        path = self._store.files.folder / LOCK
        # Whoever may write to the folder may have put a link there.
        os.close(open_own(path, os.O_RDWR | os.O_CREAT))
        lock = filelock.FileLock(path, timeout=seconds, mode=0o600)
        with self._threads:
            try:
                lock.acquire()
            except filelock.Timeout:
                yield False
                return
            try:
                yield True
            finally:
                lock.release()


class Receiving:
    """The files of a log on their way into a store."""

    def __init__(self, store: BucketStore, codec: Codec, log: Log, state: LogState) -> None:
        self._store = store
        self._load = Load(store, codec)
        self._log = log
        self._state = state

    def receive(self, told: Told) -> tuple[int, int, int]:
        """Read what was not read yet; return how many samples came, in how many files, and how many are untrusted."""
        numbers = self._log.after(self._state.read)
        for done, number in enumerate(numbers, 1):
            self._receive(number)
            told(done, len(numbers))
        return self._load.added, len(numbers), self._load.untrusted

    def _receive(self, number: int) -> None:
        content = self._content(number)
        for batch in batches(content):
            self._load.put(batch)
        # What is noted can all be read again, so it comes after what it speaks of.
        self._state.note(content, number)
        lead(self._store, self._state, [*calls_told(content)])

    def _content(self, number: int) -> Sequence[Line]:
        path = self._store.files.folder / RECEIVED
        try:
            with open(path, "wb", opener=_private) as file:
                file.write(self._log.read(number))
            return [line for line in lines(path) if is_shared(line)]
        except UnreadableFile as error:
            raise StoreRefused(
                f"{self._log.shown(number)} is damaged, or no file of memollm: {error} Nothing after it can be read; "
                "restore it as it was."
            ) from error
        finally:
            path.unlink(missing_ok=True)


def is_shared(line: Line) -> bool:
    """Tell whether a line is about samples: what readers have drawn, and what was counted, is each machine's own."""
    if isinstance(line, DocumentLine):
        return line.kind == "function"
    return not isinstance(line, CursorLine | LaneLine | UseLine | CountLine)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def lead(store: Drawing, state: LogState, calls: Iterable[CallTold]) -> None:
    """Let the sample be the first of each call which all who read the log take for it."""
    wanted = [(call, leader) for call in calls if (leader := state.leader(call.call)) is not None]
    if wanted:
        transfer_of(store).merge(lambda shelf: _lead(shelf, wanted))


def _lead(shelf: Shelf, wanted: Sequence[tuple[CallTold, bytes]]) -> None:
    for call, leader in wanted:
        handle = shelf.call(call.of, call.made)
        first = shelf.sample(handle, 0)
        if first is None or id_of_sample(first) != leader:
            cast("Leading", shelf).lead(handle, lambda sample, leader=leader: id_of_sample(sample) == leader)  # type: ignore[misc]


def exchange_of(store: Drawing) -> BucketExchange:
    """Return what exchanges the samples of a store with a bucket, or refuse where nothing does."""
    found = getattr(store, "exchange", None)
    if not isinstance(found, BucketExchange):
        raise OptionError(
            "sync: this cache exchanges samples with no bucket. Open one that does: Cache('s3://bucket/prefix'); or "
            "use memollm copy."
        )
    return found


_living: weakref.WeakSet[BucketExchange] = weakref.WeakSet()


def _at_exit() -> None:
    for each in list(_living):
        each.end()


atexit.register(_at_exit)
