"""How fast memollm is, each figure beside its floor in the same run.

`python -m benchmarks [--deep] [--check] [--json FILE] [--svg FOLDER] [NAME ...]`
"""
