"""Many processes that draw from one server while they, and it, are killed."""

import random

import pytest
from hammers import Workers, cluster, lines, postgres, redis

from memollm import Cache

WORKER = "server_worker.py"


@pytest.mark.deep
@pytest.mark.parametrize("kind", [postgres, redis, cluster])
@pytest.mark.parametrize(("samples", "kills"), [(60, 4), (2000, 80)], ids=["short", "long"])
def test_processes_and_the_server_are_killed(tmp_path, monkeypatch, kind, samples, kills):
    """Nothing is given twice, nothing stored is lost, and no kill costs more than one call (P1, P3, P4, P5, P7)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    server, query, questions = kind()
    chance = random.Random(1)
    namespaces = ["a", "a", "b"] if samples < 100 else ["a", "a", "a", "a", "b", "b"]
    try:
        server.start()
        with Workers(WORKER) as workers:

            def start(number):
                workers.start(number, server.url + query, namespaces[number], tmp_path, samples, questions)

            for number in range(len(namespaces)):
                start(number)
            for count in range(kills):
                workers.until_written(tmp_path / "a", (count + 1) * samples // (2 * kills))
                number = chance.randrange(len(namespaces))
                workers.kill(number)
                start(number)
                if kind is cluster:
                    server.move_some(chance)
                if count == kills // 2:
                    one = chance.choice(server.nodes) if kind is cluster else server
                    one.kill()
                    one.start()
            workers.finish()
        check(server.url, tmp_path, samples, questions, kills=kills, processes=len(namespaces))
    finally:
        server.stop()


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
