# Everything runs in a virtual environment of its own; a machine needs Python 3.11+ and make.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

BENCH_BIN := .venv-bench/bin

.PHONY: demo test check deep bench bench-deep bench-check format clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/developed
	$(BIN)/python -m pytest -m "not deep"

check: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

deep: .venv/developed
	$(BIN)/python -m pytest

bench: .venv-bench/installed
	$(BENCH_BIN)/python -m benchmarks --svg docs/benchmarks --json docs/benchmarks/results.json

bench-deep: .venv-bench/installed
	$(BENCH_BIN)/python -m benchmarks --deep --svg docs/benchmarks --json docs/benchmarks/results.json

bench-check: .venv-bench/installed
	$(BENCH_BIN)/python -m benchmarks --check

format: .venv/developed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-bench

.venv/bin/python .venv-bench/bin/python:
	@test -n "$(PYTHON)" || { echo "memollm needs Python 3.11 or newer; none was found. Try: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(patsubst %/bin/python,%,$@)

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/developed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ .venv/installed

.venv-bench/installed: .venv-bench/bin/python pyproject.toml
	$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@
