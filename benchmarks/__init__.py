"""How fast memollm is, each figure beside its floor in the same run.

`python -m benchmarks [--deep] [--json FILE] [NAME ...]`
"""
