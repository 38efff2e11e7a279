"""Machines with tiers of their own that draw, refresh and forget on one server, while their programs are killed."""

import random

import pytest
from hammers import Workers, cluster, lines, postgres, redis

from memollm import Cache
from memollm.testing import FakeS3

MACHINES = ("a", "a", "b", "b")


@pytest.mark.deep
@pytest.mark.parametrize("kind", [postgres, redis, cluster])
@pytest.mark.parametrize("tier", ["folder", "bucket"])
@pytest.mark.parametrize("kills", [6, 60], ids=["short", "long"])
def test_no_older_answer_comes_back(tmp_path, monkeypatch, kind, tier, kills):
    """Nothing is given twice or lost, and no older answer is read after a newer one (P1, P7)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    server, query, _ = kind()
    chance = random.Random(kills)
    try:
        server.start()
        with FakeS3() as s3:
            s3.misbehave(0.05)
            with Workers("tier_worker.py") as workers:

                def start(nth, seed):
                    machine = MACHINES[nth]
                    folder = tmp_path / f"tier-{machine}"
                    named = str(folder) if tier == "folder" else f"s3://bucket/samples?local={folder}"
                    environment = {**s3.environment, "MEMOLLM_TIER": named}
                    workers.start(nth, server.url + query, tmp_path, machine, seed, **environment)

                for nth in range(len(MACHINES)):
                    start(nth, nth)
                for count in range(kills):
                    workers.until_written(tmp_path / "seen", 30 * (count + 1))
                    nth = chance.randrange(len(MACHINES))
                    workers.kill(nth)
                    start(nth, 100 + count)
                workers.kill_all()
            s3.misbehave(0)
            for name, value in s3.environment.items():
                monkeypatch.setenv(name, value)
            here = f"s3://bucket/samples?local={tmp_path / 'tier'}" if tier == "bucket" else None
            check(server.url, here, tmp_path, kills + len(MACHINES))
            assert bool(s3.objects) == (tier == "bucket")
    finally:
        server.stop()


def check(url, tier, folder, kills):
    given = lines(folder / "given")
    assert len(given) == len(set(given)) > 0
    with Cache(url, tier=tier) as cache:
        ask = cache.cached_llm(lambda text: "", name="ask", version=1)
        stored = {f"{text} {answer.partition(' ')[0]}" for text in ("one", "two", "three") for answer in ask.peek(text)}
    assert {*given} <= stored
    assert len(stored) <= len(given) + kills
    reads = [line.split() for line in lines(folder / "seen")]
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
