"""Servers of databases that a benchmark starts on a port of loopback, in folders of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._caches import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REDIS = "redis-server"
PATIENCE = 30.0
IN_MEMORY = Path("/dev/shm")


def postgres_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server of this machine, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("postgres")
    if folders:
        return folders[-1]
    return Path(found).parent if found else None


@contextmanager
def postgres_server() -> Iterator[int]:
    """Run a PostgreSQL server that syncs to where caches are made; it takes the user `bench` without a password."""
    programs = postgres_programs()
    assert programs is not None, "asked before"
    # It does not run as root, and whoever it runs as has to get there.
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with folder() as parent:
        parent.chmod(0o711)
        home = parent / "server"
        home.mkdir(mode=0o700)
        if user:
            shutil.chown(home, "postgres", "postgres")
        made = [programs / "initdb", "-D", home / "data", "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            list(map(str, made)), check=True, stdout=subprocess.DEVNULL, cwd=home, timeout=2 * PATIENCE, **user
        )
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "on"}
        command = [str(programs / "postgres"), "-D", str(home / "data")]
        command += [f"-c{name}={value}" for name, value in options.items()]
        with running(command, cwd=home, **user):
            wait_for(lambda: is_ready(programs, port))
            yield port


def is_ready(programs: Path, port: int) -> bool:
    """Tell whether PostgreSQL answers: it listens before it does."""
    asked = [str(programs / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.run(asked, check=False, timeout=PATIENCE).returncode == 0


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a Redis server that syncs; its file is in memory, so that no disk is measured."""
    port = free_port()
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "yes", "appendfsync": "always"}
    with in_memory() as home:
        said = [text for name, value in {**options, "dir": home}.items() for text in (f"--{name}", str(value))]
        with running([REDIS, *said]):
            wait_for(lambda: listens(port))
            yield port


@contextmanager
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as made:
        yield Path(made)


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError("A server did not start.")
        time.sleep(0.02)
