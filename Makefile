# Everything that the project needs on a machine with Python 3.11+ and make. `make run` shows it, `make test` proves it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCKS := requirements/build.lock requirements/all.lock

.PHONY: run test soak setup models tools check lock bench clean

run: setup  ## the demonstration: a drill on this machine; WHIP=ADDRESS:8480 lets phones in
	$(BIN)/aegis demo --state var/demo $(if $(WHIP),--whip $(WHIP))

test: setup tools check  ## every check and every test
	$(BIN)/pytest

soak: setup tools  ## a thousand alerts through every channel while notify and the bus are killed
	AEGIS_STORM_ALERTS=1000 $(BIN)/pytest --timeout 0 --log-cli-level WARNING tests/integration/notify/test_storm.py

setup: $(INSTALLED) models

$(INSTALLED): pyproject.toml $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is needed; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r requirements/all.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

models: $(INSTALLED)
	@$(BIN)/aegis models verify >/dev/null 2>&1 || $(BIN)/aegis models pull

tools:  ## what some tests need from Debian and npm; without it they skip, and in CI they fail
	@sh tests/peers/install.sh
	@sh tests/peers/npm.sh

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## every benchmark, and what they measured into docs/benchmarks
	$(BIN)/python benchmarks/run.py

lock:  ## pin what pyproject.toml asks for (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet requirements/build.in --output-file requirements/build.lock
	uv pip compile --universal --python-version 3.11 --extra demo --extra evaluation --group dev --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --output-file requirements/all.lock

clean:
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis
