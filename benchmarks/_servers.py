"""Servers of databases that a benchmark starts on a port of loopback, whose files are in memory: no disk is measured."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Run a PostgreSQL server that syncs, as the user `bench` may use it without a password; it runs not as root."""
    programs = postgres_programs()
    assert programs is not None, "asked before"
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with roomy_folder() as folder:
        if user:
            shutil.chown(folder, "postgres", "postgres")
        made = [programs / "initdb", "-D", folder / "data", "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            list(map(str, made)), check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=2 * PATIENCE, **user
        )
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "on"}
        command = [str(programs / "postgres"), "-D", str(folder / "data")]
        command += [f"-c{name}={value}" for name, value in options.items()]
        with running(command, cwd=folder, **user):
            wait_for(port)
            yield port


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a Redis server that syncs."""
    port = free_port()
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "yes", "appendfsync": "always"}
    with roomy_folder() as folder:
        said = [text for name, value in {**options, "dir": folder}.items() for text in (f"--{name}", str(value))]
        with running([REDIS, *said]):
            wait_for(port)
            yield port


@contextmanager
def roomy_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None, ignore_cleanup_errors=True) as made:
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


def wait_for(port: int) -> None:
    """Wait until it answers."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
