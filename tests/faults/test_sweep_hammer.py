"""Sweeps beside programs that draw, forget and refresh, all of them killed: nothing that is referred to is lost."""

import faulthandler
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import PATIENCE
from test_server_hammer import postgres, redis

pytest.importorskip("obstore")

from sweep_worker import TEXTS, answer

from memollm import Cache
from memollm.testing import FakeS3

WORKER = Path(__file__).with_name("sweep_worker.py")
DOING = ("draws", "draws", "draws", "sweeps", "sweeps")


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.deep
@pytest.mark.parametrize("kind", [postgres, redis])
def test_no_sweep_loses_what_a_sample_refers_to(tmp_path, monkeypatch, kind):
    """Old objects that are used anew while they are swept are found by every draw, whoever is killed (P7)."""
    # It goes on for longer than other tests, and has deadlines of its own.
    faulthandler.cancel_dump_traceback_later()
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    server, query, _ = kind()
    chance, processes = random.Random(17), {}
    s3 = FakeS3().__enter__()
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    try:
        server.start()
        s3.misbehave(0.03)

        def start(nth, seed):
            command = [
                sys.executable,
                str(WORKER),
                server.url + query,
                str(tmp_path),
                f"m{seed}",
                str(seed),
                DOING[nth],
            ]
            processes[nth] = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ})

        for nth in range(len(DOING)):
            start(nth, nth)
        until = time.monotonic() + 10 * PATIENCE
        for count in range(25):
            while len(lines(tmp_path / "draws")) < 100 * (count + 1):
                assert time.monotonic() < until
                assert all(process.poll() is None for process in processes.values())
                time.sleep(0.01)
            nth = chance.randrange(len(DOING))
            end(processes[nth])
            start(nth, 100 + count)
        for process in processes.values():
            end(process)
        s3.misbehave(0)
        assert {*lines(tmp_path / "draws")} == {"drawn"}
        assert all(line.startswith("Swept(") for line in lines(tmp_path / "sweeps"))
        with Cache(server.url, tier=f"s3://bucket/samples?local={tmp_path / 'here'}") as cache:
            assert cache.verify().ok
            memo = cache.cached_llm(lambda text: "", name="memo", version=1, pool=1)
            stored = {each for text in TEXTS for each in memo.peek(text)}
        assert stored <= {answer(number) for number in range(20)}
        assert stored
    finally:
        for process in processes.values():
            process.kill()
            process.wait(PATIENCE)
            process.stderr.close()
        server.stop()
        s3.__exit__()


def end(process):
    process.kill()
    _, said = process.communicate(timeout=PATIENCE)
    assert said == b""
