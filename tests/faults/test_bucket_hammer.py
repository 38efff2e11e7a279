"""Machines that draw and exchange at random, with lost answers, refusals and kills: an oracle outside counts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from bucket_worker import QUESTIONS, functions
from hammers import lines

from memollm import Cache
from memollm.testing import FakeS3

WORKER = Path(__file__).with_name("bucket_worker.py")
MACHINES = ("x", "y")
ENOUGH = 240.0
LINE = 36


def url_of(s3, folder, machine, every):
    return f"s3://samples/p?endpoint={s3.url}&local={folder / machine}&every={every}&patience=3"


class Hammering:
    """Processes on machines of their own, which are killed now and then and begun again."""

    def __init__(self, s3, folder, seed):
        self.s3, self.folder, self.random, self.kills = s3, folder, random.Random(seed), 0

    def start(self, machine):
        url = url_of(self.s3, self.folder, machine, 0.3)
        command = [sys.executable, str(WORKER), url, machine, str(self.folder)]
        return subprocess.Popen(command, env={**os.environ, **self.s3.environment}, stderr=subprocess.PIPE)

    def drawn(self):
        return sum(path.stat().st_size for path in self.folder.glob("given *"))

    def run(self, kills):
        """Let two processes of each machine draw, and kill one of them again and again, whenever some were drawn."""
        until = time.monotonic() + ENOUGH
        running = [(machine, self.start(machine)) for machine in MACHINES for _ in range(2)]
        for _ in range(kills):
            enough = self.drawn() + self.random.randrange(50 * LINE)
            while self.drawn() < enough:
                assert time.monotonic() < until
                time.sleep(0.005)
            machine, process = running.pop(self.random.randrange(len(running)))
            process.kill()
            process.communicate()
            self.kills += 1
            running.append((machine, self.start(machine)))
        (self.folder / "stop").touch()
        for _, process in running:
            _, said = process.communicate(timeout=ENOUGH)
            assert process.returncode == 0, said.decode()

    def settle(self):
        """Exchange until nothing moves any more, and return the caches."""
        caches = [Cache(url_of(self.s3, self.folder, machine, 0)) for machine in MACHINES]
        for _ in range(3):
            for cache in caches:
                cache.sync()
        assert [cache.sync()[:3] for cache in caches] == [(0, 0, 0)] * len(caches)
        return caches

    def check(self):
        """Compare what was paid and given with what the machines hold."""
        paid = lines(self.folder / "paid")
        given = {path.name: lines(path) for path in self.folder.glob("given *")}
        caches = self.settle()
        for name, answers in given.items():
            assert len(answers) == len(set(answers)), name
        held = [[f"{q} {answer}" for q in QUESTIONS for answer in functions(cache)[0].peek(q)] for cache in caches]
        for each in held:
            assert len(each) == len(set(each))
            assert set(each) <= set(paid)
            assert set().union(*given.values()) <= set(each)
            assert Counter(each) == Counter(held[0])
        asked = {f"{q} {number}" for q in QUESTIONS for number in range(40)}
        memoized = [{q: tuple(functions(cache)[1].peek(q)) for q in asked} for cache in caches]
        for q in asked:
            answers = [each[q] for each in memoized]
            assert len({each[:1] for each in answers}) == 1, (q, answers)
            assert len({frozenset(each) for each in answers}) == 1, (q, answers)
        # Of what was paid and is nowhere, each was being made or kept by a process that was killed.
        lost = set(paid) - set(held[0]) - {f"{q} {a}" for q in asked for a in memoized[0][q]}
        assert len(lost) <= self.kills
        for cache in caches:
            cache.close()
        return len(paid), len(lost)


def hammer(folder, monkeypatch, seed, kills):
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "0123456789abcdef" * 4)
    with FakeS3() as s3:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        hammering = Hammering(s3, folder, seed)
        s3.misbehave(0.15, seed=seed)
        hammering.run(kills)
        s3.misbehave(0.0)
        return (*hammering.check(), hammering.kills, len(s3.requests), len(s3.objects))


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(5))
def test_machines_that_exchange_lose_and_double_nothing(tmp_path, monkeypatch, seed):
    """Nothing given is lost, nothing given twice in a namespace of a machine, and plain answers agree (P1, P7)."""
    paid, *_ = hammer(tmp_path, monkeypatch, seed, 10)
    assert paid > 100
