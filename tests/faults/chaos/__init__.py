"""A program that draws while everything goes wrong, and an oracle outside of the library that looks at what came of it.

`python -m chaos --seconds 600 --seed 1` in this folder's parent, or `make torture SECONDS=600 SEED=1`. A round starts
programs that draw in threads, event loops and children of theirs, kills, stops and interrupts them, and has the cache
rewound, pruned, exported and so on meanwhile. What the model made, what was given to whom, and what else was done is
written down by the programs in logs of their own, and judged when all have ended.
"""
