"""Machines with tiers of their own that draw, refresh and forget on one server, while their programs are killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import PATIENCE
from test_server_hammer import cluster, lines, postgres, redis

from memollm import Cache
from memollm.testing import FakeS3

WORKER = Path(__file__).with_name("tier_worker.py")
MACHINES = ("a", "a", "b", "b")


@pytest.mark.deep
@pytest.mark.parametrize("kind", [postgres, redis, cluster])
@pytest.mark.parametrize("tier", ["folder", "bucket"])
@pytest.mark.parametrize("kills", [6, 60], ids=["short", "long"])
def test_no_older_answer_comes_back(tmp_path, monkeypatch, kind, tier, kills):
    """Nothing is given twice or lost, and no older answer is read after a newer one (P1, P7)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    server, query, _ = kind()
    chance, processes = random.Random(kills), {}
    s3 = FakeS3().__enter__()
    try:
        server.start()
        s3.misbehave(0.05)

        def start(nth, seed):
            machine = MACHINES[nth]
            command = [sys.executable, str(WORKER), server.url + query, str(tmp_path), machine, str(seed)]
            folder = tmp_path / f"tier-{machine}"
            named = str(folder) if tier == "folder" else f"s3://bucket/samples?local={folder}"
            environment = {**os.environ, **s3.environment, "MEMOLLM_TIER": named}
            processes[nth] = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)

        for nth in range(len(MACHINES)):
            start(nth, nth)
        for count in range(kills):
            until_seen(tmp_path, 30 * (count + 1), processes)
            nth = chance.randrange(len(MACHINES))
            end(processes[nth])
            start(nth, 100 + count)
        for process in processes.values():
            end(process)
        s3.misbehave(0)
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        here = f"s3://bucket/samples?local={tmp_path / 'tier'}" if tier == "bucket" else None
        check(server.url, here, tmp_path, kills + len(MACHINES))
        assert bool(s3.objects) == (tier == "bucket")
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


def until_seen(folder, count, processes):
    """Wait until so many answers were read."""
    until = time.monotonic() + 10 * PATIENCE
    while len(lines(folder / "seen")) < 6 * count:
        assert time.monotonic() < until
        assert all(process.poll() is None for process in processes.values())
        time.sleep(0.01)


def check(url, tier, folder, kills):
    given = (folder / "given").read_text().splitlines()
    assert len(given) == len(set(given)) > 0
    with Cache(url, tier=tier) as cache:
        ask = cache.cached_llm(lambda text: "", name="ask", version=1)
        stored = {f"{text} {answer.partition(' ')[0]}" for text in ("one", "two", "three") for answer in ask.peek(text)}
    assert {*given} <= stored
    assert len(stored) <= len(given) + kills
    reads = [line.split() for line in (folder / "seen").read_text().splitlines()]
    assert older(reads) == []


def older(reads):
    """Return what was read although a refresh that had ended was newer, or the same process had read something newer.

    While a refresh is under way, one process may have heard of it and another not.
    """
    found = []
    for text in {read[0] for read in reads}:
        of = [(*map(int, read[1:4]), *read[4:]) for read in reads if read[0] == text]
        for who in {read[-1] for read in of}:
            ends = sorted((read[1], read[2]) for read in of if read[3] == "refreshed" or read[-1] == who)
            newest, at = 0, 0
            for begun, ended, answer, how, _ in sorted(read for read in of if read[-1] == who):
                while at < len(ends) and ends[at][0] < begun:
                    newest = max(newest, ends[at][1])
                    at += 1
                if answer < newest:
                    found.append((text, begun, ended, answer, newest, how, who))
    return found
