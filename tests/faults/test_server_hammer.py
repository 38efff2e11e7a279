"""Many processes that draw from one server while they, and it, are killed."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import (
    PATIENCE,
    REDIS,
    PostgresServer,
    RedisCluster,
    RedisServer,
    postgres_programs,
    require,
    require_psycopg,
    require_redis,
)

from memollm import Cache

WORKER = Path(__file__).with_name("server_worker.py")


def postgres():
    require_psycopg()
    require(postgres_programs(), "a PostgreSQL server")
    return PostgresServer(), "", 1


def redis():
    require_redis()
    require(REDIS, "a Redis server")
    return RedisServer(), "?lease=3", 1


def cluster():
    require_redis()
    require(REDIS, "a Redis server")
    # It is away for two seconds when it has begun again.
    return RedisCluster(), "?lease=6&patience=60", 20


@pytest.mark.deep
@pytest.mark.parametrize("kind", [postgres, redis, cluster])
@pytest.mark.parametrize(("samples", "kills"), [(60, 4), (2000, 80)], ids=["short", "long"])
def test_processes_and_the_server_are_killed(tmp_path, monkeypatch, kind, samples, kills):
    """Nothing is given twice, nothing stored is lost, and no kill costs more than one call (P1, P3, P4, P5, P7)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    server, query, questions = kind()
    chance = random.Random(1)
    namespaces = ["a", "a", "b"] if samples < 100 else ["a", "a", "a", "a", "b", "b"]
    processes = {}
    try:
        server.start()

        def start(number):
            told = [server.url + query, namespaces[number], tmp_path, samples, questions]
            processes[number] = subprocess.Popen([sys.executable, WORKER, *map(str, told)], stderr=subprocess.PIPE)

        for number in range(len(namespaces)):
            start(number)
        for count in range(kills):
            until_drawn(tmp_path, (count + 1) * samples // (2 * kills))
            number = chance.randrange(len(namespaces))
            processes[number].kill()
            _, said = processes[number].communicate(timeout=PATIENCE)
            assert said == b""
            start(number)
            if kind is cluster:
                server.move_some(chance)
            if count == kills // 2:
                one = chance.choice(server.nodes) if kind is cluster else server
                one.kill()
                one.start()
        for process in processes.values():
            _, said = process.communicate(timeout=20 * PATIENCE)
            assert (process.returncode, said) == (0, b"")
        check(server.url, tmp_path, samples, questions, kills=kills, processes=len(namespaces))
    finally:
        for process in processes.values():
            process.kill()
            process.wait(PATIENCE)
            process.stderr.close()
        server.stop()


def lines(file):
    return file.read_text().split() if file.exists() else []


def until_drawn(folder, count):
    """Wait until so much was given that the next kill comes in the middle."""
    until = time.monotonic() + 10 * PATIENCE
    while len(lines(folder / "a")) < count:
        assert time.monotonic() < until
        time.sleep(0.005)


def check(url, folder, samples, questions, *, kills, processes):
    with Cache(url) as cache:
        ask = cache.cached_llm(lambda prompt: "", name="ask", version=1)
        stored = [answer for number in range(questions) for answer in ask.peek(f"question {number}")]
    assert len(stored) == len(set(stored)) >= samples
    for namespace in ("a", "b"):
        given = lines(folder / namespace)
        assert len(given) == len(set(given))
        assert set(given) <= set(stored)
        # Who is killed between a draw and its note has lost what it was given, and so may all that were cut off.
        assert len(given) >= samples - kills - processes
    assert len(lines(folder / "paid")) <= len(stored) + kills + processes
