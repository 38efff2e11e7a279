"""Torture: rounds until the time is up, each with a seed by which it can be run again."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .driver import Round, plan_of
from .oracle import Oracle


def one(seed, folder, without=()):
    """Run a round; return what is wrong, and what happened."""
    plan = plan_of(seed)
    plan["what"] = [each for each in plan["what"] if each not in without]
    the_round = Round(folder, seed, plan)
    try:
        the_round.run()
    except AssertionError as error:
        return [str(error)], Counter()
    oracle = Oracle(the_round.folder)
    return oracle.judge(), oracle.figures()


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the others follow it")
    parser.add_argument("--rounds", type=int, default=None, help="how many rounds at most")
    parser.add_argument("--without", nargs="*", default=(), help="what is not to happen, to find what it takes")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    until, figures, failed, rounds = time.monotonic() + options.seconds, Counter(), [], 0
    while time.monotonic() < until and rounds != options.rounds:
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
        begin = time.monotonic()
        wrong, happened = one(seed, folder, options.without)
        figures += happened
        rounds += 1
        print(f"seed {seed}: {len(wrong)} wrong, {time.monotonic() - begin:.1f} s, {dict(happened)}", flush=True)
        if wrong:
            failed.append(seed)
            print(f"  left in {folder}", *(f"  {line[:3000]}" for line in wrong[:8]), sep="\n", flush=True)
        else:
            shutil.rmtree(folder)
        seed += 1
    print(json.dumps({"rounds": rounds, "failed seeds": failed, **figures}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
