"""A PostgreSQL server and its standby: who may only read draws from it, and programs go on when it is promoted."""

import time

import pytest
from hammers import Workers
from servers import PATIENCE, PostgresServer, PostgresStandby, postgres_programs, require, require_psycopg
from test_server_hammer import WORKER, check

from memollm import Cache, MemollmWarning

pytestmark = pytest.mark.deep
PROCESSES = 3
SAMPLES = 300
QUESTIONS = 5


@pytest.fixture
def pair(monkeypatch):
    """Start a server, and a standby without which it commits nothing."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    require_psycopg()
    require(postgres_programs(), "a PostgreSQL server")
    primary = PostgresServer()
    primary.options |= {"wal_level": "replica", "max_wal_senders": 4}
    servers = [primary]
    try:
        primary.start()
        servers.append(PostgresStandby(primary))
        servers[1].follow()
        yield servers
    finally:
        for server in reversed(servers):
            server.stop()


def url_of(*servers, query=""):
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return servers[0].url.replace(f"127.0.0.1:{servers[0].port}", hosts) + query


def wait_until_there(primary, standby):
    """Wait until the standby shows what the primary has, which is a moment after it has it on its disk."""
    from psycopg import connect

    with connect(primary.url, autocommit=True) as first, connect(standby.url, autocommit=True) as second:
        (upto,) = first.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        until = time.monotonic() + PATIENCE
        while second.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [upto]).fetchone() != (True,):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_programs_go_on_with_the_standby(pair, tmp_path):
    """P1, P5, P7: nothing is given twice, and nothing stored lost, though the primary dies while processes draw."""
    primary, standby = pair
    url = url_of(standby, primary, query="?patience=60")
    with Workers(WORKER) as workers:
        for number in range(PROCESSES):
            workers.start(number, url, "aab"[number], tmp_path, SAMPLES, QUESTIONS)
        workers.until_written(tmp_path / "a", SAMPLES // 3)
        primary.kill()
        standby.promote()
        workers.finish()
    check(url, tmp_path, SAMPLES, QUESTIONS, kills=0, processes=PROCESSES)


def test_who_names_a_standby_draws_what_is_stored(pair):
    """P2, P10: stored samples are drawn from it; what is made there is returned and not kept, with a warning."""
    primary, standby = pair
    with Cache(primary.url) as cache, Cache(standby.url) as other:
        made = cache.cached_llm(lambda prompt: "stored", name="ask", version=1, namespace="a")
        ask = other.cached_llm(lambda prompt: "made", name="ask", version=1, namespace="b")
        assert made("x") == "stored"
        wait_until_there(primary, standby)
        with pytest.warns(MemollmWarning, match=r"takes no changes, as a standby does.*postgresql://a:5432,b:5432/db"):
            assert ask("x") == "stored"
            assert ask("x") == "made"
        once = other.cached_llm(lambda prompt: "made", name="ask", version=1, pool=1, mode="readonly")
        assert [once("x"), once("x")] == ["stored", "stored"]
        cache.cached_llm(lambda prompt: "newer", name="ask", version=1, pool=1, mode="refresh")("x")
        wait_until_there(primary, standby)
        assert once("x") == "newer"
