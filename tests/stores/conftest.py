"""SQLite stores, and a process that can only be killed."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hands import take
from kinds import postgres_kind, redis_kind
from servers import (
    REDIS,
    Proxy,
    RedisCluster,
    RedisServer,
    make_guest,
    postgres_programs,
    require,
    require_psycopg,
    require_redis,
    shared_postgres,
)

from memollm._types.calls import Place
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import FakeS3
from memollm.testing._bench import PATIENCE, call

SLOT = Place(call(), 0)


@pytest.fixture
def closing():
    """Let stores be closed after the test."""
    stores = []

    def keep(store):
        stores.append(store)
        return store

    yield keep
    for store in stores:
        store.close()


@pytest.fixture
def s3(monkeypatch):
    """Serve buckets, where the environment says that they are, to a team with a key."""
    with FakeS3() as s3:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "0123456789abcdef" * 4)
        yield s3


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda path, **options: closing(SqliteStore(Path(path), **options))


@pytest.fixture
def store(tmp_path, opened):
    return opened(tmp_path / ".memollm")


OWNER = """
import os, sys, time
from pathlib import Path
from memollm._types.calls import Want
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing._bench import Hand, call

store = SqliteStore(Path(sys.argv[1]))
hand = Hand(store, Want(call(), "reader", 3, None))
if sys.argv[2] == "forks":
    child = os.fork()
    if child == 0:
        print("ready", flush=True)
        sys.stdin.read()  # Until the test lets go.
        os._exit(0)
else:
    print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def running():
    """Start programs that say something when they are ready, and can only be killed."""
    processes = []

    def start(program, *arguments, says):
        command = [sys.executable, "-c", program, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == says
        return process

    yield start
    for process in processes:
        process.kill()
        process.stdin.close()
        process.wait(PATIENCE)
        process.stdout.close()


@pytest.fixture
def owner(tmp_path, running):
    """Start a process that holds three positions and their claims; it can only be killed."""
    return lambda how, folder=tmp_path / "cache": running(OWNER, str(folder), how, says=b"ready\n")


@pytest.fixture
def team_key(monkeypatch):
    """Sign by one key, as a team does that shares a server: whoever opens one without is warned."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")


@pytest.fixture(scope="session")
def postgres():
    """Give a database on the PostgreSQL server of this run of the tests."""
    require_psycopg()
    require(postgres_programs(), "a PostgreSQL server")
    with shared_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis():
    """Give a Redis server for this process."""
    require_redis()
    require(REDIS, "a Redis server")
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def cluster():
    """Give three nodes of a Redis Cluster for this process."""
    require_redis()
    require(REDIS, "a Redis server")
    # Calls of the others go on when one is away, however long it is.
    cluster = RedisCluster(**{"cluster-require-full-coverage": "no"})
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(params=["postgres", "redis"])
def kind(request):
    """Give each kind of server, with what tests need to know of it."""
    server = request.getfixturevalue(request.param)
    return postgres_kind(server) if request.param == "postgres" else redis_kind(server)


@pytest.fixture
def proxy(kind):
    """Stand between a store and its server."""
    proxy = Proxy(kind.server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def behind(kind, proxy, closing):
    """Make stores whose every connection but those of the listening thread goes through the proxy."""

    def make(**options):
        url = kind.server.url_at(proxy.port) + kind.direct(kind.server.port)
        said = "&".join(f"{name}={value}" for name, value in options.items())
        store = closing(kind.store(f"{url}{'&' if '?' in url else '?'}{said}" if said else url))
        # The call, the reader and the connection are known, so that what is lost next is an answer.
        take(store, of=call("first")).settle()
        store.peek(call())
        return store

    kind.server.fresh()
    with kind.listening_apart(kind.server):
        yield make


@pytest.fixture
def own_server(kind):
    """Give a server that this test may kill."""
    server = kind.own_server()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def guest(postgres):
    """Return the URL of a user who may read all tables, and write nothing."""
    import psycopg

    from memollm.stores.postgres.store import PostgresStore

    store = PostgresStore(postgres.url)
    store.opened()
    store.close()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        make_guest(connection)
        connection.execute("GRANT USAGE ON SCHEMA memollm TO guest")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA memollm TO guest")
    return postgres.url_at(postgres.port, user="guest:hush")


@contextmanager
def guest_of(server, nodes):
    """Have a user of a Redis server who may look, and write nothing; give the URL."""
    # As docs/servers.md says.
    rule = "on >hush resetchannels ~memollm:* &memollm:* +@all -@write -@dangerous +info +config|get "
    rule += "+client|setname +eval +evalsha"
    for node in nodes:
        node.say("ACL", "SETUSER", "guest", *rule.split())
    yield (
        server.url_at(server.port).replace("://:", "://guest:").replace(server.url.split(":")[2].split("@")[0], "hush")
    )
    for node in nodes:
        node.say("ACL", "DELUSER", "guest")


@pytest.fixture
def redis_guest(redis):
    """Return the URL of a user of the Redis server who may only look."""
    with guest_of(redis, [redis]) as url:
        yield url


@pytest.fixture
def cluster_guest(cluster):
    """Return the URL of a user of the cluster who may only look."""
    with guest_of(cluster, cluster.nodes) as url:
        yield url
