"""The first hit of a new process with all imports and opening, and the memory that this takes, beside other caches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _model, _peers
from benchmarks._caches import folder
from benchmarks._measure import Row, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 5
ROOT = Path(__file__).parents[1]


def store(peer: _peers.Peer, at: Path) -> None:
    """Store the answer that the new process is to find."""
    with peer.open(at, _model.plain().function) as ask:
        ask(_model.PROMPT, model="m")


def one_hit(peer: _peers.Peer, at: Path) -> dict[str, float | None]:
    """Let a new process hit once, and return its seconds and the bytes that it grew by."""
    # Compiling is not importing, so bytecode may be kept from the first round on.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks._one_hit", peer.name, str(at)]
    ended = subprocess.run(command, check=False, capture_output=True, env=environment, cwd=ROOT, timeout=120)
    if ended.returncode:
        raise _peers.CalledAgain(f"{peer.name} did not hit in a new process:\n{ended.stderr.decode()}")
    return json.loads(ended.stdout)


def in_rounds(places: dict[_peers.Peer, Path]) -> dict[str, list[dict[str, float | None]]]:
    """Start a process of each in turn; the first round warms up and is left out."""
    results: dict[str, list[dict[str, float | None]]] = {peer.name: [] for peer in places}
    for turn in range(ROUNDS + 1):
        for peer, at in places.items():
            found = one_hit(peer, at)
            if turn:
                results[peer.name].append(found)
    return results


def run() -> Iterator[Row | str]:
    yield from _peers.missing("new process", _peers.DURABLE)
    with ExitStack() as stack:
        contenders = [_peers.MEMOLLM, _peers.BARE, *(peer for peer in _peers.DURABLE if peer.installed)]
        places = {peer: stack.enter_context(folder()) for peer in contenders}
        for peer, at in places.items():
            store(peer, at)
        results = in_rounds(places)
    for figure, what, unit in (("first hit of a process", "seconds", "ms"), ("memory it takes", "resident", "MB")):
        values = {name: [found[what] for found in rounds] for name, rounds in results.items()}
        if None in values["memollm"]:
            yield f"new process: {figure} skipped, this system does not tell"
            continue
        for peer in contenders[1:]:
            yield ratio(figure, values["memollm"], peer.name, values[peer.name], unit=unit)
