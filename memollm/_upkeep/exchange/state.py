"""What a machine knows of a log: how far it has read, what of its own is there, and which sample leads each call."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections import Counter
from contextlib import closing, contextmanager
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Final

from memollm._types.samples import digest_of
from memollm._upkeep.transfer.lines import CallLine, PackedLine, ReplacedLine, SampleLine
from memollm.stores.sqlite.own_files import open_own

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from pathlib import Path

    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm._upkeep.transfer.lines import Line

FILE: Final = "exchange.db"
_DIGEST: Final = 16
_REPLACED: Final = b"replaced"


def id_of_call(call: Call) -> bytes:
    """Return what a call is known by."""
    return hashlib.sha256(call.key + call.form.encode()).digest()[:_DIGEST]


def id_of_sample(sample: Sample) -> bytes:
    """Return what a sample is known by, wherever it stands."""
    return id_of(sample.stored, digest_of(sample.record))


def id_of(stored: float, digest: bytes, kind: bytes = b"") -> bytes:
    """Return so by a sample's moment and a digest of its record; what was replaced is known by another."""
    return hashlib.sha256(kind + struct.pack("<d", stored) + digest).digest()[:_DIGEST]


def id_of_replaced(line: ReplacedLine) -> bytes:
    """Return what it is known by that a sample was replaced."""
    return id_of(line.stored, bytes.fromhex(line.digest), _REPLACED)


@cache
def _statements() -> Mapping[str, str]:
    text = package_files(__name__.rpartition(".")[0]).joinpath("state.sql").read_text(encoding="utf-8")
    blocks = text.split("-- name: ")[1:]
    return {block.split(None, 1)[0]: block.partition("\n")[2].strip() for block in blocks}


@contextmanager
def opened_state(folder: Path, log: str, age: int) -> Generator[LogState]:
    """Open what is known of a log, or begin anew where it is another log, or the cache beside it another file."""
    path = folder / FILE
    os.close(open_own(path, os.O_RDWR | os.O_CREAT))
    if not _is_readable(path):
        # It can all be read again.
        path.unlink()
        os.close(open_own(path, os.O_RDWR | os.O_CREAT))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_statements()["tables"])
        state = LogState(connection)
        if state.log != log or age < state.age:
            state.begin(log)
        state.age = age
        yield state


def _is_readable(path: Path) -> bool:
    """Tell whether a file is a database that can be used."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(_statements()["tables"])
            return [*connection.execute("PRAGMA quick_check(1)")] == [("ok",)]
    except sqlite3.DatabaseError:
        return False


class LogState:
    """An open file of it; whoever has it is alone with it on this machine."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(_statements()[statement], values)

    def _about(self, name: str) -> str:
        row = self._do("about", name).fetchone()
        return row[0] if row else ""

    @property
    def log(self) -> str:
        """Which log it is about."""
        return self._about("log")

    @property
    def age(self) -> int:
        """How old the cache was when this was last opened."""
        return int(self._about("age") or 0)

    @age.setter
    def age(self, age: int) -> None:
        self._do("say", "age", str(age))

    @property
    def read(self) -> int:
        """The number of the last file that was read."""
        return int(self._about("read") or 0)

    def begin(self, log: str) -> None:
        """Know nothing of a log."""
        with self._transaction():
            self._do("forget_sent")
            self._do("forget_leaders")
            self._do("say", "log", log)
            self._do("say", "read", "0")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._do_plainly("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._do_plainly("ROLLBACK")
            raise
        self._do_plainly("COMMIT")

    def _do_plainly(self, statement: str) -> None:
        self._connection.execute(statement)

    def sent(self, call: bytes) -> Mapping[bytes, int]:
        """Tell what the log has of a call, and how often."""
        return dict(self._do("sent", call).fetchall())

    def leader(self, call: bytes) -> bytes | None:
        """Tell which sample is the first of a call, if the log has said so."""
        row = self._do("leader", call).fetchone()
        return None if row is None else row[0]

    def note(self, lines: Iterable[Line], read: int | None) -> None:
        """Know what a file of the log says, and that it was read up to there."""
        with self._transaction():
            for told in calls_told(lines):
                for sample, times in told.samples.items():
                    self._do("send", told.call, sample, times)
                if read is not None:
                    self._lead(told)
            if read is not None:
                self._do("say", "read", str(read))

    def _lead(self, told: CallTold) -> None:
        """Let the first that was put lead, until it is told that another took its place."""
        if told.first is not None and self.leader(told.call) in {None, *told.replaced}:
            self._do("lead", told.call, told.first)


class CallTold:
    """What a file of the log says of one call."""

    def __init__(self, line: CallLine) -> None:
        self.of = line.call()
        self.call = id_of_call(self.of)
        self.made = line.made
        self.samples: Counter[bytes] = Counter()
        """Samples, and what was replaced, by what they are known by."""
        self.first: bytes | None = None
        """The sample of the slot 0."""
        self.replaced: list[bytes] = []
        """What the slot 0 had before."""


def calls_told(lines: Iterable[Line]) -> Iterable[CallTold]:
    """Gather what lines say, call by call."""
    told: CallTold | None = None
    for line in lines:
        if isinstance(line, CallLine):
            if told is not None:
                yield told
            told = CallTold(line)
        elif told is not None and isinstance(line, SampleLine | PackedLine):
            sample = id_of_sample(line.sample())
            told.samples[sample] += 1
            told.first = sample if line.slot == 0 else told.first
        elif told is not None and isinstance(line, ReplacedLine):
            told.samples[id_of_replaced(line)] = 1
            told.replaced += [id_of(line.stored, bytes.fromhex(line.digest))] if line.slot == 0 else []
    if told is not None:
        yield told
