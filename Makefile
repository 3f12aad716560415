# Everything that the project needs on a machine with Python 3.11+ and make. `make run` shows it, `make test` proves it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCKS := requirements/build.lock requirements/all.lock
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

# Tests of what computes, or waits for nobody outside of its test: they share the cores. All others run processes on
# clocks that run too, as those of deploy do that start a cluster of bus servers, and have the machine to themselves.
CLUSTERED := $(shell grep --files-with-matches bus_cluster tests/deploy/test_*.py)
SHARED := tests/unit tests/wire $(filter-out $(CLUSTERED),$(wildcard tests/deploy/test_*.py)) \
	tests/integration/evaluation tests/integration/ingest/test_gating.py

# The image: what it stands on, cpu or cuda, its name, and what builds it.
BASE ?= python:3.13-slim
VARIANT ?= cpu
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= aegis:$(VERSION)
BUILDER ?= $(shell command -v buildah || command -v docker)
# pip's configuration of this machine, if it has one, for the build alone.
PIP_CONF ?= $(firstword $(wildcard $(HOME)/.config/pip/pip.conf /etc/pip.conf))
PIP_SECRET := --secret id=pip,src=$(PIP_CONF)
TRIED_BASE := localhost/aegis-base:trixie

.PHONY: run test soak chaos setup models tools check image image-test lock bench clean

run: setup  ## the demonstration: a drill on this machine; WHIP=ADDRESS:8480 lets phones in
	$(BIN)/aegis demo --state var/demo $(if $(WHIP),--whip $(WHIP))

test: setup tools check  ## every check and every test
	@failed=0; \
	$(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist worksteal $(SHARED) || failed=$$?; \
	$(BIN)/pytest $(addprefix --ignore=,$(SHARED)) && exit $$failed

soak: setup tools  ## a thousand alerts through every channel while notify and the bus are killed
	AEGIS_STORM_ALERTS=1000 $(BIN)/pytest --timeout 0 --log-cli-level WARNING tests/integration/notify/test_storm.py

chaos: setup tools  ## an hour of faults on a cluster of this machine (root); AEGIS_CHAOS_SECONDS, AEGIS_CHAOS_SEED
	$(BIN)/python -m tests.cluster.chaos

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
	@sh tests/peers/kubernetes.sh

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## every benchmark, and what they measured into docs/benchmarks
	$(BIN)/python benchmarks/run.py

image:  ## the container image, by buildah or docker; BASE=IMAGE, VARIANT=cuda, IMAGE=NAME
	@test -n "$(BUILDER)" || { echo "buildah or docker is needed; on Debian: apt-get install buildah"; exit 1; }
	BUILDAH_LAYERS=true $(BUILDER) build $(IMAGE_FLAGS) $(if $(PIP_CONF),$(PIP_SECRET)) --file deploy/Dockerfile --tag $(IMAGE) --build-arg BASE=$(BASE) --build-arg VARIANT=$(VARIANT) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD) .

image-test: export BUILDAH_ISOLATION ?= chroot
image-test: $(INSTALLED)  ## build the image on Debian's packages, and try every service in it; as root
	sh tests/image/base.sh $(TRIED_BASE)
	$(MAKE) image BUILDER=buildah BASE=$(TRIED_BASE) IMAGE=aegis:tried-$(VARIANT) IMAGE_FLAGS="--network host --volume /etc/ssl/certs:/etc/ssl/certs:ro"
	$(BIN)/python -m tests.image.check aegis:tried-$(VARIANT)

lock:  ## pin what pyproject.toml asks for (needs uv)
	$(COMPILE) requirements/build.in --output-file requirements/build.lock
	$(COMPILE) --extra demo --extra evaluation --group dev pyproject.toml --output-file requirements/all.lock
	$(COMPILE) requirements/image-tools.in --output-file requirements/image-tools.lock
	$(COMPILE) tests/peers/kubernetes/tools.in --output-file tests/peers/kubernetes/tools.lock
	$(COMPILE) --constraint requirements/all.lock pyproject.toml --output-file requirements/image-cpu.lock
	$(COMPILE) --constraint requirements/all.lock --excludes requirements/image-cuda-without.in requirements/image-cuda.in pyproject.toml --output-file requirements/image-cuda.lock

clean:
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis
