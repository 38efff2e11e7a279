"""Servers that tests start: on a free port of loopback, in a folder of their own, ended by their process id."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

PATIENCE = 30.0
PASSWORD = "hush@/?:secret"
schemas = itertools.count(1)
PROXIED = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port():
    """Find a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def require(found, what):
    """Skip a test whose server is not there; where none may be missing, it fails."""
    if not found and os.environ.get("SERVERS_REQUIRED"):
        pytest.fail(f"needs {what}, which is not installed")
    if not found:
        pytest.skip(f"needs {what}")


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
        self.connection = None
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        login = ["-U", "memollm", "-A", "password", f"--pwfile={secret}"]
        self._run("initdb", "-D", str(self.folder / "data"), *login, "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, program, *arguments):
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=120, **self.user)

    @property
    def url(self):
        return self.url_at(self.port)

    @staticmethod
    def url_at(port):
        return f"postgresql://memollm:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"

    def fresh(self):
        """Return the URL of a store that is empty; making one anew takes longer than all of a test."""
        if self.connection is None:
            import psycopg

            self.connection = psycopg.connect(self.url, autocommit=True)
        tables = self.connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'memollm'").fetchall()
        emptied = [f"DELETE FROM memollm.{table}" for (table,) in tables if table != "about"]
        self.connection.execute("; ".join(emptied) or "SELECT 1")
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
        if self.connection is not None:
            self.connection.close()
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


class Proxy:
    """Passes connections on to a server, and loses what a test says."""

    def __init__(self, port, *, delay=0.0):
        self.delay = delay
        self._port = port
        self._lose = 0
        self._is_cut = False
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answers(self, count):
        """Let so many of the next answers be lost, each with its connection: what was asked is done."""
        self._lose = count

    def cut(self):
        """Cut all connections, and make none."""
        self._is_cut = True
        for each in list(self._sockets):
            _close(each)

    def mend(self):
        self._is_cut = False

    def close(self):
        self.cut()
        _close(self._listener)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_cut:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                for pump in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source, sink, are_answers):
        # Answers before the first question belong to the opening of the connection.
        answered = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay:
                    time.sleep(self.delay)
                answered += 1
                if are_answers and answered > 1 and self._lose:
                    self._lose -= 1
                    break
                sink.sendall(data)
        _close(source)
        _close(sink)


def _close(each):
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
