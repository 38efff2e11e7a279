"""Sweeps beside programs that draw, forget and refresh, all of them killed: nothing that is referred to is lost."""

import faulthandler
import random

import pytest
from hammers import Workers, lines, postgres, redis

pytest.importorskip("obstore")

from sweep_worker import TEXTS, answer

from memollm import Cache
from memollm.testing import FakeS3

DOING = ("draws", "draws", "draws", "sweeps", "sweeps")


@pytest.mark.deep
@pytest.mark.parametrize("kind", [postgres, redis])
def test_no_sweep_loses_what_a_sample_refers_to(tmp_path, monkeypatch, kind):
    """Old objects that are used anew while they are swept are found by every draw, whoever is killed (P7)."""
    # It goes on for longer than other tests, and has deadlines of its own.
    faulthandler.cancel_dump_traceback_later()
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    server, query, _ = kind()
    chance = random.Random(17)
    try:
        server.start()
        with FakeS3() as s3:
            for name, value in s3.environment.items():
                monkeypatch.setenv(name, value)
            s3.misbehave(0.03)
            with Workers("sweep_worker.py") as workers:

                def start(nth, seed):
                    workers.start(nth, server.url + query, tmp_path, f"m{seed}", seed, DOING[nth])

                for nth, what in enumerate(DOING):
                    if what == "sweeps":
                        # Where nobody has drawn yet there is no cache to sweep for.
                        workers.until_written(tmp_path / "draws", 1)
                    start(nth, nth)
                for count in range(25):
                    workers.until_written(tmp_path / "draws", 100 * (count + 1))
                    nth = chance.randrange(len(DOING))
                    workers.kill(nth)
                    start(nth, 100 + count)
                workers.kill_all()
            s3.misbehave(0)
            check(server.url, tmp_path)
    finally:
        server.stop()


def check(url, folder):
    """Draws and sweeps told of nothing amiss, and what samples refer to is there."""
    assert {*lines(folder / "draws")} == {"drawn"}
    assert [line for line in lines(folder / "sweeps") if not line.startswith("Swept(")] == []
    with Cache(url, tier=f"s3://bucket/samples?local={folder / 'here'}") as cache:
        assert cache.verify().ok
        memo = cache.cached_llm(lambda text: "", name="memo", version=1, pool=1)
        stored = {each for text in TEXTS for each in memo.peek(text)}
    assert stored <= {answer(number) for number in range(20)}
    assert stored
