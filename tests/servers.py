"""Servers that tests start: on a free port of loopback, in a folder of their own, ended by their process id."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 30.0
schemas = itertools.count(1)


def free_port():
    """Find a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def postgres_programs():
    """Return the folder of the newest PostgreSQL server of this machine, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("postgres")
    if folders:
        return folders[-1]
    return Path(found).parent if found else None


class PostgresServer:
    """A server of its own, which a test may kill and start again."""

    def __init__(self):
        self.programs = postgres_programs()
        # A server does not run as root.
        self.user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="memollm-pg-", dir=_fast_folder()))
        self.port = free_port()
        self.process = None
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "memollm", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _run(self, program, *arguments):
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=120, **self.user)

    @property
    def url(self):
        return f"postgresql://memollm@127.0.0.1:{self.port}/postgres"

    def fresh(self):
        """Return the URL of a store that is empty; making one anew takes longer than all of a test."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'memollm'").fetchall()
            emptied = [f"DELETE FROM memollm.{table}" for (table,) in tables if table != "about"]
            connection.execute("; ".join(emptied) or "SELECT 1")
        return self.url

    def another(self):
        """Return the URL of a store that was never opened."""
        return f"{self.url}?schema=test_{next(schemas)}"

    def start(self):
        """Start it, and wait until it answers."""
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", str(self.folder)]
        options += ["-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "autovacuum=off"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self.user,
            )
        self._await_answer()
        return self

    def _await_answer(self):
        import psycopg

        until = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def kill(self):
        """End it as a power cut would, all its processes at once."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self):
        """End it, and remove what it kept."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)


def _fast_folder():
    """Return a folder in memory, where there is one that may be used."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
