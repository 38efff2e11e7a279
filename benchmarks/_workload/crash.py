"""A run that is killed half-way: what a rerun still has of it, and what one that goes on is given twice."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._caches import folder
from benchmarks._workload.applications import SEED, run_one
from benchmarks._workload.audit import Audit
from benchmarks._workload.model import SimulatedModel, mark_of
from benchmarks._workload.puzzles import some_puzzles
from benchmarks._workload.searches import Sampling
from benchmarks._workload.systems import CacheSaver, Memollm, PlainCache
from memollm import Cache

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._workload.model import Chat
    from benchmarks._workload.systems import System

PUZZLES = 20
PROGRAM = Sampling(25)
KILLED_AT = 250
"""How many of the 500 samples the program has been given when its process is killed."""
DIED = 9
DEADLINE = 120.0
SYSTEMS: tuple[type[System], ...] = (PlainCache, CacheSaver, Memollm)


class Crashed(NamedTuple):
    """What came of a run that was killed and then run again, from its start and going on."""

    system: str
    given: int
    """Samples that the program had been given when it was killed."""
    lost: int
    """Those of them that are no longer there for a rerun from the start."""
    repeated: int
    """Those of them that are given again to a rerun that goes on in the same namespace."""
    paid: int
    """What a rerun from the start pays for."""
    kept: int | None
    """Samples that were there when it was killed, whoever was given them; None where the cache does not say."""


def run_killed(system: type[System], at: Path) -> None:
    """Run until so many samples were given, and die at once, without closing anything."""
    given = 0
    log = os.open(at / "given", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    class Logged(system):  # type: ignore[misc, valid-type]
        async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
            nonlocal given
            answers = await super().ask(chat, n, namespace)
            os.write(log, "".join(f"{mark_of(answer)}\n" for answer in answers).encode())
            given += n
            if given >= KILLED_AT:
                os._exit(DIED)
            return answers

    run_one(Logged, at / "cache", SimulatedModel(SEED), PROGRAM, some_puzzles(PUZZLES), audit=Audit())


def killed(system: type[System], at: Path) -> set[str]:
    """Have a process run and die; return which samples its program was given."""
    (at / "cache").mkdir()
    process = multiprocessing.get_context("spawn").Process(target=run_killed, args=(system, at))
    process.start()
    process.join(DEADLINE)
    if process.exitcode != DIED:
        process.kill()
        raise RuntimeError(f"The run that was to die in the middle ended otherwise: exit code {process.exitcode}.")
    return set((at / "given").read_text(encoding="utf-8").splitlines())


def again(system: type[System], at: Path) -> tuple[set[str], int]:
    """Run once more, with a model of another seed; return which samples were given, and what was paid for."""
    audit, model = Audit(), SimulatedModel(SEED + 1)
    run_one(system, at / "cache", model, PROGRAM, some_puzzles(PUZZLES), audit=audit)
    return {str(mark) for _, mark in audit.given[str(PROGRAM)]}, model.bill.samples


def crash(system: type[System]) -> Crashed:
    with folder() as at:
        before = killed(system, at)
        repeated = before & again(system, at)[0]
    with folder() as at:
        before, kept = killed(system, at), None
        if issubclass(system, Memollm):
            # The other caches forget where a namespace stands; memollm is told to begin anew.
            with Cache(at / "cache" / "cache.db") as cache:
                cache.rewind(str(PROGRAM))
                kept = cache.verify().samples
        given, paid = again(system, at)
    return Crashed(system.name, len(before), len(before - given), len(repeated), paid, kept)
