"""Bytes of a cache's folder or of an export, changed at random, and whatever a user may then do with them.

Whatever comes of it must be the right samples or an error of ours, in a bounded time, with nothing outside touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import random
import shutil
import sqlite3
import sys
import time
import warnings
from typing import TYPE_CHECKING

from memollm import Cache, MemollmError, lane, replay, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROMPTS = [f"prompt {number}" for number in range(6)]
LONGEST = 30.0
"""Seconds that one step may take at most, on a busy machine."""
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen")
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclasses.dataclass
class Verdict:
    """An answer whose record names a class, and is signed."""

    prompt: str
    score: int = 3


class Odd:
    """An answer that only a pickle holds."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.prompt == self.prompt

    __hash__ = object.__hash__

    def __reduce__(self):
        return Odd, (self.prompt,)


MAKERS: dict[str, Callable[[str], object]] = {
    "text": lambda prompt: f"the answer to {prompt}",
    "long": lambda prompt: {"answer": f"words of {prompt} " * 600},
    "verdict": Verdict,
    "odd": Odd,
    "tuple": lambda prompt: (prompt, 1, b"raw", 2.5),
}


def askers(cache: Cache, **options):
    """Decorate a function for each form of a record; what each returns can be told from its prompt."""
    return {
        name: cache.cached_llm(make, name=name, version="1", on_stale="miss", **options)
        for name, make in MAKERS.items()
    }


def fill(folder: Path) -> None:
    """Make a cache that has something in every table."""
    with Cache(folder) as cache:
        for name, ask in askers(cache, namespace="n").items():
            for prompt in PROMPTS:
                ask(prompt)
            ask.draw(3, PROMPTS[0])
            with lane("a"):
                ask(PROMPTS[1])
            with run("one"):
                ask(PROMPTS[2])
            ask.with_options(mode="refresh", namespace="fresh")(PROMPTS[3])
            cache.cached_llm(MAKERS[name], name=name, version="1", pool=1)(PROMPTS[4])


# Changing bytes.


def flip(data: bytearray, dice: random.Random) -> None:
    """Change a few bytes."""
    for _ in range(dice.choice((1, 3, 30))):
        data[dice.randrange(len(data))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))


def overwrite(data: bytearray, dice: random.Random) -> None:
    """Put noise or one byte over a stretch."""
    at, length = dice.randrange(len(data)), dice.choice((2, 8, 100, 4096))
    data[at : at + length] = dice.choice((dice.randbytes(length), bytes([dice.randrange(256)]) * length))


def copy(data: bytearray, dice: random.Random) -> None:
    """Put a stretch over another, pages over pages as well."""
    unit = dice.choice((1, 16, 4096))
    length = dice.choice((1, 4, 40)) * unit
    source, target = (dice.randrange(len(data)) // unit * unit for _ in range(2))
    data[target : target + length] = data[source : source + length]


def cut(data: bytearray, dice: random.Random) -> None:
    """End early, or late."""
    if dice.random() < 0.7:
        del data[dice.randrange(len(data)) :]
    else:
        data += dice.randbytes(dice.choice((1, 500, 8192)))


def number(data: bytearray, dice: random.Random) -> None:
    """Write a number that may be a count, a size or a page."""
    at, size = dice.randrange(len(data)), dice.choice((2, 4, 8))
    data[at : at + size] = dice.choice((0, 1, 2, 5, (1 << (8 * size - 1)) - 1, (1 << (8 * size)) - 1)).to_bytes(
        size, "big"
    )


CHANGES = (flip, flip, overwrite, copy, cut, number)


def changed(data: bytes, dice: random.Random) -> bytes:
    """Change bytes in one way, or in several."""
    new = bytearray(data or b"\0")
    for _ in range(dice.choice((1, 1, 2, 5))):
        if new:
            dice.choice(CHANGES)(new, dice)
    return bytes(new)


VALUES = (
    None, "", "abc", b"", b"\xff\xfe", -1, 0, 1 << 62, (1 << 63) - 1, -(1 << 63), 1e300, float("-inf"), "9" * 400,
    "{", "[]", "\x1b[2J", "x" * 70_000, b"J1:00000000:1", "../../precious", 1.5,
)  # fmt: skip


def change_rows(database: Path, dice: random.Random) -> None:
    """Put whatever value into a column, of one row or of all."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(dice.choice((1, 1, 3))):
            table = dice.choice(tables)
            column = dice.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
            where = dice.choice(("", f"WHERE {column} = (SELECT {column} FROM {table} ORDER BY random() LIMIT 1)"))
            with contextlib.suppress(sqlite3.Error):
                connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? {where}", (dice.choice(VALUES),))


# Doing things.


def allowed(action: Callable[[], object]) -> object:
    """Do something; an error of ours may come of it, and nothing else."""
    begun = time.monotonic()
    try:
        return action()
    except MemollmError as error:
        assert len(str(error)) > 20, "an error that explains nothing"  # noqa: PT017 - any of ours may come
        return None
    finally:
        assert time.monotonic() - begun < LONGEST, "it hangs"


class WrongAnswer(AssertionError):
    """A draw gave what its function does not return."""


def require(got: object, right: object) -> None:
    """Let an error of ours, which gives nothing, or the right answer pass."""
    if got is not None and got != right:
        raise WrongAnswer(f"{got!r} for {right!r}")


def is_damaged(folder: Path) -> bool:
    """Tell whether SQLite itself finds that its pages contradict each other, as `verify` tells the user."""
    with contextlib.closing(sqlite3.connect(folder / "memollm.db")) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]


def use(folder: Path) -> None:
    """Do whatever a user may do with a cache; each answer must be what the function returns."""
    cache = Cache(folder)
    for name, ask in askers(cache, namespace="n").items():
        expected = [MAKERS[name](prompt) for prompt in PROMPTS]
        for prompt, right in zip(PROMPTS, expected, strict=True):
            got = allowed(lambda prompt=prompt, ask=ask: ask(prompt))
            require(got, right)
        require(allowed(lambda ask=ask: ask.draw(2, PROMPTS[0])), [expected[0]] * 2)
        found = allowed(lambda ask=ask: ask.peek(PROMPTS[0])) or []
        require(found, [expected[0]] * len(found))
        once = ask.with_options(pool=1, namespace=None)
        require(allowed(lambda once=once: once(PROMPTS[4])), expected[4])
        reader = ask.with_options(mode="readonly")
        require(allowed(lambda reader=reader: reader(PROMPTS[2])), expected[2])
        with lane("a"):
            require(allowed(lambda ask=ask: ask(PROMPTS[1])), expected[1])
        with replay("n", then="draw"):
            require(allowed(lambda ask=ask: ask(PROMPTS[0])), expected[0])
        anew = ask.with_options(mode="refresh")
        require(allowed(lambda anew=anew: anew(PROMPTS[3])), expected[3])
        allowed(lambda ask=ask: ask.explain("another"))
        allowed(lambda ask=ask: ask.with_options(mode="offline")("another"))
        with replay("n"):
            allowed(lambda ask=ask: ask.draw(2, PROMPTS[0]))
    for action in (
        cache.stats,
        lambda: cache.stats("run"),
        cache.namespaces,
        cache._repr_html_,
        lambda: cache.prune(max_samples=5, dry_run=True),
        lambda: cache.export(folder.parent / "out.jsonl"),
        cache.verify,
        lambda: cache.load(folder.parent / "out.jsonl"),
        lambda: cache.rewind("n"),
        lambda: cache.adopt("text", version="2"),
        lambda: cache.verify(repair=True),
        lambda: askers(cache)["text"](PROMPTS[0]),
        lambda: cache.drop("n"),
        cache.close,
    ):
        allowed(action)


def command_line(folder: Path) -> None:
    """Have the command line look at a cache."""
    from click import ClickException
    from click.testing import CliRunner

    from memollm.cli._group import memollm

    # What `memollm.cli._running` tells on a line, and the end of a command.
    told = MemollmError, ClickException, OSError, SystemExit
    for command in (
        "doctor",
        "ls",
        "ls --json",
        "stats",
        "functions",
        "namespaces",
        "runs",
        "verify",
        "show 0",
        "show f",
    ):
        result = CliRunner().invoke(memollm, ["--cache", str(folder), *command.split()])
        if result.exception is not None and not isinstance(result.exception, told):
            raise result.exception
        assert not set(result.output) & set("\x1b\x07\x9b"), command


class Watch:
    """Sees what a block asks of the system; nothing may be run, and nothing outside of a folder changed."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.wrong: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.inside is None:
            return
        if event in FORBIDDEN or (
            event == "pickle.find_class" and arguments[0] not in {"fuzzing", "copyreg", "builtins"}
        ):
            self.wrong.append(f"{event} {arguments}")
        is_written = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        # A descriptor was opened before, and seen then.
        is_path = not isinstance((*arguments, 0)[0], int)
        if (
            (event in CHANGING or is_written)
            and is_path
            and not str(arguments[0]).startswith((self.inside, "/dev/null"))
        ):
            self.wrong.append(f"{event} {arguments}")

    @contextlib.contextmanager
    def on(self, folder: Path) -> Iterator[None]:
        """Watch a block."""
        self.inside, self.wrong = str(folder), []
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore", UserWarning)
                yield
        finally:
            self.inside = None
        assert self.wrong == [], self.wrong


def attack(seed: int, template: Path, scene: Path, watch: Watch) -> None:
    """Change a copy of a cache's folder, and use it."""
    dice = random.Random(seed)
    folder = copied(template, scene)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if dice.random() < 0.4:
        change_rows(folder / "memollm.db", dice)
    else:
        for _ in range(dice.choice((1, 1, 2))):
            # The database is what there is most of.
            victim = dice.choice((folder / "memollm.db", dice.choice(files)))
            victim.write_bytes(changed(victim.read_bytes(), dice))
    use_watched(scene, folder, watch, looks=dice.random() < 0.2)


def attack_records(value: object, template: Path, scene: Path, watch: Watch) -> None:
    """Put a value into the place of all records of a copy, and use it."""
    folder = copied(template, scene)
    with contextlib.closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute("UPDATE sample SET record = ?", (value,))
    use_watched(scene, folder, watch, looks=True)


def copied(template: Path, scene: Path) -> Path:
    """Copy a cache's folder beside a file of the user's."""
    shutil.rmtree(scene, ignore_errors=True)
    folder = scene / ".memollm"
    shutil.copytree(template, folder)
    (scene / "precious").write_bytes(b"what the user has written")
    return folder


def use_watched(scene: Path, folder: Path, watch: Watch, *, looks: bool) -> None:
    """Use a cache that was changed, and look what became of everything else."""
    with watch.on(scene):
        if looks:
            command_line(folder)
        try:
            use(folder)
        except WrongAnswer:
            # A sample's row that says that it is another call's gives its answer: `verify` finds such pages.
            if not is_damaged(folder):
                raise
    assert (scene / "precious").read_bytes() == b"what the user has written"
    assert {path.name for path in scene.iterdir()} <= {".memollm", "precious", "out.jsonl"}


def attack_export(seed: int, exports: list[Path], scene: Path, watch: Watch) -> None:
    """Change a copy of an export, and load it."""
    dice = random.Random(seed)
    shutil.rmtree(scene, ignore_errors=True)
    scene.mkdir()
    source = dice.choice(exports)
    file = scene / source.name
    data = source.read_bytes()
    change = changed_lines if source.suffix == ".jsonl" and dice.random() < 0.7 else changed
    file.write_bytes(change(data, dice))
    with watch.on(scene):
        cache = Cache(dice.choice(("memory:", scene / "cache")))
        allowed(lambda: cache.load(file))
        for name, ask in askers(cache, namespace="n").items():
            assert allowed(lambda ask=ask: ask(PROMPTS[0])) in (None, MAKERS[name](PROMPTS[0]))
            with lane("a"):
                assert allowed(lambda ask=ask: ask(PROMPTS[1])) in (None, MAKERS[name](PROMPTS[1]))
        # A signature is looked at by who reads: a sample that was moved to another call is never read.
        found = allowed(cache.verify)
        assert found is None or {fault.kind for fault in found.faults} <= {"signature"}, str(found)
        cache.close()


def changed_lines(data: bytes, dice: random.Random) -> bytes:
    """Put other numbers into lines that stay lines, or change their order."""
    lines = data.split(b"\n")
    for _ in range(dice.choice((1, 3, 10))):
        at = dice.randrange(len(lines))
        what = dice.random()
        if what < 0.6:
            digits = [i for i, byte in enumerate(lines[at]) if 48 <= byte <= 57]
            if digits:
                where = dice.choice(digits)
                new = dice.choice((b"0", b"9" * 18, b"4611686018427387903", b"-1", b"1e308", b"9" * 5000))
                lines[at] = lines[at][:where] + new + lines[at][where + 1 :]
        elif what < 0.8:
            other = dice.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines.insert(at, dice.choice(lines))
    return b"\n".join(lines)
