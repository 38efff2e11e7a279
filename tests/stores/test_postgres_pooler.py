"""A PostgreSQL store behind PgBouncer, in both modes."""

import os
import shutil
import subprocess
import threading
import time

import pytest
from servers import PASSWORD, PATIENCE, PROXIED, free_port, require, require_psycopg

psycopg = require_psycopg()

from memollm._types.calls import Place, Want
from memollm._types.samples import Busy
from memollm.errors import StoreRefused
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import Hand, call


@pytest.fixture
def bouncer(postgres, tmp_path):
    """Start PgBouncer in a mode; return the port."""
    require(PROXIED, "PgBouncer")
    processes = []
    folder = postgres.folder / f"bouncer-{free_port()}"

    def start(mode):
        port = free_port()
        folder.mkdir()
        (folder / "users").write_text(f'"memollm" "{PASSWORD}"\n')
        (folder / "ini").write_text(
            f"[databases]\n{postgres.database} = host=127.0.0.1 port={postgres.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\npool_mode = {mode}\n"
            f"auth_type = plain\nauth_file = {folder}/users\n"
            f"unix_socket_dir =\ndefault_pool_size = 4\n"
        )
        if os.geteuid() == 0:
            for each in (folder, *folder.iterdir()):
                shutil.chown(each, "postgres", "postgres")
        log = (folder / "log").open("wb")
        with log:
            processes.append(
                subprocess.Popen([PROXIED, "-q", str(folder / "ini")], stdout=log, stderr=log, **postgres.user)
            )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(postgres.url_at(port), prepare_threshold=None).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return port

    yield start
    for process in processes:
        process.kill()
        process.wait(PATIENCE)


def draw_in_two(url):
    """Draw in two stores, one of which waits for the other."""
    store, peer = PostgresStore(url), PostgresStore(url)
    try:
        for number in range(8):
            # More often than a statement is sent before it is prepared.
            Hand(store, Want(call(f"{number}"), "reader", 1, None)).settle()
        hand = Hand(store, Want(call(), "reader", 1, None))
        waiting = Hand(peer, Want(call(), "b", 1, None))
        assert waiting.states == [Busy(None)]
        woken = threading.Event()
        peer.watch([Place(call(), 0)], lambda _: woken.set())
        hand.fill(b"zero")
        assert woken.wait(PATIENCE)
        assert Hand(peer, Want(call(), "b", 1, None)).at == [1]
    finally:
        peer.close()
        store.close()


def test_sessions_that_are_shared_are_refused(postgres, bouncer):
    """Locks and notices do not work through PgBouncer in transaction mode: that is said, with what to add (P5)."""
    url = postgres.url_at(bouncer("transaction"))
    postgres.fresh()
    store = PostgresStore(url)
    with pytest.raises(StoreRefused, match=r"pool_mode=transaction\..*add \?direct=HOST:PORT of the server itself"):
        store.peek(call())
    store.close()
    draw_in_two(f"{url}?direct=127.0.0.1:{postgres.port}")


@pytest.mark.deep
def test_sessions_of_its_own(postgres, bouncer):
    """Through PgBouncer in session mode everything works as without."""
    postgres.fresh()
    draw_in_two(postgres.url_at(bouncer("session")))
