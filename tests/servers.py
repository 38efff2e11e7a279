"""Servers that tests start: on a port of loopback, in a folder of their own, ended by their process id."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

PATIENCE = 60.0
PASSWORD = "hush@/?:secret"
ROOM = 1 << 30
PORTS = range(20_000, 30_000)
"""Below those that a system gives to whoever asks for any, so that nobody has one that was free a moment ago."""
BUS = 10_000
"""By how much the port at which the nodes of a cluster talk to each other is higher."""
schemas = itertools.count(1)
REDIS = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
"""The server that is tested; another version by its variable."""
PROXIED = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def until(condition):
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def free_port(*, has_bus=False):
    """Find a port that nobody listens at."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with suppress(OSError), socket.socket() as free, socket.socket() as bus:
            free.bind(("127.0.0.1", port))
            # Both are below those that a system gives away.
            below = port - BUS if has_bus else port
            if has_bus:
                bus.bind(("127.0.0.1", below))
            return below
    raise AssertionError("no port is free")


# What may be missing.


def require(found, what):
    """Skip a test whose server is not there; where none may be missing, it fails."""
    if not found and os.environ.get("SERVERS_REQUIRED"):
        pytest.fail(f"needs {what}, which is not installed")
    if not found:
        pytest.skip(f"needs {what}")


def require_psycopg():
    """Skip the tests of a module without the client, and return it."""
    if os.environ.get("SERVERS_REQUIRED"):
        import psycopg

        return psycopg
    return pytest.importorskip("psycopg")


def postgres_programs():
    """Return the folder of the newest PostgreSQL server of this machine, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("postgres")
    if folders:
        return folders[-1]
    return Path(found).parent if found else None


def server_user():
    """Return as whom a server runs: not as root."""
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def roomy_folder():
    """Return a folder for servers: in memory, if there is room, and where whoever runs them may go."""
    for folder in map(Path, ("/dev/shm", tempfile.gettempdir(), "/var/tmp")):
        may_pass = all(each.stat().st_mode & 1 for each in (folder, *folder.parents)) if folder.is_dir() else False
        if may_pass and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM:
            return folder
    return Path(tempfile.gettempdir())


# PostgreSQL.


class ReachedPostgres:
    """A server that runs, and a database of it."""

    user = server_user()

    def __init__(self, folder, port, database="postgres"):
        self.folder = folder
        self.port = port
        self.database = database
        self._connection = None

    @property
    def url(self):
        return self.url_at(self.port)

    def url_at(self, port, *, user=None, database=None):
        user = user or f"memollm:{quote(PASSWORD, safe='')}"
        return f"postgresql://{user}@127.0.0.1:{port}/{database or self.database}"

    def fresh(self):
        """Return the URL of a store that is empty; making one anew takes longer than all of a test."""
        if self._connection is None:
            import psycopg

            self._connection = psycopg.connect(self.url, autocommit=True)
        tables = self._connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'memollm'").fetchall()
        emptied = [f"DELETE FROM memollm.{table}" for (table,) in tables if table != "about"]
        self._connection.execute("; ".join(emptied) or "SELECT 1")
        return self.url

    def another(self):
        """Return the URL of a store that was never opened."""
        return f"{self.url}?schema=test_{next(schemas)}"

    def leave(self):
        """Close what was opened here."""
        if self._connection is not None:
            self._connection.close()


def make_guest(connection):
    """Have a user who may nothing yet; users are those of all databases, and of all processes that test."""
    connection.execute(
        "DO $$ BEGIN CREATE ROLE guest LOGIN PASSWORD 'hush'; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )


class PostgresServer(ReachedPostgres):
    """A server of its own, which a test may kill and start again."""

    def __init__(self, *, is_synced=True):
        super().__init__(Path(tempfile.mkdtemp(prefix="memollm-pg-", dir=roomy_folder())), 0)
        self.programs = postgres_programs()
        self.options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "32MB",
            "autovacuum": "off",
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "fsync": "on" if is_synced else "off",
            "full_page_writes": "on" if is_synced else "off",
        }
        self.process = None
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        login = ["-U", "memollm", "-A", "password", f"--pwfile={secret}"]
        command = [self.programs / "initdb", "-D", self.folder / "data", *login, "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [*map(str, command), "--no-sync", "--wal-segsize=4"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            timeout=2 * PATIENCE,
            **self.user,
        )

    def start(self):
        """Start it, and wait until it answers."""
        until = time.monotonic() + PATIENCE
        known = self.port
        while True:
            # The first time another port may do, where somebody was faster.
            self.port = known or free_port()
            self._begin()
            if self._answers(until):
                return self
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _begin(self):
        options = [f"-c{name}={value}" for name, value in {**self.options, "port": self.port}.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.user,
            )

    def _answers(self, until):
        """Wait until it answers; tell if it has ended instead."""
        import psycopg

        while self.process.poll() is None:
            try:
                psycopg.connect(self.url, connect_timeout=10).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return True
        return False

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
        self.leave()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresStandby(PostgresServer):
    """A server that follows another, which waits for it with each commit from when it has started."""

    def __init__(self, primary):
        # As the server of its own that it becomes; what it holds is the primary's.
        self.programs, self.options, self.process = primary.programs, primary.options, None
        ReachedPostgres.__init__(self, Path(tempfile.mkdtemp(prefix="memollm-pg-", dir=roomy_folder())), 0)
        self.primary = primary
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        command = [self.programs / "pg_basebackup", "-D", self.folder / "data", "-d", primary.url, "-R", "--no-sync"]
        subprocess.run(
            [*map(str, command), "--checkpoint=fast"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            timeout=2 * PATIENCE,
            **self.user,
        )

    def follow(self):
        """Start it, and have the primary wait for it from then on."""
        import psycopg

        self.start()
        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            until = time.monotonic() + PATIENCE
            while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall() != [("sync",)]:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.05)
        return self

    def promote(self):
        """Let it be the primary, when the other one has died."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)


# Redis.


def require_redis():
    """Skip the tests of a module without the client, and return it."""
    if os.environ.get("SERVERS_REQUIRED"):
        import redis

        return redis
    return pytest.importorskip("redis")


def _words(value):
    """Return what stands behind an option; what is several is given as such."""
    return map(str, value if isinstance(value, tuple) else (value,))


class RedisServer:
    """A server of its own; it takes a tenth of a second to start, so that none is shared."""

    def __init__(self, **options):
        self.folder = Path(tempfile.mkdtemp(prefix="memollm-redis-", dir=roomy_folder()))
        self.port = 0
        self.process = None
        self.options = {
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "requirepass": PASSWORD,
            **options,
        }

    @property
    def url(self):
        return self.url_at(self.port)

    def url_at(self, port, *, password=PASSWORD):
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"

    def client(self):
        """Return a client of the tests' own."""
        import redis

        return redis.Redis(port=self.port, password=PASSWORD)

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def say(self, *command):
        """Send it a command, and return its answer."""
        with self.client() as client:
            connection = client.connection_pool.make_connection()
            try:
                # As it is: the client makes other things of some answers.
                connection.send_command(*command)
                return connection.read_response()
            finally:
                connection.disconnect()

    def said(self, *command):
        """Send it a command, and return its answer as text."""
        return self.say(*command).decode()

    def fresh(self):
        """Return the URL of a store that is empty."""
        with self.client() as client:
            client.flushall()
        return self.url

    def another(self):
        """Return the URL of a store that was never opened."""
        return f"{self.url}?prefix=test_{next(schemas)}"

    def start(self):
        """Start it, and wait until it answers."""
        until = time.monotonic() + PATIENCE
        known = self.port
        while True:
            # The first time another port may do, where somebody was faster.
            self.port = known or free_port(has_bus="cluster-enabled" in self.options)
            options = [text for name, value in self.options.items() for text in (f"--{name}", *_words(value))]
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [REDIS, "--port", str(self.port), *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            if self._answers(until):
                return self
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _answers(self, until):
        import redis

        while self.process.poll() is None:
            try:
                with self.client() as client:
                    client.ping()
            except redis.RedisError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.01)
            else:
                return True
        return False

    def kill(self):
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self):
        """End it, and remove what it kept."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


SLOTS = 16_384


class RedisCluster:
    """Three nodes that have a third of all slots each, and replicas of them, if there are to be any."""

    def __init__(self, *, replicas=0, timeout=5000, **options):
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": timeout,
            "masterauth": PASSWORD,
            # A replica takes over though it lags.
            "cluster-replica-validity-factor": 0,
            "repl-diskless-sync-delay": 0,
            **options,
        }
        self.nodes = [RedisServer(**options) for _ in range(3 * (1 + replicas))]

    @property
    def port(self):
        return self.nodes[0].port

    @property
    def url(self):
        return self.nodes[0].url

    def url_at(self, port, **options):
        return self.nodes[0].url_at(port, **options)

    def start(self):
        """Start the nodes, make them known to each other, and wait until they are a cluster."""
        for node in self.nodes:
            node.start()
        for nth, node in enumerate(self.nodes):
            node.say("CLUSTER", "SET-CONFIG-EPOCH", nth + 1)
            for other in self.nodes[:nth]:
                node.say("CLUSTER", "MEET", "127.0.0.1", other.port)
            if nth < 3:
                node.say("CLUSTER", "ADDSLOTS", *range(SLOTS * nth // 3, SLOTS * (nth + 1) // 3))
        self.until_up()
        for nth, node in enumerate(self.nodes[3:]):
            self.until(lambda each, nth=nth: self.id_of(self.nodes[nth % 3]) in each.said("CLUSTER", "NODES"))
            node.say("CLUSTER", "REPLICATE", self.id_of(self.nodes[nth % 3]))
        self.until(lambda node: node not in self.nodes[3:] or "master_link_status:up" in node.said("INFO"))
        return self

    @staticmethod
    def id_of(node):
        return node.said("CLUSTER", "MYID")

    def until_up(self):
        """Wait until all nodes say that the cluster is whole."""
        # A cluster that does without some slots says that it is well while a node is away.
        so = ("cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{len(self.nodes)}")
        self.until(lambda node: all(each in node.said("CLUSTER", "INFO") for each in so))

    def until(self, is_so):
        """Wait until something is so of every node."""
        until = time.monotonic() + PATIENCE
        for node in self.nodes:
            while node.is_running and not is_so(node):
                assert time.monotonic() < until, (node.folder / "log").read_text()
                time.sleep(0.01)

    def fresh(self):
        """Return the URL of a store that is empty."""
        for node in self.nodes:
            if "role:master" in node.said("INFO", "replication"):
                node.say("FLUSHALL")
        return self.url

    def another(self):
        """Return the URL of a store that was never opened."""
        return f"{self.url}?prefix=test_{next(schemas)}"

    def node_of(self, key):
        """Return the node that has a key."""
        from redis.exceptions import ResponseError

        for node in self.nodes:
            # It has moved; clients before 6.0 have no class for that.
            with suppress(ResponseError):
                node.say("EXISTS", key)
                return node
        raise AssertionError(key)

    def move(self, slot, source, target):
        """Move a slot with all that it has to another node, as those do that spread a cluster anew."""
        self.begin_move(slot, source, target)
        self.end_move(slot, source, target)

    def move_some(self, chance):
        """Move the slot of some key to another node, as soon as the cluster is whole."""
        self.until_up()
        key = next(each for each in (node.say("RANDOMKEY") for node in chance.sample(self.nodes, 3)) if each)
        source = self.node_of(key)
        target = chance.choice([node for node in self.nodes if node is not source])
        self.move(int(source.say("CLUSTER", "KEYSLOT", key)), source, target)

    def begin_move(self, slot, source, target):
        """Say where a slot is to go."""
        target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    @staticmethod
    def move_keys(source, target, keys):
        """Move some keys of a slot."""
        login = ("AUTH", PASSWORD, "KEYS", *keys)
        # What is remembered for a while alone may be gone by now.
        assert source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, *login) in {b"OK", b"NOKEY"}

    def end_move(self, slot, source, target):
        """Move the keys that are left of a slot, and say that it has arrived."""
        while keys := source.say("CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.move_keys(source, target, keys)
        for node in (target, source, *(each for each in self.nodes if each not in (target, source))):
            node.say("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def fail_over(self, replica):
        """Let a replica take the place of its primary, which lives.

        A node that does not hear of it, or is not heard, says nothing of that; so it is asked for again.
        """
        from redis.exceptions import ResponseError

        again = 0.0

        def is_primary():
            nonlocal again
            if "role:master" in replica.said("INFO", "replication"):
                return True
            if time.monotonic() >= again:
                again = time.monotonic() + 1.0
                # It has become one meanwhile.
                with suppress(ResponseError):
                    replica.say("CLUSTER", "FAILOVER")
            return False

        until(is_primary)

    def stop(self):
        for node in self.nodes:
            node.stop()


# One server for all processes of a run of the tests. It is kept by a process of its own, which ends when nobody holds
# the lock of those who use it: whoever is killed holds it no more.


@contextmanager
def locked(path, how):
    """Hold the lock of a file for a block."""
    descriptor = _locked(path, how)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(path, how):
    while True:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, how)
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(descriptor)):
                    return descriptor
            # It was removed before it was locked.
            os.close(descriptor)


@contextmanager
def shared_postgres():
    """Give a database, for this process alone, of the one server that all processes of this run share."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}-{os.urandom(4).hex()}"
    place = Path(tempfile.gettempdir()) / f"memollm-servers-{os.geteuid()}-{run}"
    with locked(place / "users", fcntl.LOCK_SH):
        with locked(place / "beginning", fcntl.LOCK_EX):
            folder, port = _kept(place)
            server = ReachedPostgres(Path(folder), int(port), f"of_{os.getpid()}_{next(schemas)}")
            _make_database(server)
        try:
            yield server
        finally:
            server.leave()


def _kept(place):
    """Read where the server is, which is started if there is none."""
    address = place / "address"
    if not address.exists():
        with (place / "log").open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-P", __file__, str(place)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 2 * PATIENCE
        while not address.exists():
            assert keeper.poll() is None, (place / "log").read_text()
            assert time.monotonic() < until, (place / "log").read_text()
            time.sleep(0.02)
        # It outlives this process, which does not wait for it.
        keeper.returncode = 0
    return address.read_text().split("\n")


def _make_database(server):
    import psycopg

    with psycopg.connect(server.url_at(server.port, database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {server.database}")


def keep(place):
    """Start a server, and keep it as long as somebody uses it."""
    server = PostgresServer(is_synced=False)
    try:
        server.start()
        (place / "new").write_text(f"{server.folder}\n{server.port}")
        (place / "new").rename(place / "address")
        with locked(place / "users", fcntl.LOCK_EX):
            # Who comes from here on starts another.
            shutil.rmtree(place)
    finally:
        server.stop()


# What passes on to a server.


class Proxy:
    """Passes connections on to a server, and loses what a test says."""

    def __init__(self, port, *, delay=0.0, at=0):
        self.delay = delay
        self.asked = 0
        """How often clients have sent something."""
        self.told = 0
        """How many bytes they were sent."""
        self._port = port
        self._lose = 0
        self._spare = 0
        self._is_cut = False
        self._keep = 0
        self.kept = []
        """What clients have sent and the server has not got yet, each with the socket of the server."""
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", at))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answers(self, count, *, after=0):
        """Let so many of the next answers be lost, each with its connection: what was asked is done."""
        self._lose, self._spare = count, after

    def keep_questions(self, count):
        """Let so many of the next questions come late: their clients' connections are lost at once."""
        self._keep = count

    def let_come(self):
        """Send what was kept, and wait until it was answered, to nobody."""
        kept, self.kept = self.kept, []
        for server, data in kept:
            server.sendall(data)
        for server, _ in kept:
            until(lambda server=server: server.fileno() == -1)

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
                if are_answers:
                    self.told += len(data)
                else:
                    self.asked += 1
                    if self._keep:
                        self._keep -= 1
                        self.kept.append((sink, data))
                        sink = None
                        break
                if are_answers and answered > 1 and self._lose:
                    if not self._spare:
                        self._lose -= 1
                        break
                    self._spare -= 1
                sink.sendall(data)
        _close(source)
        if sink is not None:
            _close(sink)


def _close(each):
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
