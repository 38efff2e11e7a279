"""A program that draws, as each reader, all that this has not been given yet, until it comes to samples of its own."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from .drawing import Operation, in_mode, logged, one
from .functions import POOLS, answer_of, model
from .worker import Worker

ENOUGH = 10_000


def main():
    plan = json.loads(Path("plan.json").read_text(encoding="utf-8"))
    model.random = random.Random(sys.argv[1])
    worker = Worker(plan | {"fails": 0.0, "refuses": 0.0}, 0, "drain")
    model.is_slow = 0.0
    model.seconds = lambda: 0.0
    # Whoever was to make it may have been killed before.
    if Path("cache/memollm.db").exists() and not (verified := worker.cache.verify()).ok:
        raise AssertionError(f"verify found {verified}")
    for reader in plan["readers"]:
        for kind in worker.functions:
            for prompt in plan["prompts"]:
                if kind not in POOLS:
                    drain(worker, reader, kind, prompt)
    worker.cache.close()


def drain(worker, reader, kind, prompt):
    function = worker.functions[kind][0]
    stored = len(function.peek([prompt] if kind == "batch" else prompt))
    # What was given back comes first, lowest first, so a sample after all others is the end.
    for _ in range(ENOUGH):
        op = Operation("drain", kind, [prompt], reader)
        with logged(worker.logs.draws, op), in_mode(op):
            one(function, op)
        now = function.peek([prompt] if kind == "batch" else prompt)
        last = answer_of(now[-1]) if kind == "tell" else now[-1]
        if len(now) > stored and op.got[0][1] == last:
            return
    raise AssertionError(f"{reader} drew {kind}({prompt}) for ever")


if __name__ == "__main__":
    main()
