"""What the benchmarks `field` and `estimates` are made of: puzzles, a simulated model, searches, caches, statistics.

`python -m benchmarks._workload [--deep] [--json FILE]` prints all that they measure.
"""
