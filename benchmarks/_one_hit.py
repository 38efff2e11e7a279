"""One hit in this process, from the first import on: `python -m benchmarks._one_hit PEER FOLDER` prints it as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks import _model, _peers

STATUS = Path("/proc/self/status")


def resident() -> float | None:
    """Return the bytes of memory that this process has now, where the system says so."""
    if not STATUS.exists():
        return None
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    name, at = sys.argv[1:]
    peer = next(peer for peer in (_peers.MEMOLLM, _peers.BARE, *_peers.PEERS) if peer.name == name)
    paid, before = _model.plain(), resident()
    begin = time.perf_counter()
    with peer.open(Path(at), paid.function) as ask, _peers.only_hits(name, paid):
        ask(_model.PROMPT, model="m")
        seconds = time.perf_counter() - begin
        after = resident()
    grown = None if before is None or after is None else after - before
    sys.stdout.write(json.dumps({"seconds": seconds, "resident": grown}))


if __name__ == "__main__":
    main()
